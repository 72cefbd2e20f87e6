"""`horm-thermo` as a user calls it, on a real run and on stored springs."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from scipy import constants

from horm_calc import gfn2_xtb
from horm_calc.chemistry.kinetics import StationaryPoint
from horm_calc.structure_files.isotopes import exact_mass
from horm_calc.units import to_kcal_per_mol
from reactbench_runner import stored_kinetics
from reactbench_runner.commands import thermo
from reactbench_runner.kinetics.isotopes import isotopologues, read_isotopes
from reactbench_runner.kinetics.tables import scientific
from reactbench_runner.storage.making import to_row
from reactbench_runner.storage.store import Store, write_table
from reactbench_runner.storage.structures import entries
from tests.horm_calc.chemistry.springs import springs, triatomic
from tests.places import STRUCTURES
from tests.reactbench_runner.stored import LEVEL, in_steps, searched
from workflows import search
from workflows.records import (
    Label,
    Minimum,
    Reaction,
    Saddle,
    SearchResult,
    SeparatedMolecule,
    SeparatedMolecules,
    Verdict,
)
from workflows.settings import from_mapping

QUICK = from_mapping({"path": {"method": "geodesic"}, "lower_path": {"steps": 0}, "attempts": 1})

REACTANT = triatomic("HOF", (40.0, 25.0, 3.0))
SADDLE = triatomic("HOF", (15.0, 20.0, -4.0), energy=0.9, angle=60.0)
PRODUCT = triatomic("HOF", (12.0, 35.0, 6.0), energy=-0.4, angle=75.0)

#: HO beside F.
APART = Atoms("HOF", [[0.97, 0, 0], [0, 0, 0], [0, 3.0, 0]])
COMPLEX = StationaryPoint(APART, springs(APART, {(0, 1): 50.0, (1, 2): 1.0, (0, 2): 0.5}), 0.2)


def minimum(point: StationaryPoint) -> Minimum:
    return Minimum(
        point.atoms,
        energy=point.energy,
        forces=np.zeros((len(point.atoms), 3)),
        method="springs",
        converged=True,
        hessian=point.hessian,
        modes=point.modes,
    )


def saddle(point: StationaryPoint) -> Saddle:
    forces = np.zeros((len(point.atoms), 3))
    known = {"hessian": point.hessian, "modes": point.modes, "energy": point.energy}
    return Saddle(point.atoms, forces=forces, method="springs", converged=True, **known)


def of_springs(name: str, **more: Any) -> SearchResult:
    parts: dict[str, Any] = {
        "reactant": minimum(REACTANT),
        "product": minimum(PRODUCT),
        "saddle": saddle(SADDLE),
    }
    verdict = more.pop("verdict", Verdict(Label.INTENDED))
    reaction = Reaction(name, REACTANT.atoms, PRODUCT.atoms)
    return SearchResult(reaction, verdict, **{**parts, **more})


def of_two_molecules(name: str, count: int = 1) -> SearchResult:
    """HO + F, each a doublet, in a singlet complex."""
    hydroxyl = Atoms("HO", [[0.97, 0, 0], [0, 0, 0]])
    parts = (
        (hydroxyl, springs(hydroxyl, {(0, 1): 50.0}), 0.2, (0, 1)),
        (Atoms("F"), np.zeros((3, 3)), 0.1, (2,)),
    )
    molecules = SeparatedMolecules(
        tuple(
            SeparatedMolecule(
                minimum(StationaryPoint(atoms, hessian, energy)),
                charge=0,
                multiplicity=2,
                name=f"{atoms.symbols} (doublet)",
                count=count,
                indices=indices,
            )
            for atoms, hessian, energy, indices in parts
        )
    )
    return of_springs(name, reactant=minimum(COMPLEX), separated={"reactant": molecules})


def run(folder: Path, *results: SearchResult) -> Path:
    folder.mkdir()
    store = Store(folder, "run-1")
    for result in results:
        store.add(result, "a fingerprint", LEVEL)
    (folder / "run.json").write_text(json.dumps({"level_of_theory": LEVEL}))
    return folder


def call(*arguments: object) -> int:
    return thermo.main([str(argument) for argument in arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    try:
        assert call(*arguments) == 2
    except SystemExit as end:  # what argparse refuses
        assert end.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in error
    return " ".join(error.split())


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as f:
        return list(csv.DictReader(f))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """HCN to HNC with GFN2-xTB."""
    reactant, product = read(STRUCTURES / "hcn.xyz", ":")
    result = search(Reaction("hcn", reactant, product), gfn2_xtb(), QUICK)
    folder = run(tmp_path_factory.mktemp("real") / "out", result)
    write_table(folder / "results.csv", [to_row(result)])
    return folder


def test_a_real_run_at_its_own_temperature(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The free energies are those of results.csv, and k is theirs by Eyring."""
    files = tmp_path / "new" / "rates.csv", tmp_path / "rates.json"
    assert call(real, "--csv", files[0], "--json", files[1]) == 0
    [row], [stored] = table(files[0]), table(real / "results.csv")
    for name in ("gibbs_barrier", "reverse_gibbs_barrier", "reaction_gibbs"):
        column = f"{name}_kcal_per_mol"
        assert float(row[column]) == pytest.approx(float(stored[column]), abs=1e-3)
    barrier = float(row["gibbs_barrier_kcal_per_mol"]) * 1000 * constants.calorie
    rate = constants.k * 298.15 / constants.h * math.exp(-barrier / (constants.R * 298.15))
    found = {name: float(row[f"rate_constant{name}_per_s"]) for name in ("", "_wigner", "_eckart")}
    assert found[""] == pytest.approx(rate, rel=1e-3)  # other constants
    assert found["_wigner"] == pytest.approx(found[""] * float(row["wigner_factor"]))
    assert found["_eckart"] == pytest.approx(found[""] * float(row["eckart_factor"]))
    assert found["_eckart"] > found["_wigner"] > found[""]
    assert (
        row["rate_constant_l_per_mol_s"] == row["kie"] == row["reactant_molecules_gibbs_ev"] == ""
    )
    reverse = float(row["reverse_rate_constant_per_s"])
    assert found[""] / reverse == pytest.approx(float(row["equilibrium_constant_mol_per_l"]))
    [whole] = json.loads(files[1].read_text())
    assert whole["temperatures"][0]["gibbs_barrier_kcal_per_mol"] == pytest.approx(
        float(row["gibbs_barrier_kcal_per_mol"])
    )
    assert "point group" in whole["thermochemistry_assumptions"]["transition_state"][0]
    out = capsys.readouterr().out
    assert "1 of 1 finished reactions have rate constants" in out
    assert f"{found['']:.2e}" in out
    assert "298.15" in out


