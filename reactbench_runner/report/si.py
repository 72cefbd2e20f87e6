"""Supporting information: what a paper says of its transition states, as Markdown or LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ase import Atoms

from horm_calc.units import HARTREE
from reactbench_runner.errors import StorageError
from reactbench_runner.report.citations import Methods, methods_of
from reactbench_runner.report.markup import LATEX, MARKDOWN, Markup
from reactbench_runner.report.references import REFERENCES, address
from reactbench_runner.report.table import further_energies, verdict_words
from reactbench_runner.results import Run
from reactbench_runner.storage.reading import PRODUCT, REACTANT, SADDLE
from reactbench_runner.storage.rows import ResultRow
from reactbench_runner.storage.run_folder import replacing
from reactbench_runner.storage.structures import Point
from workflows.errors import InputError

#: Roles of the points that are written, in order, and what people call them.
_POINTS = re.compile(
    rf"(step\d+_)?({REACTANT}|{SADDLE}|{PRODUCT})|({REACTANT}|{PRODUCT})_molecule\d+"
)
_NUMBERS = ("ΔE‡", "ΔG‡", "ΔE", "ΔG", "ν‡")
_ORDER = (REACTANT, SADDLE, PRODUCT)

#: Molecules that are relaxed alone come behind every step.
_LAST = 1000


def write_si(file: Path, run: Run) -> Path:
    """Write the document; `.tex` in its name asks for LaTeX, anything else for Markdown.

    It has every reaction of `run` with a converged transition state. Raises `InputError` where
    none has, `OSError` where the file cannot be written.
    """
    rows = {name: row for name, row in run.rows.items() if row.ts_energy_ev is not None}
    if not rows:
        raise InputError("--si: no reaction has a converged transition state")
    markup = LATEX if file.suffix == ".tex" else MARKDOWN
    with replacing(file) as temporary, temporary.open("w", encoding="utf-8") as document:
        for part in _parts(run, rows, markup):
            document.write(part + "\n")
    return file


def _parts(run: Run, rows: Mapping[str, ResultRow], markup: Markup) -> Iterator[str]:
    methods = methods_of(run.record, run.rows.values())
    yield markup.comment(f"Supporting information of the run {run.stored.name}, by horm-report")
    yield markup.heading(1, "Computational details")
    yield _paragraph(methods, markup)
    if software := _software(run):
        yield markup.paragraph(f"Software: {software}.")
    yield markup.paragraph(
        "Total energies are electronic energies without zero-point energy. Relative energies are "
        "in kcal/mol, frequencies in cm⁻¹ (imaginary ones are negative and come first), "
        "coordinates in Å."
    )
    yield markup.heading(1, "Summary")
    yield _summary([*rows.values()], markup)
    yield markup.heading(1, "Stationary points")
    found = run.stored.stationary_points(rows.keys())
    try:
        for name, points in found:
            yield from _reaction(rows[name], points, markup)
    except ValueError as error:
        raise StorageError(str(error)) from None
    yield markup.heading(1, "References")
    yield markup.numbered(
        [f"{REFERENCES[name][0]}. {address(name)}" for name in methods.references]
    )


def _paragraph(methods: Methods, markup: Markup) -> str:
    sentences = []
    for text, names in methods.sentences:
        numbers = ", ".join(map(str, methods.numbers(names)))
        sentences.append(text + (f" [{numbers}]" if numbers else "") + ".")
    return markup.paragraph(" ".join(sentences))


def _software(run: Run) -> str:
    """Packages with their versions, those of a later start too."""
    versions = dict(run.record.get("versions", {}))
    return ", ".join(f"{name} {value}" for name, value in versions.items())


def _summary(rows: Sequence[ResultRow], markup: Markup) -> str:
    """One line a reaction, with its solvent where there are several."""
    in_several = len({row.solvent for row in rows}) > 1
    texts = ("reaction", "solvent", "verdict") if in_several else ("reaction", "verdict")
    lines = [_line(row, in_several=in_several) for row in rows]
    return markup.table([*texts, *_NUMBERS], lines, len(texts))


def _line(row: ResultRow, *, in_several: bool) -> tuple[str, ...]:
    numbers = (
        (row.barrier_kcal_per_mol, 1),
        (row.gibbs_barrier_kcal_per_mol, 1),
        (row.reaction_energy_kcal_per_mol, 1),
        (row.reaction_gibbs_kcal_per_mol, 1),
        (row.imaginary_frequency_cm1, 0),
    )
    solvent = [row.solvent or "–"] if in_several else []
    return (
        row.id,
        *solvent,
        verdict_words(row),
        *(_number(value, digits) for value, digits in numbers),
    )


def _number(value: float | None, digits: int) -> str:
    """'−9.4'; a dash where there is none."""
    if value is None:
        return "–"
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _reaction(row: ResultRow, points: Mapping[str, Point], markup: Markup) -> Iterator[str]:
    """Everything of one reaction."""
    yield markup.heading(2, f"{row.id} ({row.formula})")
    charge = str(row.charge or 0).replace("-", "−")
    told = [f"Verdict: {verdict_words(row)}. Charge {charge}, multiplicity {row.multiplicity}."]
    told.append(f"Level of theory: {row.level_of_theory}.")
    if row.isotopes:
        told.append(f"Isotopes: {row.isotopes}.")
    if row.reactant_smiles and row.product_smiles:
        told.append(f"SMILES: {row.reactant_smiles} to {row.product_smiles}.")
    if row.step_energies_kcal_per_mol:
        steps = row.step_energies_kcal_per_mol.replace("-", "−")
        told.append(f"Energies of saddles and intermediates in turn: {steps} kcal/mol.")
    told += [f"{line[0].upper()}{line[1:]}." for line in further_energies(row)]
    told += [f"Note: {text}." for text in (row.reason, row.warnings) if text]
    yield markup.paragraph(" ".join(told))
    for assumed, name in (
        (row.reactant_thermochemistry, "reactant"),
        (row.ts_thermochemistry, "transition state"),
        (row.product_thermochemistry, "product"),
    ):
        if assumed:
            words = assumed.replace("cm^-1", "cm⁻¹").replace(" -", " −")
            yield markup.paragraph(f"Free energy of the {name}: {words}.")
    roles = sorted(filter(_POINTS.fullmatch, points), key=_place)
    in_steps = any(role.startswith("step") for role in roles)
    for role in roles:
        if not (in_steps and role == SADDLE):  # the highest of the steps, which follow
            yield from _point(role, points[role], markup)


def _place(role: str) -> tuple[int, int]:
    """Reactant, saddle and product first, then those of each step, and molecules alone."""
    step, _, name = role.removeprefix("step").partition("_")
    if role.startswith("step"):
        return int(step), _ORDER.index(name)
    if "_molecule" in role:
        return _LAST, _ORDER.index(step)
    return 0, _ORDER.index(role)


def _point(role: str, point: Point, markup: Markup) -> Iterator[str]:
    atoms, data = point
    words = re.sub(r"^step(\d+)_(.*)", r"step \1, \2", role).replace("_", " ")
    words = re.sub(r"^(\w+) molecule(\d+)", r"molecule \2 of the \1, alone", words)
    yield markup.heading(3, f"{words[0].upper()}{words[1:]}")
    if atoms.calc is not None:
        energy = atoms.get_potential_energy()
        yield markup.paragraph(
            f"E = {_number(energy, 6)} eV = {_number(energy / HARTREE, 8)} hartree"
        )
    frequencies = data.get("frequencies_cm1")
    if frequencies is not None and len(frequencies):
        told = ", ".join(_number(float(value), 1) for value in frequencies)
        yield markup.paragraph(f"Frequencies, cm⁻¹: {told}")
    yield markup.verbatim(_coordinates(atoms))


def _coordinates(atoms: Atoms) -> str:
    """As xyz programs read them, without the two lines above."""
    return "\n".join(
        f"{symbol:2s} {x:14.8f} {y:14.8f} {z:14.8f}"
        for symbol, (x, y, z) in zip(atoms.symbols, atoms.positions, strict=True)
    )
