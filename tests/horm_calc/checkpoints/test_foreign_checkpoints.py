"""Checkpoints of other programs and people: read right, or refused with the name and the value."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
import pathlib
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from horm_calc import HormCalculator
from horm_calc.checkpoints.claims import require_possible
from horm_calc.checkpoints.files import CheckpointError, read, save
from horm_calc.commands.models import main
from horm_calc.models.registry import network_class
from horm_calc.potential import CheckpointConcern, load_potential
from tests.horm_calc.checkpoint_files import inject
from tests.horm_calc.models.published import NAMES
from tests.horm_calc.molecules import crooked
from tests.horm_calc.small_networks import CONFIGS, made, small, write

State = dict[str, torch.Tensor]


def state(name: str) -> State:
    return {key: value.clone() for key, value in small(name).state_dict().items()}


def under(prefix: str, weights: State) -> State:
    return {prefix + key: value for key, value in weights.items()}


def changed(weights: State) -> State:
    return {key: value + 0.01 for key, value in weights.items()}


def foreign(path: Path, name: str, weights: dict[str, Any], **content: Any) -> Path:
    """A file of PyTorch Lightning; content: what differs in its hyper_parameters and beside."""
    hyper = {"model_config": CONFIGS[name], **content.pop("hyper", {})}
    torch.save({"state_dict": weights, "hyper_parameters": hyper} | content, path)
    return path


def energy(path: Path) -> float:
    """As a user asks for it, with a warning for an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return HormCalculator(path, "cpu", "float64").get_potential_energy(crooked("H2O"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, float]:
    folder = tmp_path_factory.mktemp("ours")
    return {name: energy(write(folder, name)) for name in NAMES}


def refusals(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the calculator and both commands say, which must be the same."""
    with pytest.raises(CheckpointError) as caught:
        HormCalculator(path)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    target = path.with_name("converted.safetensors")
    for arguments in (["show", str(path)], ["convert", str(path), str(target)]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err) == ("", f"horm-models: {said}\n")
    assert not target.exists()
    return said


# --- what frameworks put before names ---

PREFIXES = (
    *("", "potential.", "model.", "module.", "ema.", "_orig_mod.", "net.", "network."),
    *("potential._orig_mod.", "_orig_mod.potential.", "module.potential.", "potential.module."),
    *("ema.module.", "ema_model.module.", "_forward_module.model._orig_mod.", "model.module."),
    "_fsdp_wrapped_module.potential._fsdp_wrapped_module.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_taken_off(tmp_path, prefix):
    for name in NAMES:
        found = read(foreign(tmp_path / "a.ckpt", name, under(prefix, state(name))))
        assert found.concerns == ()
        assert found.state.keys() == state(name).keys()
        assert all(found.state[key].equal(value) for key, value in state(name).items())


@pytest.mark.parametrize("name", NAMES)
def test_energies_are_those_of_the_network(tmp_path, name, expected):
    path = foreign(tmp_path / "a.ckpt", name, under("module.potential._orig_mod.", state(name)))
    assert energy(path) == expected[name]


def test_wrappers_of_parts(tmp_path, expected):
    """Of layers that are compiled or checkpointed one by one."""
    weights = {
        key.replace("layers.0.", "layers.0._orig_mod.")
        .replace("layers.1.", "layers.1._checkpoint_wrapped_module.")
        .replace("filters.", "filters._fsdp_wrapped_module."): value
        for key, value in under("potential.", state("MomentNet")).items()
    }
    assert any("._orig_mod." in key for key in weights)
    assert energy(foreign(tmp_path / "a.ckpt", "MomentNet", weights)) == expected["MomentNet"]


@pytest.mark.parametrize(
    "wrapped",
    [
        torch.nn.DataParallel,
        AveragedModel,
        torch.compile,
        lambda network: AveragedModel(torch.nn.DataParallel(network)),
        lambda network: torch.nn.ModuleDict({"potential": torch.compile(network)}),
    ],
)
def test_what_pytorch_itself_wraps(tmp_path, wrapped, expected):
    weights = wrapped(made("MomentNet")).state_dict()
    assert weights.keys() != state("MomentNet").keys()
    assert energy(foreign(tmp_path / "a.ckpt", "MomentNet", weights)) == expected["MomentNet"]


@pytest.mark.parametrize(
    "prefix", ["student.", "delta.", "potential.student.", "encoder.net.", "x."]
)
def test_other_prefixes_are_refused(tmp_path, capsys, prefix):
    """The network may be a part of something else there, such as a correction."""
    path = foreign(tmp_path / "a.ckpt", "MomentNet", under(prefix, state("MomentNet")))
    assert f"weights under '{prefix}', and {prefix} is no wrapper" in refusals(path, capsys)


# --- weights that lie in the file twice ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("potential.", "model."),
        ("", "potential."),
        ("module.", "potential.module."),
        ("ema.", "swa_model."),
        ("potential.", "student."),
        ("potential.", "potential._orig_mod."),
    ],
)
def test_none_of_two_networks_is_chosen(tmp_path, capsys, one, other):
    for name in ("MomentNet", "LEFTNet"):
        weights = under(one, state(name)) | under(other, changed(state(name)))
        path = foreign(tmp_path / "a.ckpt", name, weights)
        assert "Save the state_dict of the one network" in refusals(path, capsys)


@pytest.mark.parametrize(
    ("one", "other"),
    [("potential.", "model."), ("", "potential."), ("net.", "net._orig_mod."), ("ema.", "module.")],
)
def test_the_same_weights_twice_are_one_network(tmp_path, one, other, expected):
    """As where a training module knows its network under two names."""
    weights = under(one, state("MomentNet")) | under(other, state("MomentNet"))
    assert energy(foreign(tmp_path / "a.ckpt", "MomentNet", weights)) == expected["MomentNet"]


EMA_COUNTERS = {"ema.n_averaged": torch.tensor(5), "ema.initted": torch.tensor(True)}
FLAT = {f"model_ema.{key.replace('.', '')}": value for key, value in state("MomentNet").items()}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (under("ema.", changed(state("MomentNet"))), "ema."),
        (under("ema.", changed(state("MomentNet"))) | EMA_COUNTERS, "ema."),
        (under("ema_model.module.", changed(state("MomentNet"))), "ema_model.module."),
        (under("potential.ema.", changed(state("MomentNet"))), "potential.ema."),
        (under("swa_model.", changed(state("MomentNet"))), "swa_model."),
        (FLAT | {"model_ema.decay": torch.tensor(0.999)}, "model_ema."),
    ],
)
def test_averaged_weights_that_are_not_used_are_told(tmp_path, capsys, more, told, expected):
    weights = under("potential.", state("MomentNet")) | more
    path = foreign(tmp_path / "a.ckpt", "MomentNet", weights)
    with pytest.warns(CheckpointConcern, match=f"averaged weights .*'{told}'.* are not used"):
        calculator = HormCalculator(path, "cpu", "float64")
    assert calculator.get_potential_energy(crooked("H2O")) == expected["MomentNet"]
    assert main(["show", str(path)]) == 0
    assert f"'{told}'" in capsys.readouterr().out
    target = tmp_path / "b.safetensors"
    assert main(["convert", str(path), str(target)]) == 0
    assert "warning" in capsys.readouterr().err
    assert energy(target) == expected["MomentNet"]


AVERAGE = {key: value for key, value in state("MomentNet").items() if "layers" in key}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"ema_state_dict": AVERAGE}, "ema_state_dict"),
        ({"state_dict_ema": AVERAGE}, "state_dict_ema"),
        ({"ema": {"decay": 0.99, "module": AVERAGE}}, "ema"),
        ({"averaged_model_state": AVERAGE}, "averaged_model_state"),
        ({"callbacks": {"EMACallback": {"weights": list(AVERAGE.values())}}}, "EMACallback"),
        ({"callbacks": {"Keeper": {"shadow_params": list(AVERAGE.values())}}}, "shadow_params"),
        ({"optimizer_states": [{"ema": tuple(AVERAGE.values())}]}, "ema"),
        ({"callbacks": {"SWA": {"average_model_state": AVERAGE}}}, "average_model_state"),
    ],
)
def test_averaged_weights_elsewhere_are_told(tmp_path, content, told):
    weights = under("potential.", state("MomentNet"))
    path = foreign(tmp_path / "a.ckpt", "MomentNet", weights, **content)
    with pytest.warns(CheckpointConcern, match=f"averaged weights .*'{told}'"):
        load_potential(path)


@pytest.mark.parametrize(
    "content",
    [
        {"optimizer_states": [{"state": {0: {"exp_avg": torch.ones(9)}}}]},
        {"current_model_state": AVERAGE, "averaging_state": {"n_averaged": torch.tensor(3)}},
        {"callbacks": {"EMACallback": {"decay": 0.99}}, "schema": AVERAGE},
        {"ema": None, "average_loss": torch.tensor(0.5)},
        {"emails": {"maxima": torch.ones(9)}},
    ],
)
def test_nothing_else_is_taken_for_averaged_weights(tmp_path, content):
    """Among them Lightning's own averaging, whose state_dict has the averaged weights."""
    weights = under("potential.", state("MomentNet"))
    assert read(foreign(tmp_path / "a.ckpt", "MomentNet", weights, **content)).concerns == ()


# --- what a file claims of its network ---

WILD: tuple[Any, ...] = (
    *(None, -1, 0, math.nan, math.inf, -math.inf, 1e300, 2**70, True, False, "text", ""),
    *([], [6.0], {}, {"a": 1}, pathlib.Path("/data"), torch.ones(3), argparse.Namespace(a=1)),
)


def wrong(spec: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a setting cannot have a value, judged without the code that is tested."""
    default = spec.default
    if spec.metadata["choices"]:
        return not (isinstance(value, (bool, int, float, str)) and value == default)
    if isinstance(default, bool):
        return not isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return True
    if isinstance(default, int) and not isinstance(value, int):
        return True
    least = spec.metadata["least"]
    low = value <= 0 if least is None else value < least
    return low or not math.isfinite(value) or value > spec.metadata["most"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "LEFTNet-df"])
def test_every_setting_is_checked(tmp_path, name):
    """Each with values of every kind, one of them in a file of either format."""
    kind, weights, refused = network_class(name), state(name), 0
    path, ours = tmp_path / "a.ckpt", tmp_path / "a.safetensors"
    for number, spec in enumerate(dataclasses.fields(kind.Settings)):
        bad = [value for value in WILD if wrong(spec, value)]
        for value in bad:
            with pytest.raises(CheckpointError, match=f"a.ckpt: model_config: '{spec.name}'"):
                require_possible(path, kind, {spec.name: value})
            refused += 1
        config = CONFIGS[name] | {spec.name: bad[number % len(bad)]}
        foreign(path, name, under("potential.", weights), hyper={"model_config": config})
        with pytest.raises(CheckpointError, match=f"model_config: '{spec.name}'"):
            load_potential(path)
        save(ours, weights, CONFIGS[name] | {spec.name: "many"}, {}, overwrite=True)
        with pytest.raises(CheckpointError, match=f"'{spec.name}'"):
            load_potential(ours)
    assert refused > 80


@pytest.mark.parametrize("cutoff", [None, -1, 0, 0.5, "six", [6.0], 1e9, math.nan, True, 10**40])
@pytest.mark.parametrize("name", ["MomentNet", "AlphaNet"])
def test_cut_offs_that_cannot_be(tmp_path, capsys, name, cutoff):
    config = CONFIGS[name] | {"cutoff": cutoff}
    weights = under("potential.", state(name))
    path = foreign(tmp_path / "a.ckpt", name, weights, hyper={"model_config": config})
    said = refusals(path, capsys)
    assert "model_config: 'cutoff' " in said
    assert said.endswith("Correct it where the file was written, or take another file.")


@pytest.mark.parametrize("name", ["LEFTNet", "LEFTNet-df", "EquiformerV2"])
def test_cut_offs_of_networks_that_have_one_for_good(tmp_path, name):
    """HORM's training of these reads no configuration; what its tensors show is what counts."""
    config = CONFIGS[name] | {"cutoff": 5.0}
    weights = under("potential.", state(name))
    path = foreign(tmp_path / "a.ckpt", name, weights, hyper={"model_config": config})
    with pytest.raises(CheckpointError, match=r"'cutoff' is 5; this network has 1[02] and no"):
        load_potential(path)
    buffers = ("model.radial_emb.means", "distance_expansion.offset")
    shown = {key: value for key in buffers if (value := small(name).constant(key)) is not None}
    foreign(path, name, weights | under("potential.", shown), hyper={"model_config": config})
    load_potential(path)
    other = {key: 0.5 * value for key, value in shown.items()}
    foreign(path, name, weights | under("potential.", other), hyper={"model_config": config})
    with pytest.raises(CheckpointError, match="other than the architecture's constants"):
        load_potential(path)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("MomentNet", {"cut_off": 4.0}),
        ("MomentNet", {"chanels": 8}),
        ("MomentNet", {"activation": "relu"}),
        ("AlphaNet", {"cutof": 4.0}),
        ("AlphaNet", {"zbl": True}),
    ],
)
def test_settings_that_are_not_known(tmp_path, capsys, name, more):
    config = CONFIGS[name] | more
    weights = under("potential.", state(name))
    path = foreign(tmp_path / "a.ckpt", name, weights, hyper={"model_config": config})
    assert f"model_config: unknown setting '{min(more)}'" in refusals(path, capsys)


def test_horm_files_of_other_networks_may_say_anything(tmp_path, expected):
    """HORM's training keeps AlphaNet's settings in the files of all its networks."""
    config = {"num_layers": 4, "hidden_channels": 128, "head": 16, "eps": 1e-6, "device": "cuda"}
    for name in ("LEFTNet", "EquiformerV2"):
        hyper = {"model_config": config | {"name": name}}
        path = foreign(tmp_path / "a.ckpt", name, under("potential.", state(name)), hyper=hyper)
        assert energy(path) == expected[name]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"hyper_parameters": [1, 2]}, "'hyper_parameters' is [1, 2], not names and values"),
        ({"hyper_parameters": 5}, "'hyper_parameters' is 5"),
        ({"hyper_parameters": "MomentNet"}, "'hyper_parameters' is 'MomentNet'"),
        ({"hyper_parameters": torch.device("cpu")}, "'hyper_parameters' is '<torch.device>'"),
        ({"hyper_parameters": {"model_config": "MomentNet"}}, "'model_config' is 'MomentNet'"),
        ({"hyper_parameters": {"model_config": ["MomentNet"]}}, "'model_config' is ['MomentNet']"),
        ({"hyper_parameters": {"model_config": 7}}, "'model_config' is 7"),
        ({"hyper_parameters": {"model_config": {"name": 7}}}, "of an unknown network '7'"),
    ],
)
def test_hyper_parameters_that_are_none(tmp_path, capsys, content, message):
    path = tmp_path / "a.ckpt"
    torch.save({"state_dict": under("potential.", state("MomentNet"))} | content, path)
    assert message in refusals(path, capsys)


