"""What a run was made with, so that it can be resumed, repeated and believed."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import platform
import sys
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from horm_calc.checkpoints.catalogue import CATALOGUE, present
from horm_calc.chemistry.masses import has_isotopes
from horm_calc.configuration import to_mapping
from reactbench_runner.calculators import HORM, Entry
from reactbench_runner.inputs.reactions import Unreadable
from reactbench_runner.storage.database import without_password
from reactbench_runner.storage.run_folder import read_record, replacing
from workflows.errors import InputError
from workflows.methods.registry import packages
from workflows.records import Start
from workflows.settings import SearchSettings
from workflows.starts import BondChanges

#: The packages whose version can change a result.
PACKAGES = ("horm-tssearch", "ase", "numpy", "rdkit", "scipy", "tblite", "torch", *packages())

#: What must agree for results to stand in one table, and what it is in files without it.
_MUST_AGREE: dict[str, Any] = {
    "calculator": None, "identity": {}, "verify": None, "verify_identity": {}, "settings": {},
}  # fmt: skip

#: What the entries of run.json are that are looked into.
_KINDS: dict[str, Any] = {
    "calculator": str, "verify": str | None, "settings": dict, "versions": dict, "run": str,
    "identity": dict, "verify_identity": dict, "resumed": list, "solvents": list,
}  # fmt: skip

#: What a digest that differs means.
_CHANGED = {
    "identity.sha256": "the weights or the code of the calculator have changed",
    "verify": "the weights or the code of the calculator that verifies have changed",
}

#: Names that entries of run.json, and of its settings, had at first.
_OLD_NAMES = {
    "network": "identity",
    "verify_network": "verify_identity",
    "lower_way": "lower_path",
}

#: What a run can get later.
_VERIFICATION = ("verify", "verify_level_of_theory", "verify_identity")


def describe_run(
    calculator: Entry,
    settings: SearchSettings,
    verify: Entry | None = None,
    solvents: Sequence[str] = ("",),
) -> dict[str, Any]:
    """The content of run.json; solvents: those of its reactions, "" for the gas phase."""
    return {
        "calculator": calculator.name,
        "level_of_theory": calculator.level_in_all(solvents),
        "identity": calculator.identity,
        "solvents": [*solvents],
        "verify": verify.name if verify else None,
        "verify_level_of_theory": verify.level_in_all(solvents) if verify else None,
        "verify_identity": verify.identity if verify else {},
        "settings": to_mapping(settings),
        "seed": settings.path.seed,
        "run": f"run-{uuid.uuid4().hex[:12]}",
        "versions": versions(calculator.packages + (verify.packages if verify else ())),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "command": without_password(" ".join(["horm-tssearch", *sys.argv[1:]])),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def with_solvents_there(out: Path, solvents: Iterable[str]) -> list[str]:
    """Those of an input, and of the run that a folder holds already. Raises `InputError`."""
    path = out / "run.json"
    there = _read(path).get("solvents", [""]) if path.exists() else []
    return sorted({*solvents, *there}) or [""]


def start_or_resume(out: Path, run: dict[str, Any], *, of_smiles: bool = True) -> str:
    """Write run.json, or check it against the run that `out` holds; returns the run's name.

    `out` is a folder that no other process writes to. Raises `InputError` naming every
    difference in calculator or settings. The same weights are the same calculator, wherever
    their file lies. A run without verification may get one. Runs of versions that relaxed no
    conformers can go on with any number of these where no reaction has them (not `of_smiles`).
    Versions that have changed since are noted in run.json.
    """
    path = out / "run.json"
    if path.exists():
        before = _read(path)
        known = dict(before)
        if before.get("verify") is None:
            before |= {key: run[key] for key in _VERIFICATION}
        for name, identity in (("calculator", "identity"), ("verify", "verify_identity")):
            if run[identity] and before.get(identity) == run[identity]:
                before[name] = run[name]
        there = {key: before.get(key, absent) for key, absent in _MUST_AGREE.items()}
        conformers = 1 if of_smiles else run["settings"]["conformers"]
        there["settings"] = {"conformers": conformers} | there["settings"]  # of older versions
        for name, identity in (("calculator", "identity"), ("verify", "verify_identity")):
            if there[name] != run[name]:
                there[identity] = run[identity]  # the name says it all
        differences = [
            line for key, value in there.items() for line in _differences(key, value, run[key])
        ]
        if differences:
            raise InputError(
                f"{out} holds a different run; results are not mixed. Use another --out, or "
                "repeat what was used there:\n  " + "\n  ".join(differences)
            )
        return _resumed(path, known, run)
    begun = replacing(path).temporary  # by a process that was killed then
    if any(entry != begun for entry in out.iterdir()):
        raise InputError(f"{out} is not empty and holds no run (no run.json); use another --out")
    _write(path, run)
    return str(run["run"])


def _resumed(path: Path, known: dict[str, Any], run: dict[str, Any]) -> str:
    """Note in run.json what has changed since; the run's name."""
    now = dict(known)
    if now.get("verify") is None:
        now |= {key: run[key] for key in _VERIFICATION if run["verify"]}
    if run["solvents"] != known.get("solvents", [""]):
        now |= {key: run[key] for key in ("solvents", "level_of_theory")}
        now["verify_level_of_theory"] = run["verify_level_of_theory"]
    now.setdefault("run", run["run"])
    last = [known, *known.get("resumed", ())][-1]
    if last.get("versions") != run["versions"]:
        again = {key: run[key] for key in ("started", "versions", "python")}
        now["resumed"] = [*known.get("resumed", []), again]
    if now != known:
        _write(path, now)
    return str(now["run"])


