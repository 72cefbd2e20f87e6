"""What a run has used, in a paragraph for a paper, and whom to cite for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from horm_calc.checkpoints.catalogue import CATALOGUE, SHIPPED
from reactbench_runner.storage.rows import ResultRow, levels_of
from workflows.methods.registry import METHODS
from workflows.records import Label

#: References by a short name: authors, title or journal, and a DOI or an address.
REFERENCES: dict[str, tuple[str, str]] = {
    "ase": ("A. H. Larsen et al., J. Phys.: Condens. Matter 2017, 29, 273002",
            "10.1088/1361-648X/aa680e"),
    "lindh": ("R. Lindh, A. Bernhardsson, G. Karlström, P.-Å. Malmqvist, Chem. Phys. Lett. 1995, "
              "241, 423", "10.1016/0009-2614(95)00646-L"),
    "trim": ("T. Helgaker, Chem. Phys. Lett. 1991, 182, 503", "10.1016/0009-2614(91)90115-P"),
    "bofill": ("J. M. Bofill, J. Comput. Chem. 1994, 15, 1", "10.1002/jcc.540150102"),
    "string": ("W. E, W. Ren, E. Vanden-Eijnden, J. Chem. Phys. 2007, 126, 164103",
               "10.1063/1.2720838"),
    "preconditioned": ("S. Makri, C. Ortner, J. R. Kermode, J. Chem. Phys. 2019, 150, 094109",
                       "10.1063/1.5064465"),
    "geodesic": ("X. Zhu, K. C. Thompson, T. J. Martínez, J. Chem. Phys. 2019, 150, 164103",
                 "10.1063/1.5090303"),
    "gsm": ("B. Peters, A. Heyden, A. T. Bell, A. Chakraborty, J. Chem. Phys. 2004, 120, 7877",
            "10.1063/1.1691018"),
    "climbing": ("G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 2000, 113, 9901",
                 "10.1063/1.1329672"),
    "tangent": ("G. Henkelman, H. Jónsson, J. Chem. Phys. 2000, 113, 9978", "10.1063/1.1323224"),
    "rfo": ("A. Banerjee, N. Adams, J. Simons, R. Shepard, J. Phys. Chem. 1985, 89, 52",
            "10.1021/j100247a015"),
    "rsrfo": ("E. Besalú, J. M. Bofill, Theor. Chem. Acc. 1998, 100, 265", "10.1007/s002140050387"),
    "lqa": ("M. Page, J. W. McIver, J. Chem. Phys. 1988, 88, 922", "10.1063/1.454172"),
    "eulerpc": ("H. P. Hratchian, M. J. Frisch, H. B. Schlegel, J. Chem. Phys. 2010, 133, 224101",
                "10.1063/1.3514202"),
    "pysisyphus": ("J. Steinmetzer, S. Kupfer, S. Gräfe, Int. J. Quantum Chem. 2021, 121, e26390",
                   "10.1002/qua.26390"),
    "sella": ("E. D. Hermes, K. Sargsyan, H. N. Najm, J. Zádor, J. Chem. Theory Comput. 2022, 18, "
              "6974", "10.1021/acs.jctc.2c00395"),
    "geometric": ("L.-P. Wang, C. Song, J. Chem. Phys. 2016, 144, 214108", "10.1063/1.4952956"),
    "radii": ("B. Cordero et al., Dalton Trans. 2008, 2832", "10.1039/b801115j"),
    "grimme": ("S. Grimme, Chem. Eur. J. 2012, 18, 9955", "10.1002/chem.201200497"),
    "truhlar": ("R. F. Ribeiro, A. V. Marenich, C. J. Cramer, D. G. Truhlar, J. Phys. Chem. B "
                "2011, 115, 14556", "10.1021/jp205508z"),
    "gfn1": ("S. Grimme, C. Bannwarth, P. Shushkov, J. Chem. Theory Comput. 2017, 13, 1989",
             "10.1021/acs.jctc.7b00118"),
    "gfn2": ("C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 2019, 15, 1652",
             "10.1021/acs.jctc.8b01176"),
    "alpb": ("S. Ehlert, M. Stahn, S. Spicher, S. Grimme, J. Chem. Theory Comput. 2021, 17, 4250",
             "10.1021/acs.jctc.1c00471"),
    "wb97x": ("J.-D. Chai, M. Head-Gordon, J. Chem. Phys. 2008, 128, 084106", "10.1063/1.2834918"),
    "pyscf": ("Q. Sun et al., J. Chem. Phys. 2020, 153, 024109", "10.1063/5.0006074"),
    "transition1x": ("M. Schreiner, A. Bhowmik, T. Vegge, J. Busk, O. Winther, Sci. Data 2022, 9, "
                     "779", "10.1038/s41597-022-01870-w"),
    "reactbench": ("ReactBench, data set", "https://huggingface.co/yhong55/ReactBench"),
    "hint": ("Hessian-informed machine learning interatomic potential towards bridging theory and "
             "experiments, arXiv:2603.25373", "https://arxiv.org/abs/2603.25373"),
    "horm": ("T. Cui, Y. Han, H. Jia, C. Duan, Q. Zhao, arXiv:2505.12447",
             "https://arxiv.org/abs/2505.12447"),
}  # fmt: skip

#: What to cite for each method of the registry, by stage and name.
OF_METHODS: dict[tuple[str, str], tuple[str, ...]] = {
    ("endpoints", "bfgs"): ("lindh",),
    ("endpoints", "rfo"): ("rfo", "pysisyphus"),
    ("endpoints", "geometric"): ("geometric",),
    ("endpoints", "sella"): ("sella",),
    ("path", "string"): ("string", "preconditioned", "geodesic", "lindh"),
    ("path", "geodesic"): ("geodesic",),
    ("path", "gsm"): ("gsm", "pysisyphus"),
    ("path", "neb"): ("climbing", "tangent", "geodesic", "ase"),
    ("saddle", "trim"): ("trim", "bofill"),
    ("saddle", "rsirfo"): ("rsrfo", "pysisyphus"),
    ("saddle", "rsprfo"): ("rfo", "rsrfo", "pysisyphus"),
    ("saddle", "sella"): ("sella",),
    ("saddle", "geometric"): ("geometric",),
    ("irc", "lqa"): ("lqa",),
    ("irc", "eulerpc"): ("eulerpc", "pysisyphus"),
    ("irc", "sella"): ("sella",),
}

#: Of the calculators that come with this package.
_OF_CALCULATORS = {"gfn1-xtb": ("gfn1",), "gfn2-xtb": ("gfn2",), "wb97x": ("wb97x", "pyscf")}
_OF_SOLVENTS = {"gfn1-xtb": ("alpb",), "gfn2-xtb": ("alpb",)}
_OF_SHIPPED = ("transition1x", "reactbench", "hint")

_IN_SOLUTION = (
    "Structures, frequencies and energies are those in the implicit solvent; the electronic energy "
    "contains the free energy of solvation, from a gas to a solution of the same concentration"
)

#: Quasi-RRHO treatments, as people call them.
_TREATMENTS = {
    "grimme": "the quasi-RRHO approximation of Grimme",
    "truhlar": "the quasi-harmonic approximation of Truhlar",
    "rrho": "the rigid-rotor harmonic-oscillator approximation",
}


@dataclass(frozen=True)
class Methods:
    """A paragraph as sentences, each with the names of its references; these in order of use."""

    sentences: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def references(self) -> tuple[str, ...]:
        """Names in `REFERENCES`, each once."""
        return tuple(dict.fromkeys(name for _, names in self.sentences for name in names))

    def numbers(self, names: Iterable[str]) -> list[int]:
        """Of these references, counted from 1."""
        order = self.references
        return sorted({order.index(name) + 1 for name in names})


def methods_of(record: Mapping[str, Any], rows: Iterable[ResultRow]) -> Methods:
    """What a run has used, from its run.json and its rows.

    Methods that a later attempt has brought in are named as far as the rows name them.
    """
    return Methods(tuple(_sentences(record, list(rows))))


def address(reference: str) -> str:
    """Where a reference is found on the web."""
    place = REFERENCES[reference][1]
    return place if place.startswith("https:") else f"https://doi.org/{place}"


def _sentences(
    record: Mapping[str, Any], rows: list[ResultRow]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    settings = record.get("settings", {})
    version = record.get("versions", {}).get("horm-tssearch", "")
    level = levels_of(rows) or record.get("level_of_theory", "") or "an unknown level of theory"
    solvated = any(row.solvent for row in rows)
    yield (
        f"Transition states were searched with horm-tssearch {version}".rstrip()
        + f" at the level of theory {level}",
        calculator_references(str(record.get("calculator", "")), solvated=solvated),
    )
    if solvated:
        yield _IN_SOLUTION, ()
    yield from _stage(settings, "endpoints", "Reactants and products were relaxed", [])
    paths = _used(row.path_method for row in rows)
    found = any(row.verdict is Label.FOUND for row in rows)
    refined = "Guesses of transition states were refined to saddle points"
    if paths or not found:
        yield from _stage(settings, "path", "Paths between them were found", paths)
        refined = "Their highest points were refined to saddle points"
    yield from _stage(settings, "saddle", refined, [])
    yield from _stage(
        settings,
        "irc",
        "Intrinsic reaction coordinates were followed",
        _used(row.irc_method for row in rows),
    )
    factor = settings.get("verdict", {}).get("bond_factor", 1.2)
    if found:
        yield (
            "A transition state is called found if nothing but a guess of it was given: reactant "
            "and product are then the relaxed ends of its intrinsic reaction coordinate, the "
            "reactant the one of higher energy",
            (),
        )
    yield (
        "A transition state is called intended if the relaxed ends of its intrinsic reaction "
        "coordinate have the bonds of reactant and product (shorter than "
        f"{factor} times the sum of covalent radii)",
        ("radii",),
    )
    yield from _free_energies(settings.get("thermo", {}))
    if record.get("verify"):
        yield (
            "Transition states were refined again at the level of theory "
            f"{levels_of(rows, verified=True) or record.get('verify_level_of_theory')}",
            calculator_references(str(record["verify"]), solvated=solvated),
        )


def _stage(
    settings: Mapping[str, Any], stage: str, words: str, used: list[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A sentence on the method of the settings and on others that rows name."""
    first = settings.get(stage, {}).get("method")
    known = {method.name: method.doc for method in METHODS[stage]}
    names = [name for name in dict.fromkeys([first, *used]) if name in known or name == "driven"]
    if not names:
        return
    docs = [known.get(name, "paths along which bonds are driven") for name in names]
    text = f"{words} ({docs[0]}"
    if len(docs) > 1:
        text += "; in later attempts: " + "; ".join(docs[1:])
    yield f"{text})", tuple(one for name in names for one in OF_METHODS.get((stage, name), ()))