def test_many_temperatures_and_a_fit(
    real: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rates.json"
    assert call(real, "--temperature", "250:500:25", "--json", file) == 0
    [whole] = json.loads(file.read_text())
    warm = [one["temperature_k"] for one in whole["temperatures"]]
    assert warm == [250.0 + 25 * step for step in range(11)]
    rates = [math.log(one["rate_constant_eckart_per_s"]) for one in whole["temperatures"]]
    slope, intercept = np.polyfit(1 / np.array(warm), rates, 1)
    fit = whole["fits"]["arrhenius_eckart"]
    energy = -slope * constants.R / 1000 / constants.calorie
    assert fit["activation_energy_kcal_per_mol"] == pytest.approx(energy, rel=1e-4)
    assert math.log(fit["prefactor_per_s"]) == pytest.approx(intercept, rel=1e-6)
    assert whole["fits"]["modified_arrhenius"]["largest_deviation_of_ln_k"] < 0.01
    out = capsys.readouterr().out
    assert "250 to 500 K" in out
    assert len([line for line in out.splitlines() if line.split()[:1] == ["375"]]) == 4


def test_conditions_change_free_energies_and_no_rate_constant(real: Path, tmp_path: Path) -> None:
    rows = []
    for name, more in {"a": [], "b": ["--pressure=2"], "c": ["--treatment=rrho"]}.items():
        assert call(real, "--temperature=400", "--csv", tmp_path / name, *more) == 0
        rows += table(tmp_path / name)
    usual, pressed, harmonic = rows
    assert float(pressed["pressure_pa"]) == 2 * float(usual["pressure_pa"]) == 202650
    lower = float(usual["reactant_entropy_ev_per_k"]) - float(pressed["reactant_entropy_ev_per_k"])
    assert lower == pytest.approx(8.617e-5 * math.log(2), rel=1e-3)
    assert pressed["treatment"] == "grimme"
    assert float(pressed["rate_constant_per_s"]) == pytest.approx(
        float(usual["rate_constant_per_s"]), rel=1e-9
    )
    assert harmonic["treatment"] == "rrho"


def test_two_molecules_count_from_each_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "run", of_two_molecules("meet"))
    files = tmp_path / "rates.csv", tmp_path / "rates.json"
    assert call(folder, "--csv", files[0], "--json", files[1]) == 0
    [row] = table(files[0])
    number = {name: float(text) for name, text in row.items() if "gibbs" in name and text}
    from_molecules = number["transition_state_gibbs_ev"] - number["reactant_molecules_gibbs_ev"]
    assert number["gibbs_barrier_kcal_per_mol"] == pytest.approx(to_kcal_per_mol(from_molecules))
    assert number["reactant_gibbs_ev"] != number["reactant_molecules_gibbs_ev"]
    assert row["rate_constant_per_s"] == row["product_molecules_gibbs_ev"] == ""
    rate = float(row["rate_constant_l_per_mol_s"])
    in_cm3 = float(row["rate_constant_cm3_per_molecule_s"])
    assert in_cm3 == pytest.approx(rate * 1000 / constants.N_A, rel=1e-6)
    equilibrium = float(row["equilibrium_constant_mol_per_l"])
    assert rate / float(row["reverse_rate_constant_per_s"]) == pytest.approx(equilibrium)
    [whole] = json.loads(files[1].read_text())
    parts = whole["temperatures"][0]
    total = parts["reactant_molecule1_gibbs_ev"] + parts["reactant_molecule2_gibbs_ev"]
    assert total == pytest.approx(number["reactant_molecules_gibbs_ev"])
    assert "multiplicity 2" in whole["thermochemistry_assumptions"]["reactants"][0]
    out = capsys.readouterr().out
    assert "k in L mol⁻¹ s⁻¹, K in (mol/L)^-1" in out
    assert "k in cm³ molecule⁻¹ s⁻¹" in out
    assert "the reactants are separate molecules, HO (doublet) + F (doublet)" in out