def test_networks_are_known_by_their_weights(tmp_path, expected):
    """Without hyper-parameters or with empty ones, where the rest is as published."""
    for name in ("EquiformerV2", "MomentNet"):
        for hyper in (None, {}, {"model_config": None}, {"model_config": {}}):
            path = tmp_path / "a.ckpt"
            weights = under("potential.", state(name))
            torch.save({"state_dict": weights, "hyper_parameters": hyper}, path)
            assert energy(path) == expected[name]


# --- what a file claims of its training ---


@pytest.mark.parametrize(
    "data",
    [
        *("/data/train.lmdb", ["a.h5", "b.h5"], 5, 0.5, None, True, [], {}, {"most_atoms": None}),
        *(
            pathlib.Path("/data"),
            torch.ones(3),
            {"path": "a.h5"},
            ("a", 1),
            argparse.Namespace(a=1),
        ),
    ],
)
def test_other_programs_keep_other_things_under_data(tmp_path, capsys, data, expected):
    weights = under("potential.", state("MomentNet"))
    path = foreign(tmp_path / "a.ckpt", "MomentNet", weights, hyper={"data": data})
    assert energy(path) == expected["MomentNet"]
    assert main(["show", str(path)]) == 0
    target = tmp_path / "b.safetensors"
    assert main(["convert", str(path), str(target)]) == 0
    capsys.readouterr()
    assert energy(target) == expected["MomentNet"]


