"""A network on labelled frames: its errors, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from horm_calc.chemistry.thermochemistry import NormalModes, normal_modes
from horm_calc.data.frames import DataError, Frame, Frames
from horm_calc.evaluation import metrics
from horm_calc.evaluation.table import COLUMNS, Evaluation
from horm_calc.potential import Potential, in_batches
from horm_calc.references import reference_energy
from horm_calc.units import HARTREE_PER_BOHR2, to_kcal_per_mol

#: Atoms of one batch, and of one on a CPU, where more gain little and progress would be rare.
MOST_ATOMS = 1024
MOST_ATOMS_ON_CPU = 96

#: Told of progress: what is being computed, frames done, frames in all.
Progress = Callable[[str, int, int], None]
Answer = tuple[np.ndarray, ...]
Row = dict[str, float]
Pairs = dict[str, list[np.ndarray]]


def evaluate(
    potential: Potential,
    frames: Frames,
    *,
    hessians: bool = True,
    limit: int | None = None,
    seed: int = 0,
    stationary: float = 0.05,
    progress: Progress = lambda *_: None,
) -> Evaluation:
    """Compares a network with labels: energies and forces of all frames, and second derivatives.

    hessians: whether to compare second derivatives; limit: of so many frames at most, drawn at
    random with `seed`, or None for all that have them. stationary: Gibbs energies are compared
    where the largest reference force (eV/Å) is below it. Raises `DataError` for no frames, for
    none with second derivatives if they are asked for, and for elements that the network does
    not know.
    """
    with_second = np.flatnonzero(frames.has_second_derivatives)
    require_labels(frames, hessians=hessians)
    rows: list[Row] = [{} for _ in range(len(frames))]
    groups = [""] * len(frames)
    pairs: Pairs = {"forces": [], "eigenvalues": [], "frequencies": []}
    not_finite: set[int] = set()
    on_cpu = potential.device.type == "cpu"
    most = MOST_ATOMS_ON_CPU if on_cpu else MOST_ATOMS

    def finite(
        stage: str, run: Callable[[Sequence[Frame]], list[Answer]], indices: np.ndarray
    ) -> Iterator[tuple[int, Frame, Answer]]:
        for batch in _batches(frames, indices, most, partial(progress, stage)):
            given = [frames[index] for index in batch]
            for index, frame, answer in zip(batch, given, run(given), strict=True):
                if all(np.isfinite(part).all() for part in answer):
                    yield index, frame, answer
                else:
                    not_finite.add(index)

    run = partial(_energies_and_forces, potential)
    for index, frame, (energy, forces) in finite("energies", run, np.arange(len(frames))):
        rows[index] = _first_errors(frame, float(energy), forces)
        groups[index] = _group(frame)
        pairs["forces"].append(_paired(frame.forces, forces))
    if hessians:
        run = partial(_second_derivatives, potential)
        chosen = np.setdiff1d(drawn(with_second, limit, seed), list(not_finite))
        for index, frame, (found,) in finite("Hessians", run, chosen):
            rows[index] |= _second_errors(frame, found, rows[index], stationary, pairs)
    return Evaluation(
        frames.reactions,
        _columns(frames, rows, groups),
        {name: np.concatenate([np.empty((0, 2)), *parts]) for name, parts in pairs.items()},
        with_second_derivatives=with_second.size,
        not_finite=sorted(not_finite),
    )


def drawn(indices: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """At most `limit` of the indices, at random, ascending; the same ones for the same seed."""
    if limit is None or limit >= len(indices):
        return indices
    return np.sort(np.random.default_rng(seed).choice(indices, limit, replace=False))


def require_labels(frames: Frames, *, hessians: bool) -> None:
    """Raises `DataError` for no frames, and for none with second derivatives if they are asked."""
    if not len(frames):
        raise DataError("data", "there are no frames")
    if hessians and not frames.has_second_derivatives.any():
        remedy = "Evaluate energies and forces alone with --no-hessians."
        raise DataError("data", "no frame has a Hessian, or products with one", remedy)


def _batches(
    frames: Frames, indices: np.ndarray, most: int, progress: Callable[[int, int], None]
) -> Iterator[list[int]]:
    """The indices of frames in batches of at most `most` atoms, one frame at least.

    In the order of their sizes, as molecules of one size go best through a network together.
    """
    batch: list[int] = []
    atoms = done = 0
    progress(0, len(indices))
    for index in indices[np.argsort(frames.sizes[indices], kind="stable")].tolist():
        if batch and atoms + frames.sizes[index] > most:
            yield batch
            done += len(batch)
            progress(done, len(indices))
            batch, atoms = [], 0
        batch.append(index)
        atoms += int(frames.sizes[index])
    if batch:
        yield batch
    progress(len(indices), len(indices))


def _energies_and_forces(potential: Potential, batch: Sequence[Frame]) -> list[Answer]:
    """Total energies (), eV, and forces (n, 3), eV/Å. Raises `DataError` for other elements."""
    references = potential.references
    for frame in batch:
        unknown = sorted({chemical_symbols[z] for z in frame.numbers if z not in references})
        if unknown:
            known = ", ".join(chemical_symbols[z] for z in references)
            who = f"{_atoms(frame).get_chemical_formula()} of reaction '{frame.reaction}'"
            problem = f"has {', '.join(unknown)}, but the network knows {known}"
            raise DataError(who, problem, "Evaluate on data without it.")
    zeros = [reference_energy(frame.numbers, references) for frame in batch]
    molecules = [_atoms(frame) for frame in batch]
    found = in_batches(molecules, MOST_ATOMS, potential.energies_and_forces)
    return [(np.array(e + zero), f) for (e, f), zero in zip(found, zeros, strict=True)]


def _second_derivatives(potential: Potential, batch: Sequence[Frame]) -> list[Answer]:
    """Hessians (3n, 3n), or the products (k, n, 3) where a frame has only these; eV/Å²."""
    whole = [_atoms(frame) for frame in batch if frame.hessian is not None]
    matrices = iter(in_batches(whole, MOST_ATOMS, potential.hessians))
    return [
        (next(matrices) if frame.hessian is not None else _products(potential, frame),)
        for frame in batch
    ]


def _products(potential: Potential, frame: Frame) -> np.ndarray:
    assert frame.vectors is not None  # as it is among those with second derivatives
    return potential.hessian_products(_atoms(frame), frame.vectors)


def _atoms(frame: Frame) -> Atoms:
    return Atoms(frame.numbers, frame.positions)


def _paired(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    return np.stack([reference.ravel(), predicted.ravel()], axis=1)


def _first_errors(frame: Frame, energy: float, forces: np.ndarray) -> Row:
    return {
        "largest_force_ev_per_a": metrics.largest_force(frame.forces),
        "energy_reference_ev": frame.energy,
        "energy_predicted_ev": energy,
        "energy_error_ev": energy - frame.energy,
        "forces_error_ev_per_a": metrics.mean_error(forces, frame.forces),
    }


def _second_errors(
    frame: Frame, found: np.ndarray, row: Row, stationary: float, pairs: Pairs
) -> Row:
    """What a Hessian, or products with it, add to the row of a frame, and to the pairs."""
    if frame.hessian is None:
        assert frame.products is not None and frame.vectors is not None
        error = metrics.product_error(found, frame.products, frame.vectors)
        return {"products_error_ev_per_a2": error}
    values, labels = metrics.eigenvalues(found), metrics.eigenvalues(frame.hessian)
    pairs["eigenvalues"].append(_paired(labels, values))
    error = metrics.mean_error(values, labels)
    atoms = _atoms(frame)
    modes, reference = normal_modes(atoms, found), normal_modes(atoms, frame.hessian)
    pairs["frequencies"].append(_paired(reference.frequencies, modes.frequencies))
    errors = {
        "hessian_error_ev_per_a2": metrics.mean_error(found, frame.hessian),
        "eigenvalues_error_ev_per_a2": error,
        "eigenvalues_error_hartree_per_bohr2": error / HARTREE_PER_BOHR2,
        "asymmetry_ev_per_a2": metrics.asymmetry(found),
        **_mode_errors(atoms, modes, reference),
    }
    if row["largest_force_ev_per_a"] < stationary:
        errors |= {"stationary": 1.0} | _gibbs_errors(atoms, modes, reference, row)
    return errors


def _mode_errors(atoms: Atoms, modes: NormalModes, reference: NormalModes) -> Row:
    predicted, expected = metrics.imaginary_modes(modes), metrics.imaginary_modes(reference)
    return {
        "frequencies_error_cm1": metrics.mean_error(modes.frequencies, reference.frequencies),
        "lowest_mode_overlap": metrics.lowest_overlap(atoms, modes, reference),
        "imaginary_reference": expected,
        "imaginary_predicted": predicted,
        "same_imaginary": float(predicted == expected),
    }


def _gibbs_errors(atoms: Atoms, modes: NormalModes, reference: NormalModes, row: Row) -> Row:
    """None where one is a minimum and the other a transition state: these do not compare."""
    if metrics.imaginary_modes(modes) != metrics.imaginary_modes(reference):
        return {}
    error = metrics.gibbs_energy(atoms, modes, row["energy_predicted_ev"])
    error -= metrics.gibbs_energy(atoms, reference, row["energy_reference_ev"])
    thermal = error - row["energy_error_ev"]
    return {
        "gibbs_error_kcal_per_mol": to_kcal_per_mol(error),
        "thermal_error_kcal_per_mol": to_kcal_per_mol(thermal),
    }


def _group(frame: Frame) -> str:
    """Within it energies have one zero; "" if unknown.

    A reaction, and its composition: files that name no reactions stand for one, of any molecules.
    """
    return frame.reaction and f"{frame.reaction} {np.sort(frame.numbers).tolist()}"


def _columns(frames: Frames, rows: Sequence[Row], groups: Sequence[str]) -> dict[str, np.ndarray]:
    """The rows as columns, and what only all rows together give."""
    columns = {name: np.array([row.get(name, np.nan) for row in rows]) for name in COLUMNS}
    columns["atoms"] = frames.sizes.astype(float)
    relative = {
        kind: metrics.without_offsets(columns[f"energy_{kind}_ev"], groups)
        for kind in ("reference", "predicted")
    }
    columns |= {f"relative_energy_{kind}_ev": values for kind, values in relative.items()}
    columns["relative_energy_error_ev"] = relative["predicted"] - relative["reference"]
    return columns