def _used(names: Iterable[str]) -> list[str]:
    """The most frequent first."""
    return [name for name, _ in Counter(name for name in names if name).most_common()]


def _free_energies(thermo: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    treatment = thermo.get("treatment")
    if not treatment:
        return
    words = _TREATMENTS.get(treatment, f"the treatment '{treatment}' of low frequencies")
    text = f"Gibbs free energies at {thermo.get('temperature', 0):g} K and "
    text += f"{thermo.get('pressure', 0):g} Pa are those of an ideal gas in {words}"
    if treatment in REFERENCES:
        text += f", with a cut-off of {thermo.get('cutoff', 0):g} cm⁻¹"
    yield text, (treatment, "ase") if treatment in REFERENCES else ("ase",)


def calculator_references(name: str, *, solvated: bool = False) -> tuple[str, ...]:
    """Of a calculator by the name that run.json has of it; none for one of a user's own.

    solvated: with those of its model for solvents.
    """
    if not name.startswith("horm:"):
        return _OF_CALCULATORS.get(name, ()) + (_OF_SOLVENTS.get(name, ()) if solvated else ())
    network = name.removeprefix("horm:").rpartition("/")[2].partition(".")[0]
    if network.startswith(SHIPPED):
        return _OF_SHIPPED
    return ("horm",) if network in CATALOGUE else ()
