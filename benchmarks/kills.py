"""Kills runs at random moments, goes on with them, and holds them against uninterrupted ones.

    python -m benchmarks.kills --kills 200

Each run searches a few tiny reactions with `horm-tssearch` in two processes. It is killed (SIGKILL:
the command, one of its workers, both with all their processes, or the command while it stores a
result), started again, killed again, until it ends by itself; then a new one begins. What it leaves
must be what a run leaves that nobody has disturbed, to the last digit, seconds aside; nothing else
may lie in its folder or among temporary files, and no start may take longer than a limit. Exit
code: 0 when all that holds.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import write

#: What is killed, and when: "storing" is the command, within this many seconds after it has begun
#: to write a result.
KINDS = ("command", "worker", "group", "storing")
_WHILE_STORING = 0.06

#: Seconds that a start may take before it is said to hang.
LIMIT = 300.0

#: How a run begins, and what is killed of it: a search, one that verifies, or the verification of
#: a search that has ended.
PLANS = ("search", "verify", "verify later")

#: Little to search, so that starts and endings are a large part of it.
_SEARCH = [
    *("--calculator", "gfn2-xtb", "--path.method", "geodesic", "--attempts", "1"),
    *("--irc.step_length", "0.8", "--saddle.hessian_every", "3", "--lower_path.steps", "0"),
]
_VERIFY = ["--verify", "gfn1-xtb"]


class Hangs(Exception):
    """A start that took longer than the limit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser("benchmarks.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, metavar="N")
    parser.add_argument("--reactions", type=int, default=4, metavar="N", help="of each run")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        wrong = kill_and_resume(Path(folder), options.kills, options.reactions, options.seed)
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def kill_and_resume(folder: Path, kills: int, reactions: int, seed: int = 0) -> list[str]:
    """All that is wrong after so many kills, in runs below `folder`; says how it goes on."""
    chance = random.Random(seed)
    arena = Arena(folder, reactions)
    wrong: list[str] = []
    done: Counter[str] = Counter()
    runs = 0
    while done.total() < kills:
        plan = PLANS[runs % len(PLANS)]
        reference = arena.reference("search" if plan == "search" else "verify")
        out = folder / f"run-{runs}"
        if plan == "verify later":
            shutil.copytree(arena.reference("search"), out)
        try:
            done += _run_to_its_end(arena, plan, out, chance, kills - done.total())
        except Hangs as error:
            return [*wrong, f"{out.name} ({plan}): {error}"]
        found = [*differences(reference, out), *arena.left_behind()]
        wrong += [f"{out.name} ({plan}): {problem}" for problem in found]
        print(*wrong[len(wrong) - len(found) :], sep="\n", end="\n" * bool(found))
        runs += 1
        killed = ", ".join(f"{kind} {count}" for kind, count in sorted(done.items()))
        print(f"{done.total()} kills ({killed}), {runs} runs, {len(wrong)} wrong", flush=True)
        if not found:
            shutil.rmtree(out)
    return wrong


class Arena:
    """The input of all runs, how they are started, and how they end undisturbed."""

    def __init__(self, folder: Path, reactions: int) -> None:
        self.folder, self.temporary = folder, folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.table = folder / "reactions.csv"
        lines = ["id,reaction"]
        for number in range(reactions):
            write(folder / f"{number}.xyz", _hcn(number))
            lines.append(f"r{number},{number}.xyz")
        self.table.write_text("\n".join(lines) + "\n")
        self.seconds: dict[str, float] = {}

    def reference(self, plan: str) -> Path:
        """What an undisturbed run leaves; made when first asked for."""
        out = self.folder / f"undisturbed-{plan}"
        if not out.exists():
            start = time.monotonic()
            with self.started(plan, out) as process:
                if _ended(process, LIMIT) != 0:
                    raise RuntimeError(f"a run that nobody disturbed failed; see {out}.log")
            self.seconds[plan] = time.monotonic() - start
        return out

    @contextlib.contextmanager
    def started(self, plan: str, out: Path) -> Iterator[subprocess.Popen[bytes]]:
        """The command, as the leader of a group and session of its own; gone at the end."""
        flags = [*_SEARCH, *(_VERIFY if plan != "search" else [])]
        command = [sys.executable, "-m", "reactbench_runner.commands.tssearch", str(self.table)]
        command += ["--out", str(out), "--workers", "2", *flags]
        with out.with_name(f"{out.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=os.environ | {"TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def left_behind(self) -> list[str]:
        """Temporary files, after a run that ended by itself."""
        return [f"{file} was left behind" for file in self.temporary.iterdir()]


def _hcn(number: int) -> list[Atoms]:
    """HCN and HNC, each time a little different, so that no result can stand for another."""
    shift = 0.05 * number
    return [
        Atoms("HCN", [[-1.07, 0.3 + shift, 0], [0, 0, 0], [1.15, 0, 0]]),
        Atoms("HCN", [[2.15, 0.3 + shift, 0], [0, 0, 0], [1.17, 0, 0]]),
    ]


def _run_to_its_end(
    arena: Arena, plan: str, out: Path, chance: random.Random, most: int
) -> Counter[str]:
    """Start, kill and start again until a run ends by itself; what was killed how often."""
    done: Counter[str] = Counter()
    usual = arena.seconds["search" if plan == "search" else "verify"]
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        with arena.started(plan, out) as process:
            while process.poll() is None and done.total() < most:
                kind = chance.choice(KINDS)
                if killed(process, kind, out, chance.uniform(0, 1.2 * usual), chance):
                    done[kind] += 1
            code = _ended(process, LIMIT)
            wait_until_gone(process.pid)
    # Once more, undisturbed: where a worker was killed twice at one reaction, that is tried again.
    with arena.started(plan, out) as process:
        if (again := _ended(process, LIMIT)) != 0:
            raise RuntimeError(f"exit codes {code} and {again}; see {out}.log")
    return done


def killed(
    process: subprocess.Popen[bytes], kind: str, out: Path, delay: float, chance: random.Random
) -> bool:
    """Kill what `kind` says after `delay` seconds; False if the command ended before."""
    end = time.monotonic() + (LIMIT if kind == "storing" else delay)
    while time.monotonic() < end:
        if process.poll() is not None:
            return False
        if kind == "storing" and any(out.glob(".unfinished-*/*.xyz")):
            time.sleep(chance.uniform(0, _WHILE_STORING))
            break
        time.sleep(0.001 if kind == "storing" else 0.02)
    if kind == "worker":
        workers = [pid for pid in _children(process.pid) if "spawn_main" in _command_line(pid)]
        if not workers:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(workers), signal.SIGKILL)
        return True
    if process.poll() is not None:
        return False
    (os.killpg if kind == "group" else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    return True


def _ended(process: subprocess.Popen[bytes], limit: float) -> int:
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        raise Hangs(f"still at work after {limit:.0f} s") from None


def wait_until_gone(group: int) -> None:
    """Workers notice that their parent has been killed, and end."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise Hangs("workers have outlived their parent")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(pid) for pid in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _command_line(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def differences(reference: Path, out: Path) -> list[str]:
    """What of the folder of a run is not as in the reference."""
    files, expected = _files(out), _files(reference)
    wrong = [f"{name} is there" for name in sorted(files - expected)]
    wrong += [f"{name} is missing" for name in sorted(expected - files)]
    for name in sorted(files & expected):
        if name.endswith(".xyz") and (out / name).read_bytes() != (reference / name).read_bytes():
            wrong.append(f"{name} differs")
    if _table(out) != _table(reference):
        wrong.append("results.csv differs")
    if _settings(out) != _settings(reference):
        wrong.append("run.json differs")
    there, should = _structures(out), _structures(reference)
    if there.keys() != should.keys():
        wrong.append(f"results.db holds {sorted(there)} instead of {sorted(should)}")
    return wrong + [
        f"results.db: {key} differs"
        for key in there.keys() & should.keys()
        if not all(
            np.array_equal(*pair, equal_nan=True)
            for pair in zip(there[key], should[key], strict=True)
        )
    ]


def _files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*")}


def _table(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(newline="", encoding="utf-8") as f:
        return [
            {name: value for name, value in row.items() if not name.endswith("seconds")}
            for row in csv.DictReader(f)
        ]


def _settings(folder: Path) -> dict[str, object]:
    run = json.loads((folder / "run.json").read_text("utf-8"))
    return {name: run[name] for name in ("calculator", "verify", "settings", "versions")}


def _structures(folder: Path) -> dict[tuple[str, str, int], list[np.ndarray]]:
    """What the database holds by reaction, role and how manieth of these."""
    found: dict[tuple[str, str, int], list[np.ndarray]] = {}
    with connect(folder / "results.db", use_lock_file=False) as database:
        for row in database.select():
            count = sum(key[:2] == (row.reaction, row.role) for key in found)
            numbers = [row.numbers, row.positions, np.array(row.energy), row.forces]
            numbers += [np.asarray(row.data[name], float) for name in sorted(row.data)]
            found[row.reaction, row.role, count] = numbers
    return found


if __name__ == "__main__":
    sys.exit(main())
