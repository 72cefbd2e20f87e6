"""Reactions and transition states that others have collected, as pysisyphus ships them.

The structures are read from the installed package, `pysisyphus/geom_library`:

- `zimmerman`: reactant, transition state and product of Zimmerman, J. Chem. Theory Comput. 2013, 9,
  3043; `zimmerman_xtb` has 65 of them with all three optimised again with GFN2-xTB.
- `birkholz_rx`: the same of Birkholz and Schlegel, J. Comput. Chem. 2015, 36, 1157; `xtb_rx` has 18
  of them optimised again with GFN2-xTB, and two reactions of metal complexes from MOBH35 (Iron and
  Janes, J. Phys. Chem. A 2019, 123, 3761).
- `baker_ts`: guesses of transition states, of Baker and Chan, J. Comput. Chem. 1996, 17, 888.

Charges and multiplicities are those of pysisyphus' benchmarks, but for three reactions of C20H33,
where pysisyphus has a neutral singlet. With 153 electrons there is none; they are cations.
"""

from __future__ import annotations

import fnmatch
import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import ase.io
from ase import Atoms

#: Charge and multiplicity.
Electrons = tuple[int, int]


@dataclass(frozen=True)
class Source:
    """Where the structures of a set are, and what pysisyphus and the papers say of them.

    Attributes
    ----------
    pattern
        Of the files that belong to it.
    aim
        The part of them that the search should find.
    without
        Files that pysisyphus ships beside them and its benchmark does not use.
    electrons
        Charge and multiplicity of what is no neutral singlet.
    """

    pattern: str
    aim: float
    without: str = ""
    electrons: Mapping[str, Electrons] = field(default_factory=dict)


SETS = {
    "xtb_rx": Source("*.trj", 0.9, electrons={"14_oxirane": (-1, 1)}),
    "baker_ts": Source(
        "*.xyz",
        22 / 25,
        without="*_downhill.xyz",
        electrons={
            "04_ch3o": (0, 2),
            "05_cyclopropyl": (0, 2),
            "08_formyloxyethyl": (0, 2),
            "16_h2po4_anion": (-1, 1),
            "20_hconh3_cation": (1, 1),
        },
    ),
    "zimmerman_xtb": Source("*.trj", 0.9),
    "birkholz_rx": Source(
        "*.trj",
        0.85,
        without="*_original.trj",
        electrons={"15_oxirane": (-1, 1), "18_sn2": (-1, 1)},
    ),
    "zimmerman": Source(
        "*.trj", 0.85, electrons=dict.fromkeys(("case_102", "case_103", "case_104"), (1, 1))
    ),
}


@dataclass(frozen=True)
class Known:
    """A reaction or a guess of the literature.

    Attributes
    ----------
    id
        The name of its file.
    frames
        Reactant, transition state and product, or a guess of a transition state alone. Å.
    charge, multiplicity
        Total charge and spin multiplicity (2S + 1).
    """

    id: str
    frames: tuple[Atoms, ...]
    charge: int
    multiplicity: int

    @property
    def saddle(self) -> Atoms:
        """The transition state or the guess."""
        return self.frames[len(self.frames) // 2]


@functools.cache
def read_set(name: str) -> Sequence[Known]:
    """All reactions or guesses of a set of `SETS`, in the order of their names."""
    source = SETS[name]
    found = []
    for file in sorted((files("pysisyphus") / "geom_library" / name).iterdir(), key=str):
        if fnmatch.fnmatch(file.name, source.pattern) and not fnmatch.fnmatch(
            file.name, source.without
        ):
            stem = file.name.rpartition(".")[0]
            frames = ase.io.read(io.StringIO(file.read_text("utf-8")), ":", format="xyz")
            found.append(Known(stem, tuple(frames), *source.electrons.get(stem, (0, 1))))
    return tuple(found)


@dataclass(frozen=True)
class Meant:
    """What a guess of Baker and Chan is a transition state of.

    Attributes
    ----------
    reaction
        In their words.
    broken, formed
        The elements of each bond that breaks and forms, sorted.
    dihedral
        Four atoms between which the molecule turns, where no bonds change.
    """

    reaction: str
    broken: tuple[str, ...] = ()
    formed: tuple[str, ...] = ()
    dihedral: tuple[int, int, int, int] | None = None


def _bonds(broken: str, formed: str, reaction: str) -> Meant:
    return Meant(reaction, tuple(sorted(broken.split())), tuple(sorted(formed.split())))


#: The reactions of Baker and Chan, and the bonds that change in them.
MEANT = {
    "01_hcn": _bonds("C-H", "H-N", "HCN → HNC"),
    "02_hcch": _bonds("C-H", "C-H", "HCCH → CCH2"),
    "03_h2co": _bonds("C-H C-H", "H-H", "H2CO → H2 + CO"),
    "04_ch3o": _bonds("C-H", "H-O", "CH3O → CH2OH"),
    "05_cyclopropyl": _bonds("C-C", "", "ring opening of cyclopropyl"),
    "06_bicyclobutane": _bonds("C-C C-C", "", "ring opening of bicyclobutane, TS 1"),
    "07_bicyclobutane": _bonds("C-C C-C", "", "ring opening of bicyclobutane, TS 2"),
    "08_formyloxyethyl": _bonds("", "C-O", "1,2-migration in β-(formyloxy)ethyl"),
    "09_parentdieslalder": _bonds("", "C-C C-C", "Diels-Alder reaction of butadiene and ethylene"),
    "10_tetrazine": _bonds("C-N C-N N-N", "", "s-tetrazine → 2 HCN + N2"),
    "11_trans_butadiene": Meant("rotation in butadiene", dihedral=(2, 0, 1, 3)),
    "12_ethane_h2_abstraction": _bonds("C-H C-H", "H-H", "CH3CH3 → CH2CH2 + H2"),
    "13_hf_abstraction": _bonds("C-F C-H", "F-H", "CH3CH2F → CH2CH2 + HF"),
    "14_vinyl_alcohol": _bonds("H-O", "C-H", "vinyl alcohol → acetaldehyde"),
    "15_hocl": _bonds("C-Cl C-H", "Cl-H", "HCOCl → HCl + CO"),
    "16_h2po4_anion": _bonds("H-O", "H-O O-P", "H2O + PO3- → H2PO4-"),
    "17_claisen": _bonds("C-O", "C-C", "Claisen rearrangement of allyl vinyl ether"),
    "18_silyene_insertion": _bonds("C-H", "C-Si H-Si", "SiH2 + CH3CH3 → SiH3CH2CH3"),
    "19_hnccs": _bonds("C-C", "", "HNCCS → HNC + CS"),
    "20_hconh3_cation": _bonds("C-H C-N", "H-N", "HCONH3+ → NH4+ + CO"),
    "21_acrolein_rot": Meant("rotation in acrolein", dihedral=(0, 1, 2, 3)),
    "22_hconhoh": _bonds("H-N", "H-O", "HCONHOH → HCOHNHO"),
    "23_hcn_h2": _bonds("H-H", "C-H C-H", "HNC + H2 → H2CNH"),
    "24_h2cnh": _bonds("C-H", "H-N", "H2CNH → HCNH2"),
    "25_hcnh2": _bonds("H-N H-N", "H-H", "HCNH2 → HCN + H2"),
}
