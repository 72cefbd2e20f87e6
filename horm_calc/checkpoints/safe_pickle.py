"""What a pickle in a PyTorch file describes, as data, without executing any of it.

A pickle is a program. Python's unpickler runs it: it imports what the program names and calls
it, and even with a restricted `find_class` its C code can be made to fill the memory or to hash
for hours. So it is not used here. `interpret` walks over the opcodes, which the standard
library only parses (`pickletools.genops`), and knows nothing but containers, numbers and text:

- nothing is imported and nothing is called. A name in the file becomes a `Name`, a call of it
  an `Inert`, with four exceptions that are ours: empty dictionaries, `torch.Size`, and the two
  functions that rebuild a tensor, which give a `StoredTensor`, a description of where a tensor
  lies;
- a tensor must fit into the storage that it names, without overlap (where the numbers stand in
  the pickle itself, as in a plain pickle of a tensor, the call stays an `Inert`);
- nothing here recurses or copies on the file's demand, only text and small numbers become keys
  of dictionaries, and a program has at most `_MOST_STEPS` instructions, of which each makes no
  more than one small object.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from horm_calc.errors import HormError

_MOST_DIMENSIONS = 16
# A checkpoint of 15 million weights in 2600 tensors with the optimiser's state has 106,000.
_MOST_STEPS = 1_000_000

#: Types of storages by their names in the file: the torch dtype and its bytes per element.
STORAGES = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}

#: What a plain pickle of a tensor calls with the bytes of its storage, and then to rebuild it.
INLINE_STORAGE = "torch.storage._load_from_bytes"
REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"


class Malformed(HormError, ValueError):
    """The pickle is not one that torch.save writes."""


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function that the file names; never imported."""

    text: str


@dataclass(eq=False, slots=True)
class Inert:
    """Stands for an object that the file would make: what it would be made from, as data."""

    name: str
    arguments: Any = ()
    state: Any = None
    items: dict[Any, Any] | None = None
    values: list[Any] | None = None