def test_what_has_no_rate_constant_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = Verdict(Label.INTENDED, lost=("product",))
    unconverged = dataclasses.replace(saddle(SADDLE), converged=False)
    folder = run(
        tmp_path / "run",
        of_springs("a"),
        of_springs("b", verdict=Verdict(Label.UNINTENDED, "bonds C1-H2")),
        of_springs("c", verdict=Verdict(Label.BARRIERLESS)),
        of_springs("d", verdict=changed),
        of_springs("e", saddle=unconverged),
        searched("f"),
        dataclasses.replace(of_two_molecules("g"), separated={}),
        of_two_molecules("h", count=2),
        of_springs("i", saddle=saddle(PRODUCT)),
        of_springs("j"),
    )
    (folder / "j" / "structures.json").write_text("{")
    file = tmp_path / "rates.csv"
    assert call(folder, "--csv", file) == 0
    reasons = {row["reaction"]: row["no_number_because"] for row in table(file)}
    expected = {
        "a": "",
        "b": "unintended: bonds C1-H2",
        "c": "barrierless: without a saddle",
        "d": "relaxation has changed",
        "e": "the saddle has not converged",
        "f": "no Hessian of the reactant and the product is stored",
        "g": "the reactant consists of several molecules, and these are not stored",
        "h": "4 molecules",
        "i": "order 1 needs 1 imaginary modes",
        "j": "the structure of the reactant is not stored",
    }
    assert reasons.keys() == expected.keys()
    for name, words in expected.items():
        assert words in reasons[name], name
    assert "rate_constant_per_s" in table(file)[1]
    assert table(file)[1]["rate_constant_per_s"] == ""
    out, error = capsys.readouterr()
    assert "1 of 10 finished reactions have rate constants" in out
    assert "structures.json is damaged" in error
    assert call(folder, "--reaction", "b") == 1