GOOD = {"H": -13.0, "C": -1000.0, "N": -1500.0, "O": -2000.0}


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        *(
            ({"data": {"most_atoms": value}}, "hyper_parameters: 'most_atoms'")
            for value in ("many", -3, 0, 2.5, math.nan, [21], True, 2**70, {"a": 1})
        ),
        *(
            ({"references": GOOD | {"O": value}}, "hyper_parameters: 'references.O'")
            for value in ("low", None, math.nan, math.inf, [1.0], True, 1e300, -(2**40), {})
        ),
        *(
            ({"references": value}, "do not give an energy for each element")
            for value in ("GFN2-xTB", [1, 2, 3, 4], 5, {}, {"H": -13.0}, True, pathlib.Path("a"))
        ),
        *(
            ({"level_of_theory": value}, "hyper_parameters: 'level_of_theory'")
            for value in (5, ["B3LYP"], {"a": 1}, True, 1.5, "x" * 1000, "B3LYP\x1b[2J", "a\nb")
        ),
    ],
)
def test_claims_of_the_training_that_cannot_be(tmp_path, capsys, hyper, message):
    weights = under("potential.", state("MomentNet"))
    path = foreign(tmp_path / "a.ckpt", "MomentNet", weights, hyper=hyper)
    said = refusals(path, capsys)
    assert message in said
    assert said.isprintable()


