"""The pages say what the programs do: examples run, tables are complete, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from horm_calc.checkpoints import files as checkpoints
from horm_calc.checkpoints.catalogue import CATALOGUE, SHIPPED, find
from horm_calc.models.repulsion import HIDDEN, REACH, SEEN
from horm_calc.units import to_kcal_per_mol
from reactbench_runner.batch import run_batch
from reactbench_runner.storage.store import finished
from reactbench_runner.storage.table import COLUMNS, cost_columns
from tests.places import REPOSITORY
from workflows.preparation import ALMOST
from workflows.records import Reaction
from workflows.settings import from_mapping
from workflows.stage_names import COSTED

DOCS = REPOSITORY / "docs"
FOLDERS = ("benchmarks", "docs", "examples", "horm_calc", "reactbench_runner", "research", "tests")
PAGES = sorted(
    {
        *REPOSITORY.glob("*.md"),
        *(page for name in FOLDERS for page in (REPOSITORY / name).rglob("*.md")),
    }
)
each_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY))
)


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


def test_free_energies_from_python(capsys: pytest.CaptureFixture[str]) -> None:
    [example] = examples("explanation/energies.md")
    found: dict = {}
    exec(example, found)
    # Of water from experiment (NIST): 1595, 3657 and 3756 cm⁻¹; the method is within 10%.
    assert found["modes"].frequencies == pytest.approx([1595, 3657, 3756], rel=0.1)
    assert str(found["values"].gibbs) in capsys.readouterr().out


def test_other_starts_from_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    found: dict = {}
    for example in examples("how-to/starts.md"):
        exec(example, found)
    made, alone, beside = capsys.readouterr().out.splitlines()
    assert made == "intended [C-]#[NH+]"
    assert alone == "found {'reactant': '[C-]#[NH+]', 'product': 'C#N'}"
    assert beside == "intended guess"
    assert [one.id for one in found["starts"]] == ["guess", "hcn"]


def test_searches_from_python(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    one, many = examples("how-to/python.md")
    found: dict = {}
    exec(one, found)
    assert capsys.readouterr().out.startswith("intended 2.")  # eV
    exec(many, found)
    verdicts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert verdicts.keys() == {file.stem for file in (REPOSITORY / "examples/xyz").glob("*.xyz")}
    assert verdicts["vinyl_alcohol"] == "intended"


def test_every_column_is_explained() -> None:
    text = (DOCS / "reference/results.md").read_text("utf-8")
    named = set(re.findall(r"`([a-z_0-9]+)`", text.split("## The folder")[0]))
    of_stages = {column for stage in COSTED for column in cost_columns(stage)}
    assert {stage.replace(" ", "_") for stage in COSTED} <= named
    assert set(COLUMNS) - of_stages <= named


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in runs/first, as the examples have it."""
    place = tmp_path_factory.mktemp("first")
    reactant = Atoms("HCN", [[-1.07, 0.3, 0], [0, 0, 0], [1.15, 0, 0]])
    product = Atoms("HCN", [[2.15, 0.3, 0], [0, 0, 0], [1.17, 0, 0]])
    settings = from_mapping({"path": {"method": "neb", "images": 5}, "attempts": 1})
    run_batch(
        [Reaction("hcn", reactant, product)],
        place / "runs/first",
        "gfn2-xtb",
        settings=settings,
        verify="gfn1-xtb",
    )
    return place


