"""`horm-thermo`: free energies, rate constants and isotope effects of a stored run."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from horm_calc.commands.common import entry_point, parser_of
from reactbench_runner.commands.common import exit_code

_DESCRIPTION = """\
Compute free energies, rate constants with tunnelling, equilibrium constants and kinetic isotope
effects of the reactions of a run, at any temperature. The Hessians that horm-tssearch has stored
are enough: nothing is searched again, and no calculator is needed. The run is only read.
"""

_EPILOG = """\
What is printed for each reaction
  ΔH‡, ΔG‡, ΔG    relative to the reactant, or to its molecules, each by itself
  k               Eyring's rate constant: s⁻¹ for one reacting molecule, L mol⁻¹ s⁻¹ and
                  cm³ molecule⁻¹ s⁻¹ for two; without tunnelling, with Wigner's correction, and
                  with that of an unsymmetrical Eckart barrier
  K               equilibrium constant, the ratio of both rate constants
  A, n, E         Arrhenius equations, if there are two temperatures or more
  light/heavy     kinetic isotope effects, if isotopes are given

Only reactions that are intended, or intended in steps, have rate constants; the others are listed
with the reason. Runs of versions that kept the Hessian of the transition state alone must be
searched again.

examples:
  horm-thermo runs/first
      at the temperature of the run

  horm-thermo runs/first --temperature 250:500:25 --csv rates.csv
      at 250, 275, ..., 500 K, with Arrhenius equations; all digits in rates.csv

  horm-thermo runs/first --reaction claisen --isotope 1:13C
      the 13C isotope effect of atom 1, counted from 1 as in the input

Exit code: 0; 1 where no reaction has a rate constant; 2 for wrong input.
"""

#: More are a slip of the pen.
_MOST_TEMPERATURES = 10_000

_ATMOSPHERE = 101325.0


@entry_point
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    return exit_code("horm-thermo", lambda: _report(options))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("horm-thermo", _DESCRIPTION, _EPILOG)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="the folder of --out")
    add(
        "--temperature",
        type=_temperatures,
        default=(),
        metavar="T",
        help="K: a number, or LOWEST:HIGHEST:STEP (default: that of the run)",
    )
    add(
        "--pressure",
        type=_positive,
        metavar="ATM",
        help="of the standard state, atm; rate constants do not depend on it (default: that of "
        "the run, 1 unless it was set)",
    )
    add(
        "--concentration",
        type=_positive,
        default=1.0,
        metavar="C",
        help="of another standard state, mol/L, for the free energies of reactions in which "
        "molecules meet or part (default 1)",
    )
    add(
        "--isotope",
        action="append",
        default=[],
        metavar="ATOM:ISOTOPE",
        help="put an isotope in the place of an atom, as in 3:D or 1:13C; atoms count from 1; may "
        "be given several times",
    )
    add(
        "--reaction",
        action="append",
        default=[],
        metavar="ID",
        help="only this one; may be given several times",
    )
    add(
        "--treatment",
        choices=("rrho", "grimme", "truhlar"),
        help="of soft vibrations (default: that of the run)",
    )
    add("--csv", type=Path, metavar="FILE", help="write a row per reaction and temperature")
    add("--json", type=Path, metavar="FILE", help="write everything, with the assumptions")
    return parser


def _temperatures(text: str) -> tuple[float, ...]:
    """Of '300' and of '250:500:25', K."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(0 < one < math.inf for one in numbers):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no range of temperatures; give K above zero, as 300 or 250:500:25"
        )
    if len(numbers) == 1:
        return tuple(numbers)
    lowest, highest, step = numbers
    if highest < lowest:
        raise argparse.ArgumentTypeError(f"'{text}' ends below its beginning; give 250:500:25")
    count = math.floor((highest - lowest) / step + 1e-9) + 1
    if count > _MOST_TEMPERATURES:
        raise argparse.ArgumentTypeError(
            f"'{text}' are {count:,} temperatures, more than {_MOST_TEMPERATURES:,}; take longer "
            "steps"
        )
    return tuple(lowest + place * step for place in range(count))


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above zero")
    return value


def _report(options: argparse.Namespace) -> int:
    from rich.console import Console

    from reactbench_runner.kinetics.files import writing
    from reactbench_runner.kinetics.results import stored_kinetics
    from reactbench_runner.kinetics.tables import blocks
    from reactbench_runner.storage.store import to_stderr

    console = Console(highlight=False)
    results = stored_kinetics(
        options.run,
        options.temperature,
        treatment=options.treatment,
        pressure=options.pressure and options.pressure * _ATMOSPHERE,
        concentration=options.concentration,
        isotopes=options.isotope,
        reactions=options.reaction,
        say=to_stderr,
    )
    count = with_rates = 0
    with writing(options.csv, options.json) as add:
        for found in results:
            for block in blocks(found):
                console.print(block)
            add(found)
            count += 1
            with_rates += bool(found.at)
    console.print(f"{with_rates} of {count} finished reactions have rate constants")
    for path in (options.csv, options.json):
        if path:
            print(path)
    return 0 if with_rates else 1


if __name__ == "__main__":
    sys.exit(main())