def test_an_older_run_is_told_what_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run(tmp_path / "run", searched("hcn"))) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "no Hessian of the reactant and the product is stored" in said
    assert "search again with another --out" in said


def test_steps_say_what_the_number_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = in_steps(searched("chain"))
    whole = of_springs("chain", verdict=Verdict(Label.IN_STEPS))
    low = dataclasses.replace(minimum(REACTANT), energy=-1.0)
    steps = (
        dataclasses.replace(chain.steps[0], first=minimum(REACTANT), last=low),
        dataclasses.replace(chain.steps[1], first=low, last=minimum(PRODUCT)),
    )
    file = tmp_path / "rates.csv"
    folder = run(tmp_path / "run", dataclasses.replace(whole, steps=steps))
    assert call(folder, "--csv", file) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "in steps: the rate constant is that of crossing the highest saddle" in said
    assert "an upper bound" in said
    assert "an intermediate lies below the reactant" in said
    assert "no Eckart correction: an intermediate lies between" in said
    [row] = table(file)
    assert row["rate_constant_wigner_per_s"] != ""
    assert row["rate_constant_eckart_per_s"] == ""


def test_isotopes_of_all_points_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(tmp_path / "run", of_springs("one"), of_two_molecules("two"))
    file = tmp_path / "rates.csv"
    assert call(folder, "--isotope", "1:D", "--csv", file) == 0
    for row in table(file):
        assert row["isotopes"] == "1:D"
        assert float(row["kie_eckart"]) > float(row["kie_wigner"]) > float(row["kie"]) > 1.5
        lower = float(row["heavy_imaginary_frequency_cm1"]) / float(row["imaginary_frequency_cm1"])
        assert 0.7 < lower < 0.95
    out = capsys.readouterr().out
    assert "kinetic isotope effects of 1:D" in out
    # Protium for protium is no change.
    assert call(folder, "--isotope", "1:1H", "--csv", file) == 0
    for row in table(file):
        assert (row["kie"], row["kie_wigner"], row["kie_eckart"]) == ("1.0", "1.0", "1.0")


def test_light_is_an_isotope_and_no_mean() -> None:
    """Chlorine's 35.45 is a mean: 35 against 37 is the effect. What a run has is kept."""
    atoms = Atoms("ClH", [[0, 0, 0], [1.3, 0, 0]])
    point = StationaryPoint(atoms, springs(atoms, {(0, 1): 30.0}), 0.0, count=2)
    light, heavy = isotopologues(point, (4, 7), read_isotopes(["5:37Cl"]))
    assert [one.count for one in light] == [one.count for one in heavy] == [1, 1]
    np.testing.assert_array_equal(light[0].atoms.get_masses(), atoms.get_masses())
    assert light[1].atoms.get_masses()[0] == pytest.approx(exact_mass(17, 35))
    assert heavy[1].atoms.get_masses()[0] == pytest.approx(exact_mass(17, 37))
    assert isotopologues(point, (0, 1), read_isotopes(["5:37Cl"])) == ([point], [point])
    tritiated = dataclasses.replace(point, count=1).with_masses([35.45, 3.01605])
    light, heavy = isotopologues(tritiated, (0, 1), read_isotopes(["2:D"]))
    assert light[0].atoms.get_masses()[1] == 3.01605
    assert heavy[0].atoms.get_masses()[1] == pytest.approx(exact_mass(1, 2))


def test_isotopes_in_a_second_equal_molecule_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = of_two_molecules("two")
    alone = result.separated["reactant"].molecules[1:]
    folder = run(
        tmp_path / "run",
        dataclasses.replace(result, separated={"reactant": SeparatedMolecules(alone)}),
    )
    assert call(folder, "--isotope", "1:D") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "atom 1 is in the second of several equal molecules of the reactant" in said


