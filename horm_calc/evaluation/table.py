"""What came out when a network was compared with labels: a table with a row for each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from horm_calc.evaluation import metrics


class Quantity(NamedTuple):
    """A column that is summarised: its name in `Evaluation.columns`, for people, and its unit."""

    column: str
    title: str
    unit: str


#: Errors: zero is best.
ERRORS = (
    Quantity("energy_error_ev", "energy, total", "eV"),
    Quantity("relative_energy_error_ev", "energy, relative in a reaction", "eV"),
    Quantity("forces_error_ev_per_a", "forces", "eV/Å"),
    Quantity("hessian_error_ev_per_a2", "Hessian elements", "eV/Å²"),
    Quantity("eigenvalues_error_ev_per_a2", "Hessian eigenvalues", "eV/Å²"),
    Quantity("eigenvalues_error_hartree_per_bohr2", "  as HORM's script counts", "Hartree/Bohr²"),
    Quantity("asymmetry_ev_per_a2", "asymmetry of its Hessian", "eV/Å²"),
    Quantity("products_error_ev_per_a2", "Hessian × unit vectors", "eV/Å²"),
    Quantity("frequencies_error_cm1", "frequencies", "cm⁻¹"),
    Quantity("gibbs_error_kcal_per_mol", "Gibbs energy G", "kcal/mol"),
    Quantity("thermal_error_kcal_per_mol", "  thermal part, G − E", "kcal/mol"),
)
#: Agreements: one is best.
OVERLAP = Quantity("lowest_mode_overlap", "overlap of lowest modes", "")
AGREEMENT = Quantity("same_imaginary", "same number of imaginary modes", "")
QUANTITIES = (*ERRORS, OVERLAP, AGREEMENT)

#: All columns that rows may have; where they do not, it is NaN.
COLUMNS = (
    *("atoms", "largest_force_ev_per_a"),
    *("energy_reference_ev", "energy_predicted_ev"),
    *("relative_energy_reference_ev", "relative_energy_predicted_ev"),
    *(quantity.column for quantity in QUANTITIES),
    *("imaginary_reference", "imaginary_predicted", "stationary"),
)

#: Bins [lower, upper) of the number of atoms, and of the reference's largest force.
BINS: dict[str, tuple[str, dict[str, tuple[float, float]]]] = {
    "atoms": (
        "atoms",
        {"1-5": (1, 6), "6-10": (6, 11), "11-15": (11, 16), "16-20": (16, 21), "21+": (21, np.inf)},
    ),
    "largest_force_ev_per_a": (
        "largest force, eV/Å",
        {"0-0.05": (0, 0.05), "0.05-0.5": (0.05, 0.5), "0.5-2": (0.5, 2), "2-5": (2, 5)}
        | {"5-10": (5, 10), "10+": (10, np.inf)},
    ),
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Errors of all frames.

    reactions: of each frame. columns: the names of `COLUMNS` → (frames,); units end the names,
    NaN is where a quantity does not apply to a frame or was not computed. pairs: of "forces"
    (eV/Å), "eigenvalues" (eV/Å²) and "frequencies" (cm⁻¹) the references and predictions (m, 2)
    of all frames one after another. with_second_derivatives: how many frames have them. not_finite:
    the frames for which the network's answer was not a number; they count nowhere.
    """

    reactions: list[str]
    columns: dict[str, np.ndarray]
    pairs: dict[str, np.ndarray]
    with_second_derivatives: int
    not_finite: list[int]

    def count(self, *columns: str) -> int:
        """Of how many frames one of the columns is known."""
        known = [np.isfinite(self.columns[column]) for column in columns]
        return int(np.any(known, axis=0).sum())

    def summary(self, quantity: Quantity, chosen: np.ndarray | None = None) -> metrics.Summary:
        """Mean and median of a quantity over all frames, or those of a mask (frames,)."""
        values = self.columns[quantity.column]
        return metrics.summary(values if chosen is None else values[chosen])

    def bins(self, column: str) -> dict[str, np.ndarray]:
        """The bins of a column of `BINS` that hold frames: name → mask (frames,)."""
        values = self.columns[column]
        masks = {name: metrics.within(values, limits) for name, limits in BINS[column][1].items()}
        return {name: mask for name, mask in masks.items() if mask.any()}

    def confusion(self) -> np.ndarray:
        """Numbers of imaginary modes, reference against network; see `metrics.confusion`."""
        names = ("imaginary_reference", "imaginary_predicted")
        return metrics.confusion(*(self.columns[name] for name in names))
