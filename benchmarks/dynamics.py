"""How networks hold in molecular dynamics, and how good their vibrations are.

    python -m benchmarks.dynamics runs/protocols/number-0/last.ckpt \\
        runs/protocols/number-10000/last.ckpt gfn2-xtb --json runs/dynamics.json

Dynamics: minima of reactions that no network was trained on move at constant energy (velocity
Verlet, 0.5 fs). Their velocities are those of twice 300, 600 and 1000 K at first, of which half
goes into the bonds. Counted are the molecules that stay whole, how long the others do, and the
drift of the total energy. A molecule is no longer whole where a bond is half as long again as the
longest of its kind, or where two atoms overlap. With the name gfn2-xtb the method that the networks
learned does the same, to compare with.

Vibrations: harmonic frequencies at minima of GFN2-xTB against those of GFN2-xTB, by their kind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from rich.console import Console
from rich.table import Table

from benchmarks.networks import environment
from horm_calc import HormCalculator
from horm_calc.chemistry.connectivity import bond_ratios, bonds
from horm_calc.chemistry.thermochemistry import normal_modes
from horm_calc.xtb import gfn2_xtb
from workflows.surface import Surface

DATA = Path(__file__).parents[2] / "shared" / "data" / "xtb_dev.h5"
TEMPERATURES = (300, 600, 1000)
#: The reference.
XTB = "gfn2-xtb"
#: fs.
STEP = 0.5
#: In units of the sum of the covalent radii: atoms nearer than the first are bonded, bonds longer
#: than the second are broken, and atoms nearer than the third overlap.
BOND, BROKEN, OVERLAPPING = 1.2, 1.8, 0.5
#: Ranges of harmonic frequencies at GFN2-xTB, cm⁻¹, by what vibrates there.
KINDS = {
    "torsions, soft bends": (0, 300),
    "bends": (300, 1500),
    "stretches": (1500, 2500),
    "X-H stretches": (2500, 5000),
}

#: Energies (molecules,), eV, and forces (n, 3), eV/Å, of molecules.
Evaluate = Callable[[Sequence[Atoms]], tuple[np.ndarray, list[np.ndarray]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Move, vibrate, print two tables."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    molecules = minima(options.data, options.molecules)
    steps = round(1000 * options.picoseconds / STEP)
    dynamics, vibrations = {}, {}
    for name in options.networks:
        calculator = None if name == XTB else HormCalculator(name)
        evaluate = _batches(calculator) if calculator else _one_by_one
        dynamics[name] = {
            kelvin: moved(molecules, evaluate, kelvin, steps) for kelvin in TEMPERATURES
        }
        if calculator:
            vibrations[name] = frequency_errors(molecules, calculator)
    Console().print(dynamics_table(dynamics, len(molecules)))
    Console().print(vibrations_table(vibrations))
    if options.json:
        about = environment("cpu", 1) | {"picoseconds": options.picoseconds}
        content = {"environment": about, "dynamics": dynamics, "vibrations": vibrations}
        options.json.write_text(json.dumps(content, indent=1))


def minima(data: Path, count: int) -> list[Atoms]:
    """Relaxed reactants of as many reactions, the same ones each time, in one piece each."""
    found = []
    with h5py.File(data) as file:
        names = np.random.default_rng(1).permutation(sorted(file))
        for name in names:
            if "reactant" in file[name]:
                found.append(Atoms(file[name]["numbers"][()], file[name]["reactant"][()]))
            if len(found) == count:
                break
    return found


def _batches(calculator: HormCalculator) -> Evaluate:
    def evaluate(molecules: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
        answers = calculator.evaluate(list(molecules), ("energy", "forces"))
        return np.array([one["energy"] for one in answers]), [one["forces"] for one in answers]

    return evaluate


def _one_by_one(molecules: Sequence[Atoms]) -> tuple[np.ndarray, list[np.ndarray]]:
    energies, forces = [], []
    for atoms in molecules:
        if atoms.calc is None:
            atoms.calc = gfn2_xtb()
        forces.append(atoms.get_forces())
        energies.append(atoms.get_potential_energy())
    return np.array(energies), forces


def moved(
    molecules: Sequence[Atoms], evaluate: Evaluate, kelvin: float, steps: int
) -> dict[str, float]:
    """What becomes of the molecules in so many steps.

    Returns how many are whole at the end ("whole"), the mean time until the end or until they
    break, ps ("time_ps"), and the median over the whole ones of the change of the total energy per
    atom and ps ("drift_mev").
    """
    running = [atoms.copy() for atoms in molecules]
    for number, atoms in enumerate(running):
        rng = np.random.default_rng([number, round(kelvin)])
        thermalize_momenta(atoms, 2 * kelvin, rng=rng)
        Stationary(atoms)
        ZeroRotation(atoms)
    pairs = [np.array(sorted(bonds(atoms, BOND))) for atoms in molecules]
    lasted = np.full(len(running), steps)
    totals: list[list[float]] = [[] for _ in running]
    alive = list(range(len(running)))
    energies, forces = evaluate(running)
    forces_of = dict(enumerate(forces))
    for number in alive:
        totals[number].append(energies[number] + running[number].get_kinetic_energy())
    for step in range(steps):
        for number in alive:
            _half_kick(running[number], forces_of[number])
            running[number].positions += STEP * units.fs * running[number].get_velocities()
        energies, forces = evaluate([running[number] for number in alive])
        for number, energy, force in zip(alive, energies, forces, strict=True):
            forces_of[number] = force
            _half_kick(running[number], force)
            totals[number].append(energy + running[number].get_kinetic_energy())
            if not whole(running[number], pairs[number]):
                lasted[number] = step
        alive = [number for number in alive if lasted[number] == steps]
        if not alive:
            break
    time = STEP / 1000 * np.arange(steps + 1)
    drifts = [
        abs(np.polyfit(time, totals[number], 1)[0]) / len(running[number]) for number in alive
    ]
    return {
        "whole": len(alive),
        "time_ps": float(STEP / 1000 * lasted.mean()),
        "drift_mev": float(1000 * np.median(drifts)) if drifts else float("nan"),
    }


def _half_kick(atoms: Atoms, forces: np.ndarray) -> None:
    atoms.set_momenta(atoms.get_momenta() + 0.5 * STEP * units.fs * forces)


def whole(atoms: Atoms, pairs: np.ndarray) -> bool:
    """Whether the bonds `pairs` hold, and no atoms overlap."""
    ratio = bond_ratios(atoms)
    return bool(ratio.min() > OVERLAPPING and all(ratio[i, j] < BROKEN for i, j in pairs))


def frequency_errors(molecules: Sequence[Atoms], calculator: HormCalculator) -> dict[str, float]:
    """Mean absolute errors of harmonic frequencies, cm⁻¹, by the `KINDS` of the modes."""
    pairs = np.concatenate([*_paired(molecules, calculator)], axis=1)
    reference, found = pairs
    errors = {}
    for kind, (low, high) in KINDS.items():
        inside = (reference >= low) & (reference < high)
        errors[kind] = float(np.abs(found - reference)[inside].mean())
    return errors | {"all": float(np.abs(found - reference).mean())}


def _paired(molecules: Sequence[Atoms], calculator: HormCalculator) -> Iterator[np.ndarray]:
    """Frequencies at GFN2-xTB and of the network, (2, modes), in ascending order."""
    for atoms in molecules:
        reference = Surface(gfn2_xtb()).get_hessian(atoms)
        hessians = (reference, calculator.get_hessian(atoms))
        yield np.array([normal_modes(atoms, hessian).frequencies for hessian in hessians])


def dynamics_table(figures: dict[str, dict[int, dict[str, float]]], molecules: int) -> Table:
    """A line for each network and temperature."""
    columns = ("network", "K", f"whole, of {molecules}", "time, ps", "drift, meV/atom/ps")
    shown = Table(*columns, title="constant energy")
    for name, of_network in figures.items():
        for kelvin, one in of_network.items():
            numbers = (f"{one['whole']:.0f}", f"{one['time_ps']:.2f}", f"{one['drift_mev']:.3f}")
            shown.add_row(name, str(kelvin), *numbers)
    return shown


def vibrations_table(figures: dict[str, dict[str, float]]) -> Table:
    """A line for each network."""
    shown = Table("network", *KINDS, "all", title="errors of harmonic frequencies, cm⁻¹")
    for name, errors in figures.items():
        shown.add_row(name, *(f"{errors[kind]:.1f}" for kind in (*KINDS, "all")))
    return shown


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.dynamics",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("networks", nargs="+", help="names or files of checkpoints")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--molecules", type=int, default=20)
    parser.add_argument("--picoseconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser


if __name__ == "__main__":
    main()
