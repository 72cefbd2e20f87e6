"""A search that fails leaves the structures that show why, in each stage."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from reactbench_runner import calculators
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import SEARCHES
from reactbench_runner.storage.store import _EVIDENCE, Store
from reactbench_runner.storage.structures import points
from tests.places import REPOSITORY
from tests.reactbench_runner.test_batch import hcn
from tests.workflows.test_tssearch import Failing
from workflows.records import Label, Reaction, SearchResult, Start, Verdict
from workflows.settings import from_mapping
from workflows.stage_names import COSTED, Stage
from workflows.stages import irc
from workflows.stages.endpoints import relax
from workflows.starts import BondChanges
from workflows.surface import Surface
from workflows.tssearch import search

LEVEL = "GFN2-xTB (tblite)"

#: Stages that fail no search: they add to one that has its verdict.
ADDED = (Stage.LOWER_PATH, Stage.THERMOCHEMISTRY, Stage.SEPARATED)

#: One attempt, from a path that is no more than interpolated.
QUICK = {"path": {"method": "geodesic"}, "attempts": 1, "lower_path": {"steps": 0}}


def stored(
    tmp_path: Path, reaction: Start, calculator: Any = None, **settings: dict[str, Any]
) -> tuple[SearchResult, ResultRow, Path]:
    own = calculator or calculators.build("gfn2-xtb")
    result = search(reaction, own, from_mapping(QUICK | settings))
    assert result.verdict.label is Label.FAILED
    return result, Store(tmp_path, "run").add(result, "", LEVEL), tmp_path / reaction.id


def first(file: Path) -> Atoms:
    """The first frame, whose comment must say where it comes from."""
    atoms = read(file, 0)
    assert atoms.info["level_of_theory"] == LEVEL
    assert (atoms.info["charge"], atoms.info["multiplicity"]) == (0, 1)
    return atoms


@pytest.fixture(scope="module")
def relaxed() -> Reaction:
    """HCN and HNC as they are after relaxation."""
    given, settings = hcn(), from_mapping({}).endpoints
    ends = [
        relax(atoms, Surface(calculators.build("gfn2-xtb")), settings).atoms
        for atoms in (given.reactant, given.product)
    ]
    return Reaction("hcn", *ends)


def test_every_stage_that_a_search_can_fail_in_has_its_evidence() -> None:
    """In the reasons of rows and in the table of the documentation; and people can watch them all.

    What comes behind the ends of the IRC adds to a search that has its verdict.
    """
    failing = [stage for stage in COSTED if stage not in ADDED]
    assert [*_EVIDENCE] == failing
    results = (REPOSITORY / "docs/reference/results.md").read_text("utf-8")
    table = results.split("| failed at stage |")[1].split("\n\n")[0]
    assert re.findall(r"^\| `([\w ]+)` \|", table, re.M) == [*failing, Stage.WORKER]
    watch = (REPOSITORY / "docs/how-to/watch.md").read_text("utf-8")
    [line] = re.findall(r"^\| stage \| .*", watch, re.M)
    places = [re.search(rf"\b{stage}\b(?! ends)", line) for stage in COSTED]
    starts = [place.start() for place in places if place]
    assert len(starts) == len(COSTED), line
    assert starts == sorted(starts)


def test_bonds_that_cannot_be_driven(tmp_path: Path) -> None:
    """What they have led to instead is there to be looked at."""
    start = BondChanges("hcn", hcn().reactant, breaking=((0, 1),))
    _, row, folder = stored(tmp_path, start)
    assert row.stage is Stage.PREPARATION
    assert "does not last with this calculator" in row.reason
    assert row.reason.endswith("(see last_structures.xyz)")
    assert first(folder / "last_structures.xyz").get_potential_energy() < -100


def test_an_endpoint_that_does_not_relax(tmp_path: Path) -> None:
    result, row, folder = stored(tmp_path, hcn(), endpoints={"max_steps": 2})
    assert (row.stage, row.reason.endswith("(see reactant.xyz)")) == (Stage.ENDPOINTS, True)
    atoms = first(folder / "reactant.xyz")
    assert not atoms.info["converged"]
    assert "largest force component" in atoms.info["reason"]
    assert atoms.get_potential_energy() < -100
    # It is no energy or structure for anybody who wants a relaxed one.
    assert row.reactant_energy_ev is None
    assert "reactant" not in points(result)


def test_the_other_endpoint_is_there_where_the_second_does_not_relax(
    tmp_path: Path, relaxed: Reaction
) -> None:
    half = Reaction("hcn", relaxed.reactant, hcn().product)
    result, row, folder = stored(tmp_path, half, endpoints={"max_steps": 2})
    assert row.reason.startswith("the product did not relax")
    assert "converged" not in first(folder / "reactant.xyz").info
    assert not first(folder / "product.xyz").info["converged"]
    assert row.reactant_energy_ev is not None
    assert set(points(result)) == {"reactant"}


def test_a_calculator_that_breaks_at_an_endpoint(tmp_path: Path) -> None:
    _, row, folder = stored(tmp_path, hcn(), Failing(3))
    assert row.reason.endswith("SCF not converged in 250 cycles (see last_structures.xyz)")
    frames = read(folder / "last_structures.xyz", ":")
    assert (first(folder / "last_structures.xyz").positions == frames[0].positions).all()
    assert frames[0].get_potential_energy() < -100
    assert frames[-1].calc is None  # it broke here, and gave no energy


def test_endpoints_that_become_the_same_structure(tmp_path: Path, relaxed: Reaction) -> None:
    same = Reaction("hcn", relaxed.reactant, relaxed.reactant.copy())
    _, row, folder = stored(tmp_path, same)
    assert row.stage is Stage.ENDPOINTS
    assert "relax to the same structure" in row.reason
    ends = [first(folder / f"{name}.xyz") for name in ("reactant", "product")]
    assert np.abs(ends[0].positions - ends[1].positions).max() < 0.02


def test_an_endpoint_whose_bonds_change_says_so(tmp_path: Path) -> None:
    """The hydrogen lies on the way to carbon, and goes to nitrogen."""
    given = hcn()
    broken = given.reactant.copy()
    broken.positions[0] = [-2.2, 0.3, 0]
    reaction = Reaction("hcn", broken, given.product)
    result = search(reaction, calculators.build("gfn2-xtb"), from_mapping(QUICK))
    Store(tmp_path, "run").add(result, "", LEVEL)
    assert "H1-C2" in first(tmp_path / "hcn" / "reactant.xyz").info["relaxation_changed"]
    assert "relaxation_changed" not in first(tmp_path / "hcn" / "product.xyz").info


def test_a_path_that_is_not_found(tmp_path: Path) -> None:
    path = {"method": "gsm", "max_steps": 1}
    _, row, folder = stored(tmp_path, hcn(), path=path)
    assert (row.stage, row.reason.endswith("(see last_structures.xyz)")) == (Stage.PATH, True)
    assert len(read(folder / "last_structures.xyz", ":")) > 2
    assert {"reactant.xyz", "product.xyz"} <= {file.name for file in folder.iterdir()}


def test_a_saddle_that_does_not_converge(tmp_path: Path) -> None:
    _, row, folder = stored(tmp_path, hcn(), saddle={"max_steps": 1})
    assert (row.stage, row.reason.endswith("(see ts.xyz)")) == (Stage.SADDLE, True)
    atoms = first(folder / "ts.xyz")
    assert not atoms.info["converged"]
    assert "largest force component" in atoms.info["reason"]
    assert (folder / "path.xyz").exists()


def test_an_irc_that_does_not_descend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps that are too short to get anywhere; other integrators begin with a longer one."""
    monkeypatch.setattr(irc, "METHODS", {"lqa": irc.METHODS["lqa"]})
    _, row, folder = stored(tmp_path, hcn(), irc={"step_length": 1e-4, "max_steps": 1})
    assert (row.stage, row.reason.endswith("(see irc.xyz)")) == (Stage.IRC, True)
    assert len(read(folder / "irc.xyz", ":")) >= 2
    assert "descend" in first(folder / "irc.xyz").info["reason"]


