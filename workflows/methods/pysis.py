"""The one place that speaks pysisyphus: its Geometry, its Bohr and Hartree, its habits.

pysisyphus 1.0 calls itself unmaintained, so it is pinned and nothing else imports it. It
prints, writes scratch files into the current folder and adds a log handler for every
optimiser; `_contained` keeps all of that away from the user. Because the current folder
and standard output belong to the whole process, one call runs at a time per process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from ase import Atoms

from horm_calc.chemistry.masses import has_isotopes, with_positions
from horm_calc.units import BOHR, HARTREE, HARTREE_PER_BOHR, HARTREE_PER_BOHR2
from workflows.errors import IRCFailed, NotConverged, described
from workflows.images import Answered, prepare
from workflows.in_flight import Turns
from workflows.logs import Log, log_of
from workflows.methods.contracts import Branches, Path, Walk
from workflows.settings import EndpointSettings, IRCSettings, PathSettings, SaddleSettings
from workflows.surface import Surface

_ONE_AT_A_TIME = Turns()

#: The string grows on where the RMS perpendicular force at its tip is below this, Hartree/Bohr.
#: Tighter than pysisyphus' 0.05, so that each image relaxes before the next builds on it.
_FRONTIER_THRESHOLD = 0.02


class _Potential:
    """A `Surface` in the shape that pysisyphus expects of a calculator."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        self.charge = surface.charge
        self.mult = surface.multiplicity

    def get_energy(self, symbols: tuple[str, ...], coords: np.ndarray, **_: Any) -> dict[str, Any]:
        return self.get_forces(symbols, coords)

    def get_forces(self, symbols: tuple[str, ...], coords: np.ndarray, **_: Any) -> dict[str, Any]:
        atoms = _atoms(symbols, coords)
        atoms.calc = self.surface
        return {
            "energy": atoms.get_potential_energy() / HARTREE,
            "forces": atoms.get_forces().ravel() / HARTREE_PER_BOHR,
        }

    def get_hessian(self, symbols: tuple[str, ...], coords: np.ndarray, **_: Any) -> dict[str, Any]:
        hessian = self.surface.get_hessian(_atoms(symbols, coords)) / HARTREE_PER_BOHR2
        return {**self.get_forces(symbols, coords), "hessian": hessian}


def minimise(atoms: Atoms, surface: Surface, settings: EndpointSettings) -> Walk:
    """Relax with RFO; where it ended.

    First in redundant internals, which are fast but can miss the motion of loose fragments
    against each other, break down, or step to where atoms lie on each other and no calculator
    has an answer. What they leave is finished in Cartesian coordinates from an exact Hessian.
    """
    with _contained() as log:
        from pysisyphus.optimizers.RFOptimizer import RFOptimizer

        if len(atoms) > 2:
            geometry = _geometry(atoms, surface, "redund")
            try:
                _optimise(RFOptimizer, geometry, log, **_convergence(settings))
            except Exception as error:
                log.write(f"internal coordinates failed: {described(error, named=True)}\n")
            else:
                relaxed = _atoms_of(geometry, atoms)
                if np.abs(surface.at(relaxed)[1]).max() <= settings.max_force:
                    return Walk(relaxed, log.getvalue())
                atoms = relaxed
        geometry = _geometry(atoms, surface, "cart")
        _optimise(
            RFOptimizer,
            geometry,
            log,
            **_convergence(settings),
            hessian_init="calc",
            hessian_recalc=20,
        )
        return Walk(_atoms_of(geometry, atoms), log.getvalue())