def test_shards_say_the_same_as_folders(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from reactbench_runner.storage import shards

    results = [of_springs("a"), of_two_molecules("b"), searched("c"), of_two_molecules("d")]
    folder = run(tmp_path / "folders", *results)
    out = tmp_path / "shards"
    out.mkdir()
    (out / "run.json").write_text((folder / "run.json").read_text())
    with contextlib.closing(shards.Shards(out)) as store:
        for number, result in enumerate(results):
            row = dataclasses.replace(to_row(result), level_of_theory=LEVEL)
            store.add(row, entries(result, LEVEL, ""))
            if number == 1:
                store.seal()
    tables = []
    for place in (folder, out):
        assert call(place, "--isotope=1:D", "--csv", tmp_path / "rates.csv") == 0
        tables.append(table(tmp_path / "rates.csv"))
    assert tables[0] == tables[1]
    assert len(tables[0]) == 4


def test_only_the_reactions_that_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "run", *(of_springs(name, warnings=(f"of {name}",)) for name in "abc"))
    file = tmp_path / "rates.csv"
    assert call(folder, "--reaction", "c", "--reaction", "a", "--csv", file) == 0
    assert [row["reaction"] for row in table(file)] == ["a", "c"]
    out = capsys.readouterr().out
    assert "note: the search warned: of a" in out
    assert "of b" not in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--temperature", "250:500"], "'250:500' is no range of temperatures"),
        (["--temperature", "warm"], "give K above zero, as 300 or 250:500:25"),
        (["--temperature", "0"], "is no range of temperatures"),
        (["--temperature", "nan"], "is no range of temperatures"),
        (["--temperature", "300:200:10"], "ends below its beginning"),
        (["--temperature", "1:100000:1"], "are 100,000 temperatures"),
        (["--pressure", "-1"], "'-1' is not a number above zero"),
        (["--concentration", "much"], "'much' is not a number above zero"),
        (["--treatment", "magic"], "invalid choice: 'magic'"),
        (["--isotope", "D"], "'D' is not ATOM:ISOTOPE"),
        (["--isotope", "0:D"], "atoms counted from 1"),
        (["--isotope", "3:D", "--isotope", "3:T"], "atom 3 has two isotopes"),
        (["--isotope", "3:Q"], "'Q' names no isotope; give D, T, or"),
        (["--isotope", "3:H"], "'H' names no isotope"),
        (["--isotope", "3:99H"], "there is no isotope 99 of H"),
        (["--isotope", "3:2Zz"], "there is no element in '2Zz'"),
        (["--isotope", "9:D"], "reaction 'vinyl' has 3 atoms, and no atom 9 for --isotope 9:D"),
        (["--isotope", "2:D"], "atom 2 of reaction 'vinyl' is O, and --isotope 2:D needs H"),
        (["--reaction", "vinil"], "has no finished reaction 'vinil'; did you mean 'vinyl'?"),
    ],
)
def test_wrong_input_is_told_in_words(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run(tmp_path / "run", of_springs("vinyl"))
    file = tmp_path / "rates.csv"
    assert expected in refused(capsys, folder, *words, "--csv", file)
    assert not file.exists()


def test_no_run_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist; give the folder of a run" in refused(capsys, tmp_path / "none")
    assert "holds no run of horm-tssearch" in refused(capsys, tmp_path)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"temperatures": [-5]}, "the temperature is -5"),
        ({"pressure": 0}, "the pressure is 0"),
        ({"concentration": math.inf}, "the concentration is inf"),
        ({"treatment": "magic"}, "the treatment 'magic' is not one of"),
    ],
)
def test_conditions_from_python(conditions: dict[str, Any], expected: str, tmp_path: Path) -> None:
    folder = run(tmp_path / "run", of_springs("a"))
    with pytest.raises(ValueError, match=expected):
        stored_kinetics(folder, **conditions)


def test_a_cold_rate_constant_is_written_as_far_as_floats_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At 10 K, k is about 1e-450: the terminal has its digits, files leave it empty."""
    folder = run(tmp_path / "run", of_springs("a"))
    file = tmp_path / "rates.csv"
    assert call(folder, "--temperature", "10", "--csv", file) == 0
    [row] = table(file)
    assert row["rate_constant_per_s"] == ""
    assert float(row["gibbs_barrier_kcal_per_mol"]) > 10
    [found] = stored_kinetics(folder, [10])
    assert scientific(found.at[0].log_rate) in capsys.readouterr().out
    assert scientific(math.log(9.9999)) == "1.00e+01"
    assert scientific(-450 * math.log(10)) == "1.00e-450"
    assert scientific(None) == "–"
