"""The units of this project and the few conversions between them.

Inside, everything is in ASE's units: eV, Å, eV/Å, eV/Å². People get kcal/mol and cm⁻¹;
pysisyphus and geomeTRIC speak Hartree and Bohr. The constants are ASE's (CODATA 2014).
"""

from ase import units

BOHR: float = units.Bohr  # Å
HARTREE: float = units.Hartree  # eV
KCAL_PER_MOL: float = units.kcal / units.mol  # eV

HARTREE_PER_BOHR: float = HARTREE / BOHR  # eV/Å
HARTREE_PER_BOHR2: float = HARTREE / BOHR**2  # eV/Å²


def to_kcal_per_mol(energy: float) -> float:
    """Convert an energy difference from eV to kcal/mol."""
    return energy / KCAL_PER_MOL