def test_ends_of_an_irc_that_do_not_relax(tmp_path: Path, relaxed: Reaction) -> None:
    """What was relaxed before needs no step; the ends of a short IRC need more than two."""
    settings = {"endpoints": {"max_steps": 2}, "irc": {"max_steps": 8}}
    _, row, folder = stored(tmp_path, relaxed, **settings)
    assert (row.stage, row.reason.endswith("(see irc.xyz)")) == (Stage.IRC_ENDS, True)
    frames = read(folder / "irc.xyz", ":")
    assert not all(frame.info.get("converged", True) for frame in (frames[0], frames[-1]))


def test_a_search_whose_process_died_leaves_what_it_had_written(tmp_path: Path) -> None:
    search_folder = tmp_path / SEARCHES / "hcn"
    search_folder.mkdir(parents=True)
    (search_folder / "01-endpoints.xyz").write_text("1\n\nH 0 0 0\n")
    (search_folder / "log.txt").write_text("===== endpoints =====")
    dead = SearchResult(hcn(), Verdict(Label.FAILED, "it died", stage=Stage.WORKER))
    Store(tmp_path, "run").add(dead, "", LEVEL)
    assert (tmp_path / "hcn" / "01-endpoints.xyz").exists()
    assert "===== endpoints =====" in (tmp_path / "hcn" / "log.txt").read_text()
