"""That the measurements run and say what they promise; how fast is for people to judge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms

from benchmarks import (
    agreement,
    barriers,
    dft,
    dynamics,
    hessian,
    overfit,
    precision,
    protocols,
    refined,
    scale,
    smoothness,
    training,
)
from benchmarks.networks import alkane, rattled, saddle, sizes
from horm_calc.data.files import open_frames
from horm_calc.data.formats.hdf5 import write_hdf5
from horm_calc.data.frames import iterate
from horm_calc.xtb import gfn1_xtb, gfn2_xtb
from reactbench_runner import load_run
from tests.horm_calc.data.labelled import frames
from tests.places import REPOSITORY
from tests.reactbench_runner.calling import call


def test_hessian_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new" / "hessian.json"
    smallest = ["--atoms", "8", "--molecules", "2", "--seconds", "0", "--threads", "1"]
    hessian.main(["--networks", "AlphaNet", *smallest, "--json", str(file)])
    assert "AlphaNet" in capsys.readouterr().out
    content = json.loads(file.read_text("utf-8"))
    assert content["environment"]["threads"] == 1
    assert len(content["published"]["figures"]) == 12
    [network] = content["networks"]
    assert network["network"] == "AlphaNet"
    assert network["largest"] is None
    assert min(network["gemm_gflops"]) > 0
    [timing] = network["single"]
    assert timing.pop("peak_bytes") >= 0
    assert timing.pop("atoms") == 8
    assert set(timing) == {
        "energy_forces_s",
        "hessian_s",
        "rows_s",
        "rows_over_hessian",
        "hessian_over_energy_forces",
    }
    many = network["many"]
    assert (many.pop("molecules"), many.pop("atoms")) == (2, 8)
    assert len(many) == 4
    assert all(value > 0 for value in (*timing.values(), *many.values()))


def write_saddle(path: Path) -> None:
    """A transition state, and a reaction that has none."""
    with h5py.File(path, "w") as out:
        group = out.create_group("a")
        group["numbers"] = saddle(8).numbers
        group["transition_state"] = saddle(8).positions
        out.create_group("without_saddle")["numbers"] = [1, 1]


def test_precision_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "data.h5", tmp_path / "precision.json"
    write_saddle(data)
    precision.main(
        ["--networks", "AlphaNet", "--data", str(data), "--threads", "1", "--json", str(file)]
    )
    assert "AlphaNet" in capsys.readouterr().out
    [summary] = json.loads(file.read_text("utf-8"))["networks"]
    assert summary["molecules"] == 1
    [row] = summary["per_molecule"]
    assert (row["name"], row["atoms"]) == ("a", 8)
    assert 0 < summary["element"]["median"] <= summary["element"]["max"] == row["element_max"]
    assert summary["relative"]["max"] < 1e-2


def test_molecules() -> None:
    assert sizes() == [8, 14, 19]
    assert alkane(6).get_chemical_formula() == "C6H14"
    distances = alkane(3).get_all_distances()
    assert distances[distances > 0].min() == pytest.approx(1.09)
    first, second = rattled(saddle(8), 2)
    assert abs(first.positions - second.positions).max() > 1e-3


def test_training_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "frames.h5", tmp_path / "new" / "training.json"
    write_hdf5(data, frames(), "Morse")
    training.main(["--data", str(data), "--frames", "4", "--json", str(file)])
    assert "with projections" in capsys.readouterr().out
    content = json.loads(file.read_text("utf-8"))
    costs = content["steps"]["MomentNet"]
    assert set(costs) == {"none", "rows", "projections"}
    assert all(cost["seconds"] > 0 for cost in costs.values())
    # A second derivative keeps at least what the first keeps.
    assert costs["projections"]["bytes"] >= costs["none"]["bytes"]
    assert content["loading"]["alone"] > content["loading"]["with_network"] > 0


def test_overfit_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "frames.h5", tmp_path / "overfit.json"
    write_hdf5(data, frames(2, 2), "Morse")
    few = ["--frames", "4", "--steps", "6", "--networks", "MomentNet", "LEFTNet-df"]
    overfit.main(["--data", str(data), *few, "--json", str(file)])
    assert "LEFTNet-df" in capsys.readouterr().out
    moment, direct = json.loads(file.read_text("utf-8"))["networks"]
    assert [step for step, _ in moment["curve"]] == [0, 1, 2, 3, 4, 5, 6]
    assert direct["curve"][0][1] != direct["curve"][-1][1]


def test_errors_against_dft_by_element_and_size() -> None:
    """Of forces wrong by 0.1 eV/Å at every hydrogen, and of one wrong row of a Hessian of three."""
    expected = [
        frame for frame in frames() if frame.reaction == "H2O" and frame.hessian is not None
    ]
    found = [
        dataclasses.replace(frame, forces=frame.forces + 0.1 * (frame.numbers == 1)[:, None],
                            hessian=frame.hessian + 0.3 * (np.arange(9) == 0)[:, None])
        for frame in expected
    ]  # fmt: skip
    shown = dft.by_kind({"own": found}, expected)
    cells = dict(zip(shown.columns[0].cells, shown.columns[2].cells, strict=True))
    assert cells == {
        "H": "0.100  0.000", "O": "0.000  0.100", "up to 11 atoms": "0.067  0.033"
    }  # fmt: skip


def test_smoothness(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, file = tmp_path / "data.h5", tmp_path / "smoothness.json"
    write_saddle(data)
    smoothness.main(["--data", str(data), "--json", str(file)])
    assert "100.0% of 1 transition states" in capsys.readouterr().out
    assert 0 < json.loads(file.read_text("utf-8"))["worst"]["a"] < 0.05


def test_agreement_of_two_runs(tmp_path: Path) -> None:
    """A turned or mirrored saddle is the same one, a bent one is not; what one finds alone counts
    for the trusted calculator only."""
    names = ("bent", "lost", "mirrored", "never")
    intended = {"trusted": ("bent", "lost", "mirrored"), "fast": ("bent", "mirrored", "never")}
    chiral = np.array([[0, 0, 0], [1.1, 0, 0], [0, 1.3, 0], [0, 0, 1.7], [-1, -1, -1.0]])
    for run, ends_well in intended.items():
        for name in names:
            atoms = ase.Atoms("CHNOH", chiral)
            if run == "fast":
                atoms.rotate(70, (1, 2, 3))
                atoms.positions *= [1, 1, -1] if name == "mirrored" else [1, 1, 1]
                atoms.positions[3] += [1.5, 0, 0] if name == "bent" else [0, 0, 0]
            folder = tmp_path / run / name
            folder.mkdir(parents=True)
            ase.io.write(folder / "ts.xyz", atoms)
            ase.io.write(folder / "path.xyz", [ase.Atoms("CHNOH", chiral)] * 3)
            row = {
                **{"id": name, "fingerprint": f"of {name}", "seconds": 3.0},
                **{"verdict": "intended" if name in ends_well else "failed", "stage": "verdict"},
                **{"barrier_kcal_per_mol": 40.0 if run == "trusted" else 42.5 + (name == "bent")},
                **{
                    "warnings": "knows a lower-energy path"
                    if (run, name) == ("fast", "bent")
                    else ""
                },
            }
            (folder / "result.json").write_text(json.dumps(row))
        (tmp_path / run / "run.json").write_text(json.dumps({"level_of_theory": run}))
    trusted, fast = (tmp_path / run for run in intended)
    solvable, found = agreement.compare(trusted, fast)
    assert solvable == ["bent", "lost", "mirrored"]
    bent, mirrored = found
    assert (bent.trusted_barrier, bent.barrier) == (40, 43.5)
    assert bent.lower_path
    assert not mirrored.lower_path
    assert mirrored.rmsd == pytest.approx(0, abs=1e-7)  # an xyz file has eight decimals
    assert bent.rmsd > agreement.SAME
    text = agreement.markdown(trusted, fast, solvable, found)
    assert "trusted ends 3 *intended*, fast 2 of these" in text
    assert "Found, of those the trusted calculator finds: 67%" in text
    assert "| all | 2 | " in text
    assert (
        " | 3.00 | 3.00 |\n| no warning of a lower-energy path | 1 | 0.000 | 2.50 | 2.50 |\n"
        in text
    )
    assert "| within 0.4 Å: the same | 1 | 0.000 | 2.50 | 2.50 |" in text
    assert "| none | 0 | | | |" in agreement.summary("none", [])
    (fast / "never" / "result.json").unlink()
    with pytest.raises(SystemExit, match="not of the same reactions"):
        agreement.compare(trusted, fast)
    with pytest.raises(SystemExit, match="no finished searches"):
        agreement.compare(trusted, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["shards", "folders"])
def test_scale(storage: str, capsys: pytest.CaptureFixture[str]) -> None:
    if storage == "shards":
        pytest.importorskip("pyarrow")
    assert scale.main(["--searches", "12", "--storage", storage]) == 0
    said = capsys.readouterr().out
    assert "search: 12 in" in said
    assert "resume: 12 in" in said


@pytest.mark.slow
def test_scale_with_kills(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow")
    assert scale.main(["--searches", "1500", "--workers", "2", "--kills", "2"]) == 0
    assert "2 kills" in capsys.readouterr().out


def test_barriers_of_a_run_at_another_level(tmp_path: Path) -> None:
    """GFN1-xTB at the structures of GFN2-xTB: the same as by hand."""
    run, labels, file = tmp_path / "run", tmp_path / "labels.h5", tmp_path / "errors.json"
    hcn = REPOSITORY / "examples" / "xyz" / "hcn.xyz"
    assert call(hcn, "--out", run, "--calculator", "gfn2-xtb") == 0
    command = [str(run), "--labels", str(labels), "--level", "gfn1-xtb", "--json", str(file)]
    assert barriers.main(command) == 0
    content = json.loads(file.read_text("utf-8"))
    assert content["reactions"] == ["hcn"]
    [result] = load_run(run)
    assert result.reactant
    assert result.transition_state
    heights = []
    for build in (gfn2_xtb, gfn1_xtb):
        energies = []
        for point in (result.reactant, result.transition_state):
            atoms = Atoms(point.atoms.numbers, point.atoms.positions, calculator=build())
            energies.append(atoms.get_potential_energy())
        heights.append(23.0605 * (energies[1] - energies[0]))
    error = content["forward barrier"]
    assert error["mean"] == pytest.approx(heights[0] - heights[1], abs=0.01)
    assert error["mean_absolute"] == error["largest"] == abs(error["mean"])
    before = labels.stat().st_mtime_ns
    assert barriers.main(command) == 0  # nothing is computed again
    assert labels.stat().st_mtime_ns == before
    other = tmp_path / "other"
    assert call(hcn, "--out", other, "--calculator", "gfn1-xtb") == 0
    with pytest.raises(SystemExit):  # labels of other structures
        barriers.main([str(other), "--labels", str(labels)])


def test_saddles_refined_at_another_level(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GFN1-xTB in the place of DFT: the numbers are those of --verify."""
    hcn, file = REPOSITORY / "examples" / "xyz" / "hcn.xyz", tmp_path / "refined.json"
    flags = ("--calculator", "gfn2-xtb", "--verify", "gfn1-xtb")
    assert call(hcn, "--out", tmp_path / "run", *flags) == 0
    asked = []
    monkeypatch.setattr(refined, "WB97X", lambda grid: asked.append(grid) or gfn1_xtb())
    command = [str(tmp_path / "run"), "--json", str(file)]
    capsys.readouterr()
    refined.main(command)
    [levels] = [entry["levels"] for entry in json.loads(file.read_text("utf-8")).values()]
    [found] = levels.values()
    [row] = load_run(tmp_path / "run").rows.values()
    assert found["rmsd"] == pytest.approx(row.verify_ts_rmsd_a, abs=1e-4)
    assert found["barrier"] == pytest.approx(row.barrier_kcal_per_mol, abs=1e-4)
    assert found["barrier_of_dft"] == pytest.approx(row.verify_barrier_kcal_per_mol, abs=0.01)
    error = found["barrier"] - found["barrier_of_dft"]
    assert f"{error:.2f}" in capsys.readouterr().out
    refined.main(command)  # nothing is computed again
    assert len(asked) == 1
    with pytest.raises(SystemExit):
        refined.main([str(tmp_path / "run"), *command])


