"""What is published, where to get it, and where it lies on this machine.

The errors are mean absolute errors against ωB97X/6-31G(d), as A. Burger and co-workers measured
them for the checkpoints of HORM, both kinds of training alike (arXiv:2509.21624; the complete
table is in the README of github.com/BurgerAndreas/THEMol). Eigenvalues there are in eV/Å². HORM's
own paper (arXiv:2505.12447) heads its column of eigenvalues eV/Å², but the script behind it
converts them to Hartree/Bohr² (1 Hartree/Bohr² = 97.17 eV/Å²), so the two do not compare.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from horm_calc.errors import HormError

#: The environment variable that names a folder with checkpoints.
FOLDER = "HORM_CHECKPOINTS"
ERRORS_SOURCE = "arXiv:2509.21624"


@dataclass(frozen=True)
class Entry:
    """A published checkpoint.

    repository: on Hugging Face; "" for what comes with this package. training: E-F (energies
    and forces) or E-F-H (Hessians too). hessian_error, eigenvalue_error: mean absolute errors in
    eV/Å²; None where none was published. measured: errors of another source, in words: they are
    of other frames or levels of theory and do not compare with these. labels: what it was trained
    on, in words, where that is not simply its level of theory.
    """

    name: str
    network: str
    training: str
    hessian_error: float | None
    eigenvalue_error: float | None
    repository: str = "yhong55/HORM"
    published_as: str = ""
    level_of_theory: str = "ωB97X/6-31G(d)"
    licence: str = "CC BY-NC-SA 4.0"
    measured: str = ""
    labels: str = ""

    @property
    def filename(self) -> str:
        """The file's name in its repository."""
        return self.published_as or f"{self.name}.ckpt"

    @property
    def url(self) -> str | None:
        """Where to download it; None for what comes with this package."""
        if not self.repository:
            return None
        return f"https://huggingface.co/{self.repository}/resolve/main/{self.filename}"


def _reactbench(name: str, network: str, filename: str) -> Entry:
    return Entry(name, network, "E-F", None, None, "yhong55/ReactBench", filename)


def _shipped(name: str, level_of_theory: str, errors: str, labels: str = "") -> Entry:
    return Entry(
        name,
        "MomentNet",
        "E-F-H",
        None,
        None,
        repository="",
        published_as=f"{name}.safetensors",
        level_of_theory=level_of_theory,
        measured=f"{errors} (mean absolute, docs/models/{name}.md)",
        labels=labels,
    )


#: The network that is taken where none is named. It comes with this package.
SHIPPED = "horm-mini"

CATALOGUE = {
    entry.name: entry
    for entry in (
        _shipped(
            SHIPPED,
            "ωB97X/6-31G(d)",
            "forces 0.105 eV/Å, Hessians 0.181 eV/Å², their eigenvalues 0.62 eV/Å²",
            "1,009 frames at ωB97X/6-31G(d), each counted five times, and frames at GFN2-xTB whose "
            "labels were moved towards that level",
        ),
        _shipped(
            "horm-mini-xtb",
            "GFN2-xTB",
            "forces 0.077 eV/Å, Hessians 0.145 eV/Å², their eigenvalues 0.40 eV/Å²",
        ),
        Entry("alpha_orig", "AlphaNet", "E-F", 0.502, 1.190),
        Entry("alpha", "AlphaNet", "E-F-H", 0.390, 0.790),
        Entry("left_orig", "LEFTNet", "E-F", 0.364, 1.011),
        Entry("left", "LEFTNet", "E-F-H", 0.153, 0.226),
        Entry("left-df_orig", "LEFTNet-df", "E-F", 1.650, 2.247),
        Entry("left-df", "LEFTNet-df", "E-F-H", 0.200, 0.172),
        Entry("eqv2_orig", "EquiformerV2", "E-F", 2.254, 4.199),
        Entry("eqv2", "EquiformerV2", "E-F-H", 0.077, 0.070),
        _reactbench("reactbench-leftnet", "LEFTNet", "leftnet.ckpt"),
        _reactbench("reactbench-leftnet-df", "LEFTNet-df", "leftnet-df.ckpt"),
    )
}


class CheckpointNotFound(HormError, FileNotFoundError):
    """No such checkpoint, or it could not be downloaded; the message says what to do."""


def list_checkpoints() -> dict[str, Entry]:
    """The published checkpoints; what `HormCalculator` and `load_potential` take for a name.

    Returns
    -------
    dict
        By name, with the network, its training, its errors and its licence.
    """
    return dict(CATALOGUE)


def find(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a checkpoint, given by its path or by its name in the catalogue.

    An existing file wins. 'horm-mini' and 'horm-mini-xtb' come with this package. Other names are
    looked up in the folder $HORM_CHECKPOINTS (`.safetensors` before `.ckpt`), then among what was
    downloaded before, then downloaded from Hugging Face. Raises `CheckpointNotFound`.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    entry = entry_of(path) if path.parent == Path() else None
    if entry is None:
        raise CheckpointNotFound(_unknown(path))
    return present(entry) or _download(entry)


def entry_of(path: str | os.PathLike[str]) -> Entry | None:
    """The published checkpoint that a file or a name says it is, judged by the name alone."""
    name = Path(path).name.removesuffix(".ckpt").removesuffix(".safetensors")
    published = {entry.filename.removesuffix(".ckpt"): entry for entry in CATALOGUE.values()}
    return CATALOGUE.get(name) or published.get(name)


def present(entry: Entry) -> Path | None:
    """Where the checkpoint lies on this machine; None if it would have to be downloaded.

    Raises `CheckpointNotFound` where $HORM_CHECKPOINTS is no folder.
    """
    if not entry.repository:
        return Path(__file__).parents[1] / "weights" / entry.filename
    folder = _folder()
    if folder is not None:
        for name in (f"{entry.name}.safetensors", f"{entry.name}.ckpt", entry.filename):
            if (folder / name).is_file():
                return folder / name
    from huggingface_hub import try_to_load_from_cache

    # The answer can also be a marker for "known not to exist there".
    cached = try_to_load_from_cache(entry.repository, entry.filename)
    return Path(cached) if isinstance(cached, str) else None


def _folder() -> Path | None:
    value = os.environ.get(FOLDER)
    if not value:
        return None
    folder = Path(value).expanduser()
    if not folder.is_dir():
        raise CheckpointNotFound(f"{FOLDER} is set to {value}, which is not a folder")
    return folder


def _download(entry: Entry) -> Path:
    """Downloads with Hugging Face's own progress bar; it resumes what was broken off."""
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(entry.repository, entry.filename))
    except Exception as error:  # each HTTP library behind it has classes of its own
        cause = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointNotFound(
            f"'{entry.name}' is not on this machine and could not be downloaded ({cause}). "
            f"Download {entry.url} elsewhere and put it, named {entry.filename}, into a folder; "
            f"then set the environment variable {FOLDER} to that folder"
            + (f" (now {os.environ[FOLDER]})" if os.environ.get(FOLDER) else "")
        ) from error


def _unknown(path: Path) -> str:
    if path.parent != Path():
        return f"no file {path}"
    near = difflib.get_close_matches(path.stem, CATALOGUE, n=3)
    names = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(CATALOGUE)}"
    return f"'{path}' is neither a file nor a published checkpoint; {names}"