@pytest.mark.parametrize("text", ["1e999", "9" * 4000, "NaN", '"low"', "null", "{}"])
def test_the_same_in_our_own_format(tmp_path, text):
    """JSON in a header, with numbers that no float holds."""
    from safetensors.torch import save_file

    path = tmp_path / "a.safetensors"
    told = {
        "format": "horm_calc 1",
        "config": '{"name": "MomentNet", "cutoff": 6.0}',
        "metadata": f'{{"references": {{"H": 1, "C": 1, "N": 1, "O": {text}}}}}',
    }
    save_file(state("MomentNet"), path, told)
    with pytest.raises(CheckpointError, match=r"'references\.O'"):
        load_potential(path)
    told |= {"metadata": "{}", "config": f'{{"name": "MomentNet", "cutoff": {text}}}'}
    save_file(state("MomentNet"), path, told)
    with pytest.raises(CheckpointError, match="'cutoff'"):
        load_potential(path)


@pytest.mark.parametrize(
    ("hyper", "told"),
    [
        ({"energy_unit": "hartree"}, "'energy_unit' is 'hartree', and is not applied"),
        ({"units": "kcal/mol"}, "'units' is 'kcal/mol', and is not applied"),
        ({"scale": 2.5}, "'scale' is 2.5, and is not applied"),
        ({"energy_mean": -3.0}, "'energy_mean' is -3.0, and is not applied"),
        ({"normalizer": {"mean": 0.1, "std": 2.0}}, "'normalizer' is {"),
        ({"units": "eV", "scale": 1.0, "shift": 0, "energy_std": None}, ""),
        ({"lr_scale": 2.0, "scaler_config": {"a": 1}}, ""),
    ],
)
def test_scales_and_units_that_are_not_applied(tmp_path, hyper, told):
    """Of trainings on normalised energies: the network alone gives other numbers."""
    [*concerns] = read(
        foreign(tmp_path / "a.ckpt", "MomentNet", state("MomentNet"), hyper=hyper)
    ).concerns
    assert len(concerns) == bool(told) and told in "".join(concerns)


