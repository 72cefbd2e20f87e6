"""Whom to cite for methods: papers and programs, each by a short name."""

from __future__ import annotations

from urllib.parse import quote

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
    "rdkit": ("RDKit: open-source cheminformatics", "10.5281/zenodo.591637"),
    "etkdg": ("S. Riniker, G. A. Landrum, J. Chem. Inf. Model. 2015, 55, 2562",
              "10.1021/acs.jcim.5b00654"),
    "etkdg3": ("S. Wang, J. Witek, G. A. Landrum, S. Riniker, J. Chem. Inf. Model. 2020, 60, 2044",
               "10.1021/acs.jcim.0c00025"),
    "mmff": ("T. A. Halgren, J. Comput. Chem. 1996, 17, 490",
             "10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P"),
    "uff": ("A. K. Rappé, C. J. Casewit, K. S. Colwell, W. A. Goddard III, W. M. Skiff, J. Am. "
            "Chem. Soc. 1992, 114, 10024", "10.1021/ja00051a040"),
    "delta": ("R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, J. Chem. Theory Comput. "
              "2015, 11, 2087", "10.1021/acs.jctc.5b00099"),
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

#: For structures made of a SMILES (`horm_calc.chemistry.embedding`).
OF_SMILES = ("rdkit", "etkdg", "etkdg3", "mmff", "uff")


def address(reference: str) -> str:
    """Where a reference is found on the web."""
    place = REFERENCES[reference][1]
    return place if place.startswith("https:") else f"https://doi.org/{quote(place, '/:;()')}"
