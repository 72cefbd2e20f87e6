"""Whatever a calculator does ends its stage with words, and never the search with an error."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import time
from fractions import Fraction

import numpy as np
import pytest
from ase import Atoms

from tests.surfaces import EXCHANGE, LEPS, QUICK
from workflows import remarks
from workflows.errors import CalculatorFailed, StageError, StageTimeout, described
from workflows.limits import run_with_limit
from workflows.records import Label, Minimum, Saddle, SearchResult, Verdict
from workflows.settings import EndpointSettings, SaddleSettings, from_mapping
from workflows.stages.endpoints import relax, settle
from workflows.stages.free_energy import free_energies
from workflows.stages.irc import follow
from workflows.stages.lower_path import relaxed_string
from workflows.stages.path import find_path
from workflows.stages.saddle import refine
from workflows.surface import Surface
from workflows.trust import check_hessian
from workflows.tssearch import search
from workflows.verification import verify


def searched(calculator: object) -> SearchResult:
    return search(EXCHANGE, calculator, QUICK)  # type: ignore[arg-type]


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Rude(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Odd(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Beyond(BaseException):
    pass


RAISED = [
    SystemExit("no licence found"),
    SystemExit(1),
    GeneratorExit(),
    asyncio.CancelledError("cancelled by the server"),
    Beyond("from a library of its own"),
    StopIteration(),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    Mute(),
    Rude(),
    Odd(),
    RuntimeError("no such file: \udcff"),
    RuntimeError("x" * 10_000_000),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
]


class Raising(LEPS):
    def __init__(self, error: BaseException, after: int = 0) -> None:
        super().__init__()
        self.error, self.after = error, after

    def calculate(self, *arguments, **options) -> None:
        self.after -= 1
        if self.after < 0:
            raise self.error
        super().calculate(*arguments, **options)


@pytest.mark.parametrize(
    ("error", "after"),
    [(error, 0) for error in RAISED] + [(SystemExit("late"), 80), (Mute(), 115)],
    ids=lambda value: value if isinstance(value, int) else type(value).__name__,
)
def test_what_a_calculator_raises_fails_the_stage(error, after) -> None:
    result = searched(Raising(error, after))
    assert result.verdict.label is Label.FAILED
    assert result.verdict.stage in ("endpoints", "saddle", "irc"), result.verdict
    assert described(error) in result.verdict.reason
    assert len(result.verdict.reason) < 3000
    result.verdict.reason.encode("utf-8")
    # The log says where in the calculator it broke.
    assert "raise self.error" in result.log
    assert len(result.log) < 3_000_000


def test_ctrl_c_still_ends_the_run() -> None:
    with pytest.raises(KeyboardInterrupt):
        searched(Raising(KeyboardInterrupt()))


class Answering(LEPS):
    """Says something else than LEPS does: `say(forces, energy)` is a pair of both."""

    def __init__(self, say) -> None:
        super().__init__()
        self.say = say

    def calculate(self, *arguments, **options) -> None:
        super().calculate(*arguments, **options)
        forces, energy = self.say(self.results["forces"], self.results["energy"])
        self.results = {"forces": forces, "energy": energy}


WRONG = {
    "complex forces": (lambda f, e: (f + 1j * f, e), "complex128"),
    "complex forces without imaginary part": (lambda f, e: (f + 0j, e), "complex128"),
    "complex energy": (lambda f, e: (f, complex(e)), "complex128"),
    "forces as text": (lambda f, e: (f.astype(str), e), "<U"),
    "energy as text": (lambda f, e: (f, str(e)), "<U"),
    "objects": (lambda f, e: (f.astype(object), e), "object"),
    "fractions": (lambda f, e: (f, Fraction(e)), "object"),
    "truth values": (lambda f, e: (f > 0, e), "bool"),
    "nothing": (lambda f, e: (f, None), "object"),
    "dates": (lambda f, e: (f.astype("timedelta64[s]"), e), "timedelta"),
    "masked forces": (lambda f, e: (np.ma.masked_less(f, 0), e), "masked"),
    "too few forces": (lambda f, e: (f[:-1], e), r"\(2, 3\), not \(3, 3\)"),
    "flat forces": (lambda f, e: (f.ravel(), e), r"\(9,\), not \(3, 3\)"),
    "transposed": (lambda f, e: (f[:, :2], e), r"\(3, 2\), not \(3, 3\)"),
    "ragged forces": (lambda f, e: ([[0.0], [0.0, 1.0], []], e), "inhomogeneous"),
    "energies of atoms": (lambda f, e: (f, np.full(3, e / 3)), r"\(3,\), not a single number"),
    "no energy at all": (lambda f, e: (f, np.array([])), r"\(0,\), not a single number"),
    "infinite forces": (lambda f, e: (np.full_like(f, np.inf), e), "not finite"),
    "no number": (lambda f, e: (f, float("nan")), "not finite"),
}


@pytest.mark.parametrize(("say", "words"), WRONG.values(), ids=WRONG)
def test_answers_that_are_no_real_numbers_are_refused(say, words) -> None:
    with pytest.raises(CalculatorFailed, match=words):
        Surface(Answering(say)).at(EXCHANGE.reactant)
    result = searched(Answering(say))
    assert result.verdict.stage == "endpoints"
    assert result.verdict.reason.startswith("the reactant: ")


@pytest.mark.parametrize(
    "say",
    [
        lambda f, e: (f.tolist(), np.array([e])),
        lambda f, e: (f.astype(np.float32), np.float32(e)),
        lambda f, e: (np.ma.masked_array(f), np.array([[e]])),
        lambda f, e: (np.asfortranarray(f)[::1], e),
        lambda f, e: (tuple(map(tuple, f)), np.float64(e)),
    ],
)
def test_answers_in_other_clothes_are_taken(say) -> None:
    energy, forces = Surface(LEPS()).at(EXCHANGE.reactant)
    said = Surface(Answering(say)).at(EXCHANGE.reactant)
    assert said[0] == pytest.approx(energy, abs=1e-6)  # of float32
    np.testing.assert_allclose(said[1], forces, atol=1e-6)


@pytest.mark.parametrize(
    "hessian", [np.eye(9) * 1j, np.eye(9).astype(str), np.ma.masked_less(np.eye(9), 1)]
)
def test_hessians_too(hessian) -> None:
    calculator = LEPS()
    calculator.get_hessian = lambda atoms: hessian
    with pytest.raises(CalculatorFailed, match="a Hessian"):
        Surface(calculator).get_hessian(EXCHANGE.reactant)


class Moving:
    """No ASE calculator, but something that looks like one, and has its hands on the atoms."""

    def __init__(self, method: str, change) -> None:
        self.inner, self.method, self.change = LEPS(), method, change

    def __getattr__(self, name: str):
        if name not in ("get_forces", "get_potential_energy", "get_hessian"):
            raise AttributeError(name)

        def answer(atoms: Atoms):
            if name == self.method:
                self.change(atoms)
            if name == "get_hessian":
                return np.eye(3 * len(atoms))
            return getattr(self.inner, name)(atoms)

        return answer


CHANGES = {
    "rattled": lambda atoms: atoms.rattle(0.01),
    "turned": lambda atoms: atoms.rotate(30, "z"),
    "moved to the middle": lambda atoms: atoms.center(vacuum=3),
    "another element": lambda atoms: atoms.numbers.__setitem__(0, 9),
    "one more": lambda atoms: atoms.append("He"),
    "one less": lambda atoms: atoms.pop(),
}


@pytest.mark.parametrize("method", ["get_forces", "get_potential_energy", "get_hessian"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_answer_to_another_structure_is_refused(change, method) -> None:
    surface = Surface(Moving(method, change))  # type: ignore[arg-type]
    ask = surface.get_hessian if method == "get_hessian" else surface.at
    before = EXCHANGE.reactant.copy()
    with pytest.raises(CalculatorFailed):
        ask(EXCHANGE.reactant)
    assert before == EXCHANGE.reactant  # ours are never in its hands


class Overwriting:
    """Returns its own arrays, and writes over them at the next call, as compiled codes do."""

    def __init__(self) -> None:
        self.inner, self.forces, self.energy = LEPS(), np.zeros((3, 3)), np.zeros(1)

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        self.forces[:] = self.inner.get_forces(atoms)
        return self.forces

    def get_potential_energy(self, atoms: Atoms) -> np.ndarray:
        self.forces[:] = np.nan
        self.energy[:] = self.inner.get_potential_energy(atoms)
        return self.energy

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        self.forces[:] = np.nan
        return Surface(self.inner).get_hessian(atoms)

    def evaluate(self, images: list[Atoms], properties):
        for image in images:  # one dictionary for all
            self.get_potential_energy(image)
            yield {"energy": self.energy, "forces": self.get_forces(image)}


def test_arrays_that_are_written_over_later() -> None:
    honest, overwriting = Surface(LEPS()), Surface(Overwriting())  # type: ignore[arg-type]
    images = [EXCHANGE.reactant, EXCHANGE.product, EXCHANGE.reactant]
    for together in (False, True):
        if together:
            overwriting = Surface(Overwriting())  # type: ignore[arg-type]
            overwriting.prepare(images)
        answers = [overwriting.at(image) for image in images]
        for image, (energy, forces) in zip(images, answers, strict=True):
            expected = honest.at(image)
            assert energy == expected[0]
            np.testing.assert_array_equal(forces, expected[1])


class Together(LEPS):
    def __init__(self, evaluate) -> None:
        super().__init__()
        self._evaluate = evaluate

    def evaluate(self, images, properties):
        return self._evaluate(self, images)


def _alone(self, images):
    return [
        {"energy": self.get_potential_energy(image), "forces": self.get_forces(image)}
        for image in images
    ]


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda self, images: 1 / 0,
        lambda self, images: None,
        lambda self, images: _alone(self, images)[:-1],
        lambda self, images: _alone(self, images) * 2,
        lambda self, images: (_ for _ in ()).throw(SystemExit(2)),
        lambda self, images: [{"energy": 1.0}] * len(images),
    ],
)
def test_answers_about_many_structures_that_go_wrong(evaluate) -> None:
    images = [EXCHANGE.reactant, EXCHANGE.product]
    with pytest.raises(CalculatorFailed):
        Surface(Together(evaluate)).prepare(images)


def test_what_is_wrong_with_one_of_many_is_said_of_that_one() -> None:
    def evaluate(self, images):
        found = _alone(self, images)
        found[1]["forces"] = found[1]["forces"] * 1j
        return found

    surface = Surface(Together(evaluate))
    surface.prepare([EXCHANGE.reactant, EXCHANGE.product])
    assert surface.evaluations.gradients == 1
    surface.at(EXCHANGE.reactant)
    assert surface.evaluations.gradients == 1
    surface.at(EXCHANGE.product)  # alone it is right
    assert surface.evaluations.gradients == 2


def with_method(name: str, method) -> LEPS:
    return type("Own", (LEPS,), {name: method})()


def exits(*_: object) -> None:
    raise SystemExit("licence")


@pytest.mark.parametrize(
    "concerns",
    [
        lambda self, atoms: 1 / 0,
        exits,
        lambda self, atoms: None,
        lambda self, atoms: [Mute()],
        property(exits),
    ],
)
def test_concerns_that_break_down_cost_no_search(concerns) -> None:
    surface = Surface(with_method("concerns", concerns))
    zero = np.zeros((3, 3))
    minima = {
        name: Minimum(atoms, energy=0.0, forces=zero, method="rfo", converged=True)
        for name, atoms in (("reactant", EXCHANGE.reactant), ("product", EXCHANGE.product))
    }
    [warning] = remarks.of_structures(EXCHANGE.structures, minima, None, surface, QUICK)
    assert "is not known" in warning


def test_a_search_with_such_a_calculator_goes_on_to_its_end() -> None:
    result = searched(with_method("concerns", property(exits)))
    assert result.verdict.label is Label.INTENDED
    assert any("is not known: SystemExit: licence" in warning for warning in result.warnings)


@pytest.mark.parametrize("name", ["get_hessian", "evaluate"])
@pytest.mark.parametrize("error", [SystemExit(2), RuntimeError("not connected"), Mute()])
def test_properties_that_raise(name, error) -> None:
    def fails(self) -> None:
        raise error

    surface = Surface(with_method(name, property(fails)))
    with pytest.raises(CalculatorFailed):
        surface.get_hessian(EXCHANGE.reactant) if name == "get_hessian" else surface.prepare(
            [EXCHANGE.reactant, EXCHANGE.product]
        )


class Sleeping(LEPS):
    """Falls asleep in one of its methods, after some calls of it."""

    def __init__(self, method: str, after: int = 0) -> None:
        super().__init__()
        self.method, self.after = method, after

    def _called(self, method: str) -> None:
        if method == self.method:
            self.after -= 1
            if self.after < 0:
                time.sleep(600)

    def calculate(self, *arguments, **options) -> None:
        self._called("calculate")
        super().calculate(*arguments, **options)

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        self._called("get_hessian")
        return Surface(LEPS()).get_hessian(atoms)

    def concerns(self, atoms: Atoms) -> list[str]:
        self._called("concerns")
        return []

    def evaluate(self, images: list[Atoms], properties: tuple[str, ...]) -> list[dict]:
        self._called("evaluate")
        return _alone(self, images)


SHORT = from_mapping(
    {stage: {"wall_time": 2.0} for stage in ("endpoints", "path", "saddle", "irc", "lower_path")}
)
GUESS = Atoms("HHH", [[-0.95, 0.05, 0], [0, 0, 0], [0.92, 0.03, 0.02]])


def _saddle() -> Saddle:
    return refine(GUESS, Surface(LEPS()), SaddleSettings())


def _free_energies(surface: Surface) -> None:
    """Of an end without modes, as where its Hessian failed for once."""
    end = relax(EXCHANGE.reactant, Surface(LEPS()), EndpointSettings())
    verdict = Verdict(Label.FAILED)
    skipped = free_energies(end, end, None, verdict, surface, SHORT).skipped
    raise StageTimeout(skipped["reactant"])


def _concerns(surface: Surface) -> None:
    end = relax(EXCHANGE.reactant, Surface(LEPS()), EndpointSettings())
    minima = {"reactant": end, "product": end}
    raise StageTimeout(
        next(remarks.of_structures(EXCHANGE.structures, minima, None, surface, SHORT))
    )


def _verification(surface: Surface) -> None:
    result = SearchResult(EXCHANGE, Verdict(Label.UNINTENDED), saddle=_saddle())
    verification = verify(result, surface.calculator, SHORT)
    assert verification.cost.seconds > 1
    raise StageTimeout(verification.reason)


ASLEEP = {
    "relaxation": (
        Sleeping("calculate", 3),
        lambda surface: relax(EXCHANGE.reactant, surface, SHORT.endpoints),
    ),
    "the Hessian of a minimum": (
        Sleeping("get_hessian"),
        lambda surface: settle(EXCHANGE.reactant, 20.0, surface, SHORT.endpoints),
    ),
    "a path": (
        Sleeping("evaluate"),
        lambda surface: find_path(EXCHANGE.reactant, EXCHANGE.product, surface, SHORT.path),
    ),
    "the Hessian of a saddle": (
        Sleeping("get_hessian", 1),
        lambda surface: refine(GUESS, surface, dataclasses.replace(SHORT.saddle, hessian_every=99)),
    ),
    "the check of a Hessian": (
        Sleeping("calculate"),
        lambda surface: run_with_limit(
            lambda: check_hessian(surface, GUESS, np.diag(np.arange(9.0))), 2.0
        ),
    ),
    "an IRC": (
        Sleeping("calculate", 2),
        lambda surface: follow(_saddle(), surface, SHORT.irc),
    ),
    "the look for a lower-energy path": (
        Sleeping("evaluate"),
        lambda surface: relaxed_string(
            EXCHANGE.reactant, EXCHANGE.product, 0.0, surface, SHORT.lower_path
        ),
    ),
    "free energies": (Sleeping("get_hessian"), _free_energies),
    "concerns": (Sleeping("concerns"), _concerns),
    "verification": (Sleeping("calculate"), _verification),
}


@pytest.fixture(scope="module")
def imported() -> None:
    """An import that a limit of two seconds interrupts would leave half a module to other tests."""
    for library in ("ase.mep", "geometric.optimize", "sella", "torch"):
        importlib.import_module(library)
    relax(EXCHANGE.reactant, Surface(LEPS()), EndpointSettings())  # and those of pysisyphus


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize(("calculator", "stage"), ASLEEP.values(), ids=ASLEEP)
def test_every_call_of_a_calculator_is_within_a_limit(calculator, stage) -> None:
    start = time.monotonic()
    with pytest.raises(StageError, match=r"wall-time of 2 s"):
        stage(Surface(calculator, multiplicity=2))
    assert time.monotonic() - start < 60  # an IRC has two integrators, on a busy machine