@pytest.mark.parametrize("level", ["B3LYP/6-31G(d)", "PBE", "GFN2-xTB", "MP2", "CCSD(T)"])
def test_energies_of_atoms_that_are_not_told(tmp_path, level):
    weights = under("potential.", state("MomentNet"))
    path = foreign(tmp_path / "a.ckpt", "MomentNet", weights, hyper={"level_of_theory": level})
    with pytest.warns(CheckpointConcern, match="total energies are not those of"):
        assert load_potential(path).level_of_theory == level
    told = {"level_of_theory": level, "references": GOOD}
    found = load_potential(foreign(path, "MomentNet", weights, hyper=told))
    assert found.references == {1: -13.0, 6: -1000.0, 7: -1500.0, 8: -2000.0}


# --- numbers of other types, and memory ---


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64, torch.uint16, torch.uint32),
        *(torch.uint64, torch.float8_e4m3fnuz),
    ],
)
def test_types_that_are_not_computed_with(tmp_path, capsys, dtype):
    weights = state("MomentNet")
    weights["inner.bias"] = torch.ones(8).to(dtype)
    path = tmp_path / "a.safetensors"
    save(path, weights, CONFIGS["MomentNet"], {})
    said = refusals(path, capsys)
    assert f"1 tensors of type {dtype}".replace("torch.", "") in said
    assert "Convert them to float32 first." in said
    foreign(tmp_path / "b.ckpt", "MomentNet", under("potential.", weights))
    refusals(tmp_path / "b.ckpt", capsys)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_that_are(tmp_path, dtype, expected):
    weights = {key: value.to(dtype) for key, value in state("MomentNet").items()}
    path = foreign(tmp_path / "a.ckpt", "MomentNet", under("potential.", weights))
    assert energy(path) == pytest.approx(expected["MomentNet"], abs=0.5)