@dataclass(frozen=True, eq=False)
class Storage:
    """A block of numbers in the file."""

    key: str
    dtype: str
    width: int
    length: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """Where the numbers of a tensor lie; offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.storage.width


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**48


def _are_counts(values: Any) -> bool:
    return type(values) is tuple and len(values) <= _MOST_DIMENSIONS and all(map(_is_count, values))


def _storage(reference: Any) -> Storage:
    """The storage that a persistent id stands for."""
    if type(reference) is not tuple or len(reference) != 5 or reference[0] != "storage":
        raise Malformed("a reference that is not one to a storage")
    _, kind, key, _, length = reference
    module, _, name = kind.text.rpartition(".") if isinstance(kind, Name) else ("", "", "")
    if module not in ("torch", "torch.cuda") or name not in STORAGES:
        raise Malformed("a storage of unknown type")
    if type(key) is not str or not _is_count(length):
        raise Malformed("a storage with an impossible key or length")
    dtype, width = STORAGES[name]
    return Storage(key, dtype, width, length)


def stored_tensor(arguments: tuple[Any, ...]) -> StoredTensor:
    """The tensor of a call of `_rebuild_tensor_v2`, if its storage can hold what it claims.

    Raises `Malformed` if not.
    """
    storage, offset, shape, strides = (*arguments, None, None, None, None)[:4]
    if not isinstance(storage, Storage):
        raise Malformed("a tensor without storage")
    if not (_is_count(offset) and _are_counts(shape) and _are_counts(strides)):
        raise Malformed("a tensor with an impossible shape")
    count = math.prod(shape)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=False))
    # With overlap (stride 0) a few numbers in the file would claim any amount of memory.
    fits = count <= storage.length and (last < storage.length or count == 0)
    if len(shape) != len(strides) or not fits:
        raise Malformed("a tensor larger than its storage")
    return StoredTensor(storage, offset, shape, strides)


def _call(target: Any, arguments: Any) -> Any:
    """What stands for `target(*arguments)`."""
    if type(arguments) is not tuple:
        raise Malformed("a call without a tuple of arguments")
    if isinstance(target, Inert):
        return Inert(target.name, arguments)
    if not isinstance(target, Name):
        raise Malformed("a call of something that has no name")
    if target.text == REBUILD_TENSOR:
        storage = arguments[0] if arguments else None
        inline = isinstance(storage, Inert) and storage.name == INLINE_STORAGE
        return Inert(target.text, arguments) if inline else stored_tensor(arguments)
    if target.text == "torch._utils._rebuild_parameter" and arguments:
        if isinstance(arguments[0], StoredTensor):
            return arguments[0]
    elif target.text == "torch.Size" and len(arguments) == 1 and _are_counts(arguments[0]):
        return arguments[0]
    elif target.text == "collections.defaultdict" or (
        target.text == "collections.OrderedDict" and not arguments
    ):
        return {}
    return Inert(target.text, arguments)


def _name(module: Any, name: Any) -> Name:
    if type(module) is not str or type(name) is not str:
        raise Malformed("a name that is not text")
    return Name(f"{module}.{name}")


def _is_key(value: Any) -> bool:
    """Whether a dictionary of the file may have this key: text, or a small number.

    Tuples can be nested so that hashing takes for ever, large numbers chosen so that they
    all collide.
    """
    small = type(value) is int and 0 <= value < 2**24
    return small or value is None or type(value) in (str, bytes, bool)


def _put(target: Any, pairs: list[Any]) -> None:
    """Sets items; a key of another kind is replaced by an object of its own."""
    if len(pairs) % 2:
        raise Malformed("a key without value")
    if isinstance(target, Inert):
        target.items = target.items or {}
        target = target.items
    if type(target) is not dict:
        raise Malformed("items for something that holds none")
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        target[key if _is_key(key) else Inert(type(key).__name__)] = value


def _append(target: Any, values: list[Any]) -> None:
    if isinstance(target, Inert):
        target.values = target.values or []
        target = target.values
    if type(target) is not list:
        raise Malformed("elements for something that holds none")
    target.extend(values)


def _build(target: Any, states: list[Any]) -> None:
    """Notes the state that an object would be given; containers and tensors need none."""
    if isinstance(target, Inert):
        [target.state] = states


class _Machine:
    """A stack, marks on it, and a memo: what the opcodes work on."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def pop(self, count: int) -> list[Any]:
        if count > len(self.stack) - (self.marks[-1] if self.marks else 0):
            raise Malformed("an instruction without operands")
        taken = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return taken

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise Malformed("an instruction without mark")
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def top(self) -> Any:
        if not self.stack:
            raise Malformed("an instruction without operands")
        return self.stack[-1]


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,  # sets become lists: their elements need not be hashable
    "EMPTY_TUPLE": tuple,
}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_FROM_MARK: dict[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "FROZENSET": list,
}
_FROM_OPERANDS: dict[str, tuple[int, Callable[..., Any]]] = {
    "TUPLE1": (1, lambda *values: values),
    "TUPLE2": (2, lambda *values: values),
    "TUPLE3": (3, lambda *values: values),
    "BINPERSID": (1, _storage),
    "STACK_GLOBAL": (2, _name),
    "REDUCE": (2, _call),
    "NEWOBJ": (2, _call),
    "NEWOBJ_EX": (3, lambda target, arguments, _: _call(target, arguments)),
}
_INTO_TOP: dict[str, tuple[int | None, Callable[[Any, list[Any]], None]]] = {
    "SETITEM": (2, _put),
    "SETITEMS": (None, _put),
    "APPEND": (1, _append),
    "APPENDS": (None, _append),
    "ADDITEMS": (None, _append),
    "BUILD": (1, _build),
}


def interpret(program: bytes) -> Any:
    """The data that a pickle describes. Raises `Malformed`, or `ValueError` where it breaks off."""
    machine = _Machine()
    for step, (opcode, argument, _) in enumerate(pickletools.genops(program)):
        if opcode.name == "STOP":
            return machine.top()
        if step == _MOST_STEPS:
            raise Malformed("more objects than any checkpoint has")
        _step(machine, opcode.name, argument)
    raise Malformed("no end")


def _step(machine: _Machine, opcode: str, argument: Any) -> None:
    stack = machine.stack
    if opcode == "MEMOIZE":  # every second one
        machine.memo[len(machine.memo)] = machine.top()
    elif opcode in _LITERALS:
        stack.append(argument)
    elif opcode in ("BINPUT", "LONG_BINPUT"):
        machine.memo[argument] = machine.top()
    elif opcode in ("BINGET", "LONG_BINGET"):
        if argument not in machine.memo:
            raise Malformed("a reference to nothing")
        stack.append(machine.memo[argument])
    elif opcode == "MARK":
        machine.marks.append(len(stack))
    elif opcode in _FROM_OPERANDS:
        count, make = _FROM_OPERANDS[opcode]
        stack.append(make(*machine.pop(count)))
    elif opcode in _FROM_MARK:
        stack.append(_FROM_MARK[opcode](machine.pop_to_mark()))
    elif opcode in _INTO_TOP:
        number, put = _INTO_TOP[opcode]
        values = machine.pop_to_mark() if number is None else machine.pop(number)
        put(machine.top(), values)
    elif opcode in _CONSTANTS:
        stack.append(_CONSTANTS[opcode]())
    elif opcode == "GLOBAL":
        module, _, name = argument.partition(" ")
        stack.append(_name(module, name))
    elif opcode == "POP":
        machine.pop(1)
    elif opcode not in ("PROTO", "FRAME"):
        raise Malformed(f"the instruction {opcode}, which torch.save never writes")