def test_rate_constants_from_python(
    first: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice the same reaction: 68 kcal/mol at 350 K are ln k = 30 - 98."""
    stored, own = examples("how-to/kinetics.md")
    found: dict = {}
    monkeypatch.chdir(first)
    exec(stored, found)
    words = capsys.readouterr().out.splitlines()[1].split()
    assert words[:3] == ["hcn", "350.0", "K"]
    monkeypatch.chdir(REPOSITORY)
    exec(own, found)
    rate, tunnelling, effect = map(float, capsys.readouterr().out.split())
    assert rate == pytest.approx(-68, abs=2)
    assert [rate, tunnelling] == pytest.approx(list(map(float, words[3:])), abs=0.05)
    assert effect == pytest.approx(8.9, abs=0.2)  # as horm-thermo --isotope 3:D


def test_the_profile_and_the_roles(first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ase.db import connect

    monkeypatch.chdir(first)
    out = Path("runs/first")
    [example] = examples("reference/results.md")
    found: dict = {}
    exec(example, found)
    top = int(np.argmax(found["energies"]))
    assert 0 < top < len(found["energies"]) - 1
    saddle = read(out / "hcn" / "ts.xyz")
    assert found["energies"][top] == pytest.approx(saddle.get_potential_energy())
    text = (DOCS / "reference/results.md").read_text("utf-8").split("## results.db")[1]
    with connect(out / "results.db") as database:
        rows = list(database.select())
        assert database.count(role="transition_state", run=rows[0].run) == 1
    for row in rows:
        for name in (row.role, *row.key_value_pairs, *row.data):
            assert f"`{name}`" in text, name
    assert finished(out)["hcn"].verify_converged


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Those of the headings, as GitHub and MkDocs make them."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings
    }


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


@each_page
def test_paths_that_are_named_exist(page: Path) -> None:
    """Those that begin with a folder of the repository; NAME is for the reader to replace."""
    if page == DOCS / "reference" / "commands.md":
        return  # the words of the parsers, with files of a reader's own
    begin = "|".join((*FOLDERS, "workflows"))
    text = page.read_text("utf-8")
    for named in re.findall(rf"(?<![\w./:-])(?:{begin})/[\w./*-]*", text):
        path = named.rstrip(".")
        if "NAME" not in path:
            assert list(REPOSITORY.glob(path.rstrip("/"))), path
    for module in re.findall(r"python -m (benchmarks\.[a-z_]+)", text):
        assert REPOSITORY.joinpath(*module.split(".")).with_suffix(".py").exists(), module


def test_settings_that_are_named_exist() -> None:
    known = (DOCS / "reference" / "settings.md").read_text("utf-8")
    for file in (*PAGES, *(REPOSITORY / "research").rglob("*.sh")):
        for name in re.findall(r"--([a-z_]+\.[a-z_]+)", file.read_text("utf-8")):
            assert f"`{name}`" in known, f"{file}: {name}"


def test_numbers_that_pages_take_from_the_code() -> None:
    energies, networks = (
        " ".join((DOCS / "explanation" / name).read_text("utf-8").split())
        for name in ("energies.md", "networks.md")
    )
    assert f"more than {to_kcal_per_mol(ALMOST):.0f} kcal/mol below" in energies
    assert f"nearer than {SEEN} times the sum" in networks
    assert f"completely at {HIDDEN} times the sum" in networks
    assert f"ends smoothly at {REACH} times the sum" in networks
    for name in (name for name in CATALOGUE if name.startswith(SHIPPED)):
        assert checkpoints.read(find(name)).config["repulsion"], name


def made_pages() -> Iterator[tuple[str, str]]:
    place = importlib.util.spec_from_file_location("make_reference", DOCS / "make_reference.py")
    assert place is not None and place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    yield from module.pages().items()


def test_pages_that_follow_from_the_code_are_up_to_date() -> None:
    for name, text in made_pages():
        page = (DOCS / "reference" / name).read_text("utf-8")
        assert page == text, f"run: python docs/make_reference.py ({name} has changed)"


def test_calculators_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two are built as the command builds them; the others need other packages."""
    from reactbench_runner import calculators

    first, solvated, *others = examples("how-to/own-calculator.md")
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(first)
    entry = calculators.entry("own.py:mine")
    assert entry.level_of_theory == "GFN1-xTB (mine)"
    water = Atoms("OH2", [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]])
    water.calc = calculators.build("own.py:mine")
    assert water.get_potential_energy() < 0
    Path("gbsa.py").write_text(solvated)
    assert calculators.entry("gbsa.py:mine").level_in("water") == "GFN1-xTB, GBSA(water)"
    in_water = calculators.build("gbsa.py:mine", solvent="water").get_potential_energy(water)
    assert in_water < calculators.build("gbsa.py:mine").get_potential_energy(water) - 0.1
    assert len(others) == 4
    for other in others:
        ast.parse(other)


def test_examples_with_pandas_name_columns_that_exist() -> None:
    text = "\n".join([*examples("how-to/pandas.md"), *examples("tutorials/many-reactions.md")])
    ast.parse(text)
    named = set(re.findall(r"\w+_kcal_per_mol", text))
    assert named
    assert {name.removesuffix("_first").removesuffix("_second") for name in named} <= set(COLUMNS)


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    """With every warning as an error, where MkDocs is installed (the extra `docs`)."""
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "vinyl_alcohol" in (tmp_path / "index.html").read_text("utf-8")