def grow_string(reactant: Atoms, product: Atoms, surface: Surface, settings: PathSettings) -> Path:
    """Growing string between two minima.

    Peters et al., J. Chem. Phys. 2004, 120, 7877, with a climbing image once it is grown. In
    Cartesian coordinates, aligned image by image: on 36 reactions this led to the
    verified saddle in 32, in a sixth of the time that delocalised internals took.
    """
    with _contained() as log:
        from pysisyphus.cos.GrowingString import GrowingString
        from pysisyphus.optimizers.StringOptimizer import StringOptimizer

        answered = Answered(surface, log)

        class BatchedString(GrowingString):  # type: ignore[misc]
            """Has its images evaluated together before it asks for each."""

            def calculate_image_forces(self, image_indices: Any = None) -> Any:
                images, indices = self.get_images_to_calculate(image_indices)
                prepare((_atoms_of(image, reactant) for image in images), surface)
                for image, index in zip(images, indices, strict=True):
                    self.place(image, index)
                return super().calculate_image_forces(image_indices)

            def place(self, image: Any, index: int) -> None:
                """Moves an image to where the calculator has an answer, if it has none."""
                wanted = _atoms_of(image, reactant)
                if index not in self.moving_indices:
                    surface.at(wanted)
                    return
                beside = (index - 1, index + 1) if index <= self.lf_ind else (index + 1, index - 1)
                neighbours = [_atoms_of(self.images[other], reactant) for other in beside]
                name = f"image {index + 1} of {len(self.images)} of the growing string"
                place = answered.place(id(image), name, wanted, neighbours)
                if place is not wanted:
                    image.coords = place.positions.ravel() / BOHR

        ends = [_geometry(end, surface, "cart") for end in (reactant, product)]
        string = BatchedString(
            ends,
            lambda: _Potential(surface),
            max_nodes=settings.images,
            perp_thresh=_FRONTIER_THRESHOLD,
            climb=True,
        )
        converged = _optimise(
            StringOptimizer,
            string,
            log,
            align=True,
            max_cycles=settings.max_steps,
            rms_force=settings.max_force / 1.5 / HARTREE_PER_BOHR,
        )
        if not string.fully_grown:
            raise NotConverged(
                f"the string did not grow together in {settings.max_steps} cycles "
                f"({string.string_size} of {settings.images + 2} images)"
            )
        images = [_atoms_of(image, reactant) for image in string.images]
        return Path(images, converged, log.getvalue())


def refine_saddle(
    guess: Atoms, surface: Surface, settings: SaddleSettings, hessian: np.ndarray | None = None
) -> Walk:
    """RS-I-RFO or RS-P-RFO from `guess`; where it ended.

    In redundant internals first; where these lead to no stationary point, Cartesian coordinates
    go on from where the forces are smaller, from the guess or from what was reached.

    With a `hessian` at `guess`, (3N, 3N), eV/Å², that one is updated from step to step, in
    internals only. An exact one is then only computed where these break down and are made anew.
    """
    with _contained() as log:
        from pysisyphus.tsoptimizers.RSIRFOptimizer import RSIRFOptimizer
        from pysisyphus.tsoptimizers.RSPRFOptimizer import RSPRFOptimizer

        optimizer = {"rsirfo": RSIRFOptimizer, "rsprfo": RSPRFOptimizer}[settings.method]

        def walked(start: Atoms, coordinates: str) -> Atoms:
            geometry = _geometry(start, surface, coordinates)
            if hessian is not None:
                geometry.cart_hessian = hessian / HARTREE_PER_BOHR2
            recalc = settings.hessian_every if hessian is None else None
            _optimise(optimizer, geometry, log, **_convergence(settings), hessian_recalc=recalc)
            return _atoms_of(geometry, start)

        def largest_force(atoms: Atoms) -> float:
            return float(np.abs(surface.at(atoms)[1]).max())

        refined = walked(guess, "redund" if len(guess) > 2 else "cart")
        if hessian is None and len(guess) > 2 and largest_force(refined) > settings.max_force:
            log.write("internal coordinates led to no stationary point\n")
            refined = walked(min(guess, refined, key=largest_force), "cart")
        return Walk(refined, log.getvalue())


