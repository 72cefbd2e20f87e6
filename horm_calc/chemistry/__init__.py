"""Chemistry that knows no network: bonds, symmetry, isotopes, normal modes, thermochemistry."""
