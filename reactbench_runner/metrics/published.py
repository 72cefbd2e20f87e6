"""Published rates, beside which those of a run are shown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Counts of a publication. `counts`: by the keys of `outcomes.FUNNEL`."""

    name: str
    inputs: int
    counts: dict[str, int]
    source: str


#: ReactBench (growing string, RS-P-RFO, IRC) on its 960 reactions of Transition1x, with networks
#: trained on energies, forces and Hessians of HORM (E-F-H).
PUBLISHED = (
    Published("LEFTNet E-F-H", 960, {"by_bonds": 697}, "arXiv:2509.21624"),
    Published("EquiformerV2 E-F-H", 960, {"by_bonds": 684}, "arXiv:2509.21624"),
    Published(
        "EquiformerV2 E-F-H, growing string",
        960,
        {"path_converged": 871},
        "github.com/Yzz1221/mlip-gaussian-ts-curvature-handoff",
    ),
)

#: What is not the same there, for those who compare.
DIFFERENCES = (
    "The published rates are of 960 reactions; a run may have others, which may be easier.",
    "ReactBench compares the bonds at the ends of the IRC with those of the input files, by bond "
    "limits of its own. Here they are compared with the bonds of the relaxed endpoints.",
    "ReactBench makes one attempt: compare its rates with 'intended by bonds alone, at the first "
    "attempt'.",
    "ReactBench counts no IRC between conformers. Here it is intended if its ends coincide with "
    "reactant and product.",
)
