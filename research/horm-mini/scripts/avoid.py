"""Leaves out molecules that turn into those of reactions that are held out.

    python research/horm-mini/scripts/avoid.py \
        runs/mutated.xyz ../shared/data/xtb_dev.h5 runs/kept.xyz

Whoever makes molecules of training reactions anew may come upon a reaction that a network is to be
judged by. So where a structure has the bonds of the reactant, the product or the transition state
of a held-out reaction, all structures of the same elements that come from the same training
reaction are left out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import ase.io
import h5py
import networkx as nx
from ase import Atoms

from horm_calc.chemistry.connectivity import molecular_graph
from workflows.settings import VerdictSettings


def main() -> None:
    """Write the structures that remain to one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("structures", type=Path, help="extended xyz, with reactions as info")
    parser.add_argument("held_out", type=Path, help="reactions that are not trained on (.h5)")
    parser.add_argument("out", type=Path, help="a new extended xyz file")
    options = parser.parse_args()
    for file in (options.structures, options.held_out):
        if not file.is_file():
            parser.error(f"{file} does not exist")
    avoided = {fingerprint(atoms) for atoms in stationary_points(options.held_out)}
    frames = ase.io.read(options.structures, ":")
    gone = {origin(atoms) for atoms in frames if fingerprint(atoms) in avoided}
    kept = [atoms for atoms in frames if origin(atoms) not in gone]
    ase.io.write(options.out, kept, format="extxyz")
    print(
        f"{len(kept)} of {len(frames)} structures in {options.out}; left out are {len(gone)} kinds"
    )


def stationary_points(file: Path) -> Iterator[Atoms]:
    """Reactants, products and transition states of labelled reactions."""
    with h5py.File(file) as reactions:
        for group in reactions.values():
            for name in {"reactant", "product", "transition_state"} & {*group}:
                yield Atoms(group["numbers"][:], group[name][:])


def fingerprint(atoms: Atoms) -> str:
    """The same for molecules of the same elements and bonds, however their atoms are ordered."""
    graph = molecular_graph(atoms, VerdictSettings().bond_factor)
    return str(nx.weisfeiler_lehman_graph_hash(graph, node_attr="kind", iterations=4))


def origin(atoms: Atoms) -> tuple[str, str]:
    return atoms.info["reaction"], atoms.get_chemical_formula()


if __name__ == "__main__":
    main()
