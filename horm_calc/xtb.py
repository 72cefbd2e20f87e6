"""GFN-xTB by tblite, with what helps where its SCF does not converge.

Radicals and ions far from each other have several electronic states close in energy, between which
an SCF goes to and fro. It starts from the density of the last geometry, as tblite does; where
that fails anew; and where that fails too in slow and safe ways, of whose results the lowest in
energy counts: damped strongly, and damped while the electronic temperature falls from 5000 K to
its own. The energy is always that of the method at its own temperature and accuracy, and what
converges in the usual way is left as it is.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed, all_changes
from ase.units import Hartree, kB
from scipy.spatial import KDTree
from tblite.ase import TBLite
from tblite.interface import Result

from horm_calc.capabilities import Capabilities, calculator_factory, stated_capabilities
from horm_calc.chemistry.solvents import solvent_name
from horm_calc.errors import HormError

#: With the mixing of a few vectors only. tblite keeps as many as there are cycles unless told
#: otherwise; for a thousand cycles that takes minutes, and converges less often.
DAMPED = {"mixer_damping": 0.1, "max_iterations": 1000}

#: Electronic temperatures on the way down, K. Of 117 pairs of radicals and ions that had failed,
#: cooling brought all to convergence, 113 to the lowest state that any way found; damping alone 105
#: and 91, one to a state 0.14 eV above.
COOLING = (5000.0, 3000.0, 2000.0, 1500.0, 1000.0, 700.0, 500.0, 400.0)

#: Temperatures on the way, and vectors for the mixing: fewer found a lower state of O and F.
WAYS = (((), 20), (COOLING, 20), (COOLING, 5))

#: What the names of results begin with in the state of a calculator.
_RESULT = "result "


class UnknownSolvent(HormError, ValueError):
    """A solvent for which a method has no parameters."""


class XTB(TBLite):
    """tblite's ASE calculator, whose SCF is given more than one chance.

    Raises `CalculationFailed`, with the way to mend it, where none of them helps.
    """

    #: What the factory that has made it says of it.
    capabilities = Capabilities()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Energy, forces and what else tblite has, into `results`."""
        try:
            super().calculate(atoms, properties, system_changes)
            return
        except CalculationFailed:
            self._forget()
        try:
            super().calculate(atoms, properties, system_changes)
            return
        except CalculationFailed as error:
            failed = error
        results = [one for way in WAYS if (one := self._damped(*way)) is not None]
        if not results:
            raise CalculationFailed(f"{failed}{_remedy(self.atoms)}") from failed
        self.results, self._res = min(results, key=lambda one: one[0]["energy"])

    def bond_orders(self, atoms: Atoms) -> np.ndarray:
        """Wiberg bond orders, (n, n). Raises `CalculationFailed`."""
        self.get_potential_energy(atoms)
        orders = np.asarray(self.results["bond-orders"])
        return orders.reshape(len(atoms), len(atoms), -1).sum(axis=2)

    def concerns(self, atoms: Atoms) -> list[str]:
        """That an open shell is one: reactions of radicals are far too easy."""
        if self.parameters.get("multiplicity", 1) == 1:
            return []
        return [
            f"{self.parameters['method']} is unreliable for open shells: barriers of radicals can "
            "be far too low (1.3 kcal/mol for CH3 + CH4, a tenth of what accurate methods give)"
        ]

    def get_state(self) -> dict[str, np.ndarray]:
        """The last geometry and its density, from which the next SCF starts; empty before."""
        if self._res is None or self.atoms is None:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "density.npz")
            self._res.save(str(file))
            density = np.frombuffer(file.read_bytes(), np.uint8)
        atoms: Atoms = self.atoms
        return {
            "numbers": atoms.numbers,
            "positions": atoms.positions,
            "charges": atoms.get_initial_charges(),
            "moments": atoms.get_initial_magnetic_moments(),
            "density": density,
            **{f"{_RESULT}{name}": np.array(value) for name, value in self.results.items()},
        }

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on as the calculator that has said so with `get_state`, to the last digit."""
        self._forget()
        self.atoms = Atoms(
            state["numbers"],
            state["positions"],
            charges=state["charges"],
            magmoms=state["moments"],
        )
        self.results = {
            name.removeprefix(_RESULT): value if value.ndim else value[()]
            for name, value in state.items()
            if name.startswith(_RESULT)
        }
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "density.npz")
            file.write_bytes(state["density"].tobytes())
            self._res = Result()
            self._res.load(str(file))

    def _damped(self, cooling: tuple[float, ...], memory: int) -> tuple[dict[str, Any], Any] | None:
        """Results and density of an SCF from the beginning, cooled down; None where it fails."""
        usual = dict(self.parameters)
        self._forget()
        self.parameters.update(DAMPED, mixer_memory=memory)
        changes = all_changes
        try:
            for kelvin in (*cooling, usual["electronic_temperature"]):
                self.parameters["electronic_temperature"] = kelvin
                if self._xtb is not None:
                    self._xtb.set("temperature", kelvin * kB / Hartree)
                super().calculate(self.atoms, None, changes)
                changes = []  # to go on from the density of the higher temperature
            return dict(self.results), self._res
        except CalculationFailed:
            return None
        finally:
            self.parameters.update(usual)
            self._forget()
            self.results = {}

    def _forget(self) -> None:
        self._res = self._xtb = None


def _remedy(atoms: Atoms) -> str:
    """What was tried, what the structure is, and what a person can do."""
    words = f", nor damped, nor while cooled down from {COOLING[0]:.0f} K"
    if len(atoms) > 1:
        distances, neighbours = KDTree(atoms.positions).query(atoms.positions, k=2)
        first = int(distances[:, 1].argmin())
        second = next(int(other) for other in neighbours[first] if other != first)
        pair = "-".join(f"{atoms.symbols[i]}{i + 1}" for i in sorted((first, second)))
        words += f" (closest atoms: {pair}, {distances[first, 1]:.2f} Å)"
    return f"{words}; are charge and multiplicity right? If they are, start from another geometry"


#: Both methods are parametrised for hydrogen to radon.
_ELEMENTS = range(1, 87)

#: Those for which ALPB has parameters with both methods, by tblite's names; `woctanol` is octanol
#: saturated with water.
SOLVENTS = (
    *("acetone", "acetonitrile", "aniline", "benzaldehyde", "benzene", "ch2cl2", "chcl3", "cs2"),
    *("dioxane", "dmf", "dmso", "ethanol", "ether", "ethylacetate", "furan", "hexadecane"),
    *("hexane", "methanol", "nitromethane", "octanol", "phenol", "thf", "toluene", "water"),
    "woctanol",
)

#: Of the solvation energy: from a gas to a solution of the same concentration, so that the energy
#: at 1 mol/L is the one in solution, and the usual corrections for concentrations hold.
SOLUTION_STATE = "gsolv"


def _made(
    method: str, charge: int, multiplicity: int, solvent: str, capabilities: Capabilities
) -> XTB:
    solvent = solvent_name(solvent)
    if problem := capabilities.refusal_of_solvent(solvent):
        raise UnknownSolvent(f"{capabilities.level_of_theory} has no parameters for {problem}")
    made = XTB(
        method=method,
        charge=charge,
        multiplicity=multiplicity,
        solvation=("alpb", solvent, SOLUTION_STATE) if solvent else None,
        verbosity=0,
    )
    made.capabilities = capabilities.in_solvent(solvent)
    return made


@calculator_factory(
    level_of_theory="GFN2-xTB (tblite)", elements=_ELEMENTS, solvents=SOLVENTS, solvation="ALPB"
)
def gfn2_xtb(charge: int = 0, multiplicity: int = 1, solvent: str = "") -> XTB:
    """GFN2-xTB, as an ASE calculator with tblite.

    Parameters
    ----------
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1).
    solvent
        Name of a solvent, described by ALPB: one of `SOLVENTS`; "" for the gas phase.

    Returns
    -------
    XTB
        Raises ASE's `CalculationFailed` where its SCF does not converge.

    Raises
    ------
    UnknownSolvent
        For a solvent without parameters.

    References
    ----------
    Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 2019, 15, 1652. ALPB: Ehlert, Stahn,
    Spicher and Grimme, J. Chem. Theory Comput. 2021, 17, 4250.
    """
    return _made("GFN2-xTB", charge, multiplicity, solvent, stated_capabilities(gfn2_xtb))


@calculator_factory(
    level_of_theory="GFN1-xTB (tblite)", elements=_ELEMENTS, solvents=SOLVENTS, solvation="ALPB"
)
def gfn1_xtb(charge: int = 0, multiplicity: int = 1, solvent: str = "") -> XTB:
    """GFN1-xTB, as an ASE calculator with tblite.

    Parameters
    ----------
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1).
    solvent
        As of `gfn2_xtb`.

    Returns
    -------
    XTB
        Raises ASE's `CalculationFailed` where its SCF does not converge.

    Raises
    ------
    UnknownSolvent
        For a solvent without parameters.

    References
    ----------
    Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 2017, 13, 1989. ALPB: as of `gfn2_xtb`.
    """
    return _made("GFN1-xTB", charge, multiplicity, solvent, stated_capabilities(gfn1_xtb))