@pytest.mark.filterwarnings("ignore:invalid value")  # a diatomic does not turn about its axis
def test_dynamics_of_a_harmonic_molecule() -> None:
    """Its energy is conserved; where it flies apart, that is seen, and when."""
    molecule = Atoms("N2", [[0, 0, 0], [1.1, 0, 0]])

    def spring(stiffness: float) -> dynamics.Evaluate:
        def evaluate(molecules: list[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
            energies, forces = [], []
            for atoms in molecules:
                vector = atoms.positions[1] - atoms.positions[0]
                length = np.linalg.norm(vector)
                pull = stiffness * (length - 1.1) / length * vector
                energies.append(stiffness / 2 * (length - 1.1) ** 2)
                forces.append(np.array([pull, -pull]))
            return np.array(energies), forces

        return evaluate

    held = dynamics.moved([molecule], spring(100.0), 300, 400)
    assert (held["whole"], held["time_ps"]) == (1, 0.2)
    assert held["drift_mev"] < 0.5  # of 26 meV of kinetic energy
    lost = dynamics.moved([molecule], spring(-10.0), 300, 400)
    assert lost["whole"] == 0
    assert 0 < lost["time_ps"] < 0.2


def test_protocols_of_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, other, file = (tmp_path / name for name in ("train.h5", "test.h5", "protocols.json"))
    labelled = frames()
    last = labelled[-1].reaction
    write_hdf5(data, [one for one in labelled if one.reaction != last], "GFN2-xTB")
    write_hdf5(other, [one for one in labelled if one.reaction == last], "GFN2-xTB")
    options = ["--train", str(data), "--test", str(other), "--frames", "1", "--steps", "2"]
    out = ["--out", str(tmp_path / "out"), "--json", str(file)]
    protocols.main([*options, *out, "--only", "number-10", "once-100"])
    assert "mean errors on other reactions" in capsys.readouterr().out
    runs = json.loads(file.read_text("utf-8"))["runs"]
    assert set(runs) == {"number-10", "once-100"}
    plain = open_frames(tmp_path / "out" / "plain.h5")
    once = open_frames(tmp_path / "out" / "products-100.h5")
    assert not plain.has_second_derivatives.any()
    assert all(frame.hessian is None and len(frame.vectors) == 1 for frame in iterate(once))
