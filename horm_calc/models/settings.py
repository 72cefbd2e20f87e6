"""What the configuration (`model_config`) of each network may say, with the published values.

The same checks serve networks that are to be trained and checkpoints from elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from horm_calc.configuration import SettingsError, Validated, from_mapping, setting


def _cutoff(default: float) -> Any:
    """In Å: below 1 no two atoms are, and no molecule here is wider than 100."""
    return setting(default, "distance beyond which atoms exchange no message, Å", least=1, most=100)


def _width(default: int, doc: str, least: int = 1) -> Any:
    return setting(default, doc, least=least, most=100_000)


def _depth(default: int) -> Any:
    return setting(default, "layers", most=100)


def _only(value: Any) -> Any:
    """What is supported with the published value alone."""
    return setting(value, "other values are not supported", choices=(value,))


class ModelSettings(Validated):
    """Base class of the settings of a network.

    unread: names that published configurations hold, too, and that choose nothing here.
    says_more: whether checkpoints may hold other names. HORM's training of LEFTNet and
    EquiformerV2 reads no more of their configuration than the name, so that anything can stand
    there.
    """

    unread: ClassVar[frozenset[str]] = frozenset()
    says_more: ClassVar[bool] = False

    @classmethod
    def said(cls, config: Mapping[str, Any]) -> Self:
        """What `config` says, and the published values where it says nothing.

        Raises `SettingsError` for names and values that no such network has.
        """
        values = {key: value for key, value in config.items() if key not in {"name", *cls.unread}}
        return from_mapping(cls, values)

    @classmethod
    def claimed(cls, config: Mapping[str, Any]) -> Self:
        """The same for the configuration in a checkpoint."""
        known = {spec.name for spec in fields(cls)}  # type: ignore[arg-type]
        return cls.said({key: config[key] for key in config if key in known or not cls.says_more})


@dataclass(frozen=True)
class LEFTNetSettings(ModelSettings):
    """Under the names of OA-ReactDiff."""

    num_layers: int = _depth(6)
    hidden_channels: int = _width(196, "numbers of an atom")
    num_radial: int = _width(96, "Gaussians of the distance")
    in_hidden_channels: int = _width(8, "numbers that an element is encoded in")
    cutoff: float = _cutoff(10.0)
    reflect_equiv: bool = _only(True)
    legacy: bool = _only(True)
    update: bool = _only(True)
    object_aware: bool = _only(True)
    pos_grad: bool = _only(False)
    for_conf: bool = _only(False)
    ff: bool = _only(False)

    says_more: ClassVar[bool] = True


@dataclass(frozen=True)
class EquiformerV2Settings(ModelSettings):
    """Sizes first; then what fairchem's configurations say."""

    max_num_elements: int = _width(90, "elements")
    num_layers: int = _depth(4)
    sphere_channels: int = _width(128, "channels of an atom")
    lmax: int = setting(4, "highest degree", most=8)
    mmax: int = setting(2, "highest order in messages", most=8)
    num_heads: int = _width(4, "heads of the attention")
    attn_alpha_channels: int = _width(64, "channels of the attention's weights")
    attn_value_channels: int = _width(16, "channels of what a head passes on")
    attn_hidden_channels: int = _width(64, "channels within the attention")
    ffn_hidden_channels: int = _width(128, "channels within the perceptrons")
    edge_channels: int = _width(128, "channels of the radial functions")
    num_gaussians: int = _width(600, "Gaussians of the distance", least=2)
    cutoff: float = _cutoff(12.0)
    max_radius: float = _cutoff(12.0)  # the same under fairchem's name
    grid_resolution: int = _only(18)
    norm_type: str = _only("layer_norm_sh")
    distance_function: str = _only("gaussian")
    attn_activation: str = _only("silu")
    ffn_activation: str = _only("silu")
    use_pbc: bool = _only(False)
    use_atom_edge_embedding: bool = _only(True)
    share_atom_edge_embedding: bool = _only(False)
    use_m_share_rad: bool = _only(False)
    use_s2_act_attn: bool = _only(False)
    use_attn_renorm: bool = _only(True)
    use_gate_act: bool = _only(False)
    use_grid_mlp: bool = _only(True)
    use_sep_s2_act: bool = _only(True)

    says_more: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mmax > self.lmax:
            raise SettingsError(f"'mmax' is {self.mmax}; it must be at most lmax, {self.lmax}")


@dataclass(frozen=True)
class AlphaNetSettings(ModelSettings):
    """Under AlphaNet's own names.

    a and b are what the output of an atom is multiplied with and what is added to it (eV), to
    start with: the published training took the forces' spread and zero.
    """

    num_layers: int = _depth(4)
    hidden_channels: int = _width(128, "channels of an atom: real and imaginary parts", least=2)
    num_radial: int = _width(64, "Gaussians of the distance")
    head: int = _width(16, "heads of a message")
    main_chi1: int = _width(32, "complex states of an atom")
    mp_chi1: int = _width(32, "phases of a message")
    chi2: int = _width(8, "results of a head")
    hidden_channels_chi: int = _width(96, "channels of all heads")
    cutoff: float = _cutoff(5.0)
    eps: float = setting(1e-6, "added to lengths that are divided by, Å", least=0, most=0.01)
    a: float = setting(0.35, "factor of an atom's output", least=-1e6, most=1e6)
    b: float = setting(0.0, "summand of an atom's output, eV", least=-1e6, most=1e6)
    readout: str = _only("sum")
    reduce_mode: str = _only("sum")
    num_targets: int = _only(1)
    output_dim: int = _only(1)
    use_pbc: bool = _only(False)
    use_sigmoid: bool = _only(False)
    has_norm_before_flag: bool = _only(True)
    has_norm_after_flag: bool = _only(False)
    direct_forces: bool = _only(False)
    compute_stress: bool = _only(False)

    # Dropout is no part of the network at inference, and there is none in training here either.
    unread: ClassVar[frozenset[str]] = frozenset(
        {"pos_require_grad", "has_dropout_flag", "device", "compute_forces"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        width, head, chi = self.hidden_channels, self.head, self.hidden_channels_chi
        if width % 2:
            raise SettingsError(f"'hidden_channels' is {width}; they must make pairs")
        if chi % head or head > width:
            raise SettingsError(
                f"'head' is {head}; it must divide hidden_channels_chi, {chi}, and not exceed "
                f"hidden_channels, {width}"
            )


@dataclass(frozen=True)
class MomentNetSettings(ModelSettings):
    """Sizes first, in the order of `momentnet.Sizes`."""

    layers: int = _depth(3)
    channels: int = _width(64, "scalars, vectors and tensors of an atom")
    heads: int = _width(16, "radial functions of a path, each for channels / heads")
    radial: int = _width(16, "Gaussians of the distance")
    hidden: int = _width(128, "width of the perceptrons")
    cutoff: float = _cutoff(6.0)
    repulsion: bool = setting(
        False, "nuclei repel each other (ZBL) where atoms are much nearer than bonds are long"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels % self.heads:
            raise SettingsError(
                f"'channels' is {self.channels}; it must be a multiple of heads, {self.heads}"
            )


def require_cutoff(said: float, own: float, shown: bool = False) -> None:
    """Raises `SettingsError` where a configuration says another cut-off (Å) than the network has.

    shown: whether tensors in the checkpoint show the cut-off, as these are compared anyway.
    """
    if said != own and not shown:
        raise SettingsError(f"'cutoff' is {said:g}; this network has {own:g} and no other")
