"""The calculators of a run: by name, as networks, and as Python code of your own."""

from reactbench_runner.calculators.entries import Entry, Factory, Source
from reactbench_runner.calculators.networks import HORM
from reactbench_runner.calculators.registry import DEFAULT, build, entry, known, refusal

__all__ = ["DEFAULT", "HORM", "Entry", "Factory", "Source", "build", "entry", "known", "refusal"]