def follow_irc(
    saddle: Atoms, hessian: np.ndarray, surface: Surface, settings: IRCSettings
) -> Branches:
    """EulerPC both ways."""
    with _contained() as log:
        from pysisyphus.irc.EulerPC import EulerPC

        geometry = _geometry(saddle, surface, "cart")
        geometry.cart_hessian = hessian / HARTREE_PER_BOHR2
        if has_isotopes(saddle):
            geometry.masses = saddle.get_masses()
        irc = EulerPC(
            geometry,
            step_length=settings.step_length / BOHR,
            max_cycles=settings.max_steps,
            rms_grad_thresh=settings.rms_force / HARTREE_PER_BOHR,
            dump_every=settings.max_steps + 1,
        )
        try:
            irc.run()
        except AssertionError as error:  # how EulerPC says that the start is no saddle
            raise IRCFailed(f"EulerPC refused the saddle: {error}") from error
        forward = [_placed(saddle, coords) for coords in reversed(irc.forward_coords)]
        backward = [_placed(saddle, coords) for coords in irc.backward_coords]
        arrived = (bool(irc.forward_is_converged), bool(irc.backward_is_converged))
        return Branches([forward, backward], arrived, log.getvalue())


def _convergence(settings: EndpointSettings | SaddleSettings) -> dict[str, Any]:
    """Force and step thresholds in the proportions of Gaussian's criteria."""
    return {
        "rms_force": settings.max_force / 1.5 / HARTREE_PER_BOHR,
        "max_cycles": settings.max_steps,
    }


def _optimise(optimizer: type, geometry: Any, log: Log, **options: Any) -> bool:
    from pysisyphus.optimizers.exceptions import ZeroStepLength

    run = optimizer(geometry, dump=False, **options)
    with _logger_into(run.logger, log):
        try:
            run.run()
        except ZeroStepLength:
            return False
    return bool(run.is_converged)


@contextlib.contextmanager
def _contained() -> Iterator[Log]:
    """Run in a scratch folder with everything that is printed kept in the log."""
    with (
        _ONE_AT_A_TIME,
        tempfile.TemporaryDirectory(prefix="horm-") as scratch,
        log_of("pysisyphus") as log,
    ):
        before = os.getcwd()
        os.chdir(scratch)
        try:
            with (
                contextlib.redirect_stdout(log),
                contextlib.redirect_stderr(log),
                warnings.catch_warnings(action="ignore"),
            ):
                yield log
        finally:
            os.chdir(before)
            _drop_handlers(os.path.realpath(scratch))


def _drop_handlers(folder: str) -> None:
    """Remove the log handlers that pysisyphus has opened and never closes.

    They write below `folder`, the current folder when it was imported or an optimiser was
    made, and, for its main logger, to what was standard output at import.
    """
    import pysisyphus

    names = list(logging.root.manager.loggerDict)
    for logger in (logging.getLogger(name) for name in names):
        for handler in list(logger.handlers):
            below = isinstance(handler, logging.FileHandler) and handler.baseFilename.startswith(
                folder
            )
            if below or logger is pysisyphus.logger:
                logger.removeHandler(handler)
                handler.close()
    pysisyphus.logger.propagate = False


@contextlib.contextmanager
def _logger_into(logger: logging.Logger, log: Log) -> Iterator[None]:
    """Send the progress of one optimiser to the log."""
    handler = logging.StreamHandler(log)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False  # the parent's handler prints
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _geometry(atoms: Atoms, surface: Surface, coord_type: str) -> Any:
    from pysisyphus.Geometry import Geometry

    geometry = Geometry(
        atoms.get_chemical_symbols(), atoms.get_positions().ravel() / BOHR, coord_type=coord_type
    )
    geometry.set_calculator(_Potential(surface))
    return geometry


def _atoms(symbols: tuple[str, ...], coords: np.ndarray) -> Atoms:
    return Atoms([s.capitalize() for s in symbols], np.asarray(coords).reshape(-1, 3) * BOHR)


def _placed(atoms: Atoms, coords: np.ndarray) -> Atoms:
    """`atoms` at coordinates in Bohr; pysisyphus knows no masses but its own."""
    return with_positions(atoms, np.asarray(coords).reshape(-1, 3) * BOHR)


def _atoms_of(geometry: Any, atoms: Atoms) -> Atoms:
    return _placed(atoms, geometry.cart_coords)