def views(path: Path) -> None:
    """A thousand small tensors, each of which lies in the same large storage."""
    one = torch.ones(1_000_000)
    foreign(path, "MomentNet", {f"potential.a{i}": one[i : i + 1] for i in range(1000)})


def wide(path: Path) -> None:
    """Names and shapes of a network of 40 GB, in a file of 3 MB."""
    shapes = {"model.embedding.weight": (100_000, 8), "model.radial_lin.0.weight": (10, 10)}
    weights = {key: torch.zeros(shape) for key, shape in shapes.items()}
    foreign(path, "LEFTNet", under("potential.", weights))


def deep(path: Path) -> None:
    """As many layers as there are tensors, all empty."""
    names = [f"potential.layers.{i}.of_scalars.weight" for i in range(2000)]
    foreign(path, "MomentNet", {name: torch.zeros(0) for name in names})


def told_often(path: Path) -> None:
    """One long text, to which the settings refer again and again."""
    text = "x" * 9000
    weights = under("potential.", state("MomentNet"))
    foreign(path, "MomentNet", weights, hyper={"told": [text] * 90_000})


def nested(path: Path) -> None:
    """Lists in lists in lists, each of which is the one before, twice."""
    told: list[Any] = []
    for _ in range(40):
        told = [told, told]
    foreign(path, "MomentNet", under("potential.", state("MomentNet")), hyper={"told": told})


def objects(path: Path) -> None:
    """A million empty lists and more."""
    foreign(path, "MomentNet", under("potential.", state("MomentNet")))
    inject(path, b"](" + b"]" * 1_100_000 + b"e")


def test_memory_is_that_of_the_file(tmp_path):
    """Where some MB could claim gigabytes; in a process of its own, which shows what it took."""
    bombs: tuple[Callable[[Path], None], ...] = (views, wide, deep, told_often, nested, objects)
    paths = [tmp_path / f"{bomb.__name__}.ckpt" for bomb in bombs]
    for bomb, path in zip(bombs, paths, strict=True):
        bomb(path)
    code = (
        "import resource, sys, torch\n"
        "import horm_calc.models.momentnet.network, horm_calc.models.leftnet.network\n"
        "from horm_calc.checkpoints.files import CheckpointError, load_network, read\n"
        "for path in sys.argv[1:]:\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    try: load_network(read(path), torch.float32)\n"
        "    except CheckpointError as error: print(str(error)[:300])\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(paths)
    for path, said, kilobytes in zip(paths, lines[::2], lines[1::2], strict=True):
        assert said.startswith(f"{path}: ")
        assert int(kilobytes) < 150_000, path


def test_weights_that_share_memory_are_read_right(tmp_path, expected):
    """As tied weights do: views of one storage, and the same tensor under two names."""
    flat = torch.cat([value.flatten() for value in state("MomentNet").values()])
    weights, start = {}, 0
    for key, value in state("MomentNet").items():
        weights[f"potential.{key}"] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    path = foreign(tmp_path / "a.ckpt", "MomentNet", weights)
    assert energy(path) == expected["MomentNet"]
    assert copy.deepcopy(read(path).state).keys() == state("MomentNet").keys()
