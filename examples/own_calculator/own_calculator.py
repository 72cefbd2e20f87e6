"""A calculator for `horm-tssearch`: a Morse potential, in the place of one that is worth having."""

from ase.calculators.morse import MorsePotential

from horm_calc import calculator_factory


@calculator_factory(level_of_theory="Morse potential", elements="H C N O", charges=[0])
def morse(charge, multiplicity):
    """An ASE calculator for molecules of this charge and multiplicity."""
    return MorsePotential(epsilon=4.5, r0=1.1, rho0=6.0)
