"""Search one transition state from Python, with the network of this package or any ASE calculator.

python examples/from_python.py
"""

from pathlib import Path

from ase.io import read

from horm_calc import HormCalculator
from horm_calc.units import to_kcal_per_mol
from workflows import PathSettings, SearchSettings, search

reactant, product = read(Path(__file__).parent / "xyz" / "hcn.xyz", ":")
result = search(
    reactant,
    product,
    HormCalculator(),  # or any other, such as TBLite(method="GFN2-xTB", verbosity=0)
    settings=SearchSettings(path=PathSettings(method="neb")),
)
print("verdict:", result.verdict.label, result.verdict.reason)
if result.saddle is not None and result.reactant is not None:
    barrier = to_kcal_per_mol(result.saddle.energy - result.reactant.energy)
    print(f"barrier: {barrier:.1f} kcal/mol")
    print(f"imaginary frequency: {-result.saddle.modes.frequencies[0]:.0f}i cm⁻¹")