def _read(path: Path) -> dict[str, Any]:
    """The run.json of a folder."""
    try:
        run = read_record(path)
        for old, new in _OLD_NAMES.items():
            for names in (run, run.get("settings")):
                if isinstance(names, dict) and old in names:
                    names.setdefault(new, names.pop(old))
        for key, kind in _KINDS.items():
            if key in run and not isinstance(run[key], kind):
                raise ValueError(f"'{key}' is {run[key]!r}")
        if not {"calculator", "settings"} <= run.keys():
            raise ValueError("it names no calculator or no settings")
        if not all(isinstance(again, dict) for again in run.get("resumed", ())):
            raise ValueError(f"'resumed' is {run['resumed']!r}")
    except ValueError as error:
        raise InputError(
            f"{path} is damaged ({error}), so it is not known how the results were made; "
            "restore it from a copy, or use another --out"
        ) from None
    return run


def _write(path: Path, run: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(run, indent=1), "utf-8")


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Of the packages that can change a result, and of `more`, as they are installed here."""
    return {name: _version(name) for name in dict.fromkeys((*PACKAGES, *more))}


def fingerprint(item: Start | Unreadable) -> str:
    """A digest of what a search starts from: isotopes, positions, charge, spin, solvent, bonds."""
    if isinstance(item, Unreadable):
        return f"unreadable: {item.reason}"
    digest = hashlib.sha256()
    for atoms in item.structures.values():
        digest.update(atoms.numbers.astype("int64").tobytes())
        digest.update(atoms.positions.astype("float64").tobytes())
        if has_isotopes(atoms):
            digest.update(atoms.get_masses().astype("float64").tobytes())
    electrons = f"{item.charge} {item.multiplicity}"
    digest.update(f"{electrons} {item.solvent}".rstrip().encode())  # gas phase: as it always was
    if isinstance(item, BondChanges):
        digest.update(str(item).encode())
    return digest.hexdigest()[:16]


def _differences(name: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(before.keys() | now.keys())
        return [
            line
            for key in keys
            for line in _differences(
                key if name == "settings" else f"{name}.{key}", before.get(key), now.get(key)
            )
        ]
    if before == now:
        return []
    if name.endswith("identity.sha256"):
        return [f"{_CHANGED[name.partition('_')[0]]} ({_brief(before)} there, {_brief(now)} now)"]
    remedy = ""
    if name in ("calculator", "verify"):
        before, now = _short(before), _short(now)
        remedy = f"; go on with --{name} {before}" if before else f"; go on without --{name}"
    return [f"{name}: {before} there, {now} now{remedy}"]


def _brief(digest: str | None) -> str:
    return f"SHA-256 {digest[:12]}..." if digest else "none"


def _short(calculator: str | None) -> str | None:
    """Networks of this package by the names that people know them by."""
    for entry in CATALOGUE.values():
        if not entry.repository and calculator == f"{HORM}{present(entry)}":
            return HORM + entry.name
    return calculator


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
