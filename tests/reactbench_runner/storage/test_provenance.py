"""What run.json knows of a run, and what it refuses to mix."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_masses

from reactbench_runner import calculators
from reactbench_runner.inputs.reactions import Unreadable
from reactbench_runner.storage.provenance import describe_run, fingerprint, start_or_resume
from workflows.errors import InputError
from workflows.records import Reaction
from workflows.settings import SearchSettings, from_mapping

GFN2, GFN1 = "gfn2-xtb", "gfn1-xtb"


def hcn() -> Reaction:
    reactant = Atoms("HCN", [[-1.07, 0.3, 0], [0, 0, 0], [1.15, 0, 0]])
    product = Atoms("HCN", [[2.15, 0.3, 0], [0, 0, 0], [1.17, 0, 0]])
    return Reaction("hcn", reactant, product)


def described(
    name: str = GFN2, settings: SearchSettings | None = None, verify: str | None = None
) -> dict:
    trusted = calculators.entry(verify) if verify else None
    return describe_run(calculators.entry(name), settings or SearchSettings(), trusted)


def moved(reaction: Reaction) -> None:
    reaction.product.positions[2, 1] = np.nextafter(reaction.product.positions[2, 1], 1)


def heavy(reaction: Reaction) -> None:
    reaction.reactant.set_masses([2.014, None, None])


def exchanged(reaction: Reaction) -> None:
    for atoms in (reaction.reactant, reaction.product):
        atoms.positions[[0, 2]] = atoms.positions[[2, 0]]


CHANGES = {
    "a position in its last digit": moved,
    "an isotope": heavy,
    "two atoms exchanged": exchanged,
    "another element": lambda one: one.reactant.symbols.__setitem__(2, "P"),
    "charge": lambda one: one.__dict__.__setitem__("charge", 1),
    "multiplicity": lambda one: one.__dict__.__setitem__("multiplicity", 3),
    "ends turned round": lambda one: one.__dict__.update(reactant=one.product,
                                                         product=one.reactant),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_another_reaction_has_another_fingerprint(what: str) -> None:
    changed = copy.deepcopy(hcn())
    CHANGES[what](changed)
    assert fingerprint(changed) != fingerprint(hcn())


def test_the_same_reaction_has_the_same_fingerprint() -> None:
    """Whatever its name, the names in it, and masses that are the standard ones anyway."""
    same = copy.deepcopy(hcn())
    same.__dict__["id"] = "other"
    for atoms in (same.reactant, same.product):
        atoms.info["comment"] = "from a file"
        atoms.set_masses(atomic_masses[atoms.numbers])
    assert fingerprint(same) == fingerprint(hcn())
    assert fingerprint(hcn()) == "3eab38b8feafea50"  # as in folders of earlier versions


def test_unreadable_reactions_are_the_same_while_they_fail_alike() -> None:
    one = Unreadable("a", "line 3: no file")
    assert fingerprint(one) == fingerprint(Unreadable("b", "line 3: no file"))
    assert fingerprint(one) != fingerprint(Unreadable("a", "line 4: no file"))
    assert fingerprint(one) != fingerprint(hcn())


def test_a_run_names_what_can_change_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://me:secret@host/db"
    monkeypatch.setattr(sys, "argv", ["horm-tssearch", "in.csv", "--db", url])
    run = described(verify=GFN1)
    assert json.loads(json.dumps(run)) == run
    assert run["versions"]["numpy"] == importlib.metadata.version("numpy")
    assert run["versions"]["tblite"] == importlib.metadata.version("tblite")
    assert (run["calculator"], run["verify"]) == (GFN2, GFN1)
    assert run["level_of_theory"] != run["verify_level_of_theory"]
    assert from_mapping(run["settings"]) == SearchSettings()
    assert "in.csv" in run["command"]
    assert "secret" not in json.dumps(run)
    assert described()["run"] != described()["run"]


def test_every_difference_is_named_at_once(tmp_path: Path) -> None:
    start_or_resume(tmp_path, described())
    before = (tmp_path / "run.json").read_bytes()
    other = from_mapping({"path": {"images": 9}, "attempts": 1})
    with pytest.raises(InputError) as refused:
        start_or_resume(tmp_path, described(GFN1, other))
    words = str(refused.value)
    assert f"calculator: {GFN2} there, {GFN1} now; go on with --calculator {GFN2}" in words
    assert f"images: {SearchSettings().path.images} there, 9 now" in words
    assert f"attempts: {SearchSettings().attempts} there, 1 now" in words
    assert "saddle" not in words
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_run_keeps_its_name_and_its_beginning(tmp_path: Path) -> None:
    first = described()
    assert start_or_resume(tmp_path, first) == first["run"]
    before = (tmp_path / "run.json").read_bytes()
    assert start_or_resume(tmp_path, described()) == first["run"]
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_verification_can_come_later_and_then_stays(tmp_path: Path) -> None:
    start_or_resume(tmp_path, described())
    start_or_resume(tmp_path, described(verify=GFN1))
    assert json.loads((tmp_path / "run.json").read_text())["verify"] == GFN1
    with pytest.raises(InputError, match=f"verify: {GFN1} there, None now; go on with --verify"):
        start_or_resume(tmp_path, described())


@pytest.mark.parametrize("which", ["identity", "verify_identity"])
def test_other_weights_under_the_same_name_are_refused(which: str, tmp_path: Path) -> None:
    run = described(verify=GFN1) | {which: {"sha256": "a" * 64}}
    start_or_resume(tmp_path, run)
    with pytest.raises(InputError, match=r"weights or the code .* have changed .*aaaaaaaaaaaa"):
        start_or_resume(tmp_path, run | {which: {"sha256": "b" * 64}})


def test_the_same_weights_in_another_place_are_the_same(tmp_path: Path) -> None:
    run = described() | {"calculator": "horm:here.ckpt", "identity": {"sha256": "a" * 64}}
    start_or_resume(tmp_path, run)
    start_or_resume(tmp_path, run | {"calculator": "horm:there.ckpt"})


def test_names_of_the_first_version_are_understood(tmp_path: Path) -> None:
    run = described() | {"calculator": "horm:left", "identity": {"sha256": "a" * 64}}
    old = {"network" if key == "identity" else key: value for key, value in run.items()}
    (tmp_path / "run.json").write_text(json.dumps(old))
    start_or_resume(tmp_path, run)
    with pytest.raises(InputError, match="have changed"):
        start_or_resume(tmp_path, run | {"identity": {"sha256": "b" * 64}})
