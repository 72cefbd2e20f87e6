"""Settings: checked when made, and the same from Python, YAML and flags."""

from __future__ import annotations

import dataclasses

import pytest

from horm_calc.configuration import SettingsError, to_mapping
from tests.places import REPOSITORY
from workflows.settings import SearchSettings, from_mapping, stage_types

DOCS = REPOSITORY / "docs" / "reference" / "settings.md"


def test_round_trip() -> None:
    settings = from_mapping({"path": {"method": "neb", "images": 9}, "attempts": 1})
    assert from_mapping(to_mapping(settings)) == settings
    assert settings.saddle == SearchSettings().saddle


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pth": {}}, "unknown setting 'pth'; did you mean 'path'"),
        ({"path": {"image": 5}}, r"'path\.image'; did you mean 'path\.images'"),
        ({"path": {"zzz": 5}}, "known: method, images"),
        ({"path": 5}, "needs settings below it"),
        ({"path": {"method": "spline"}}, "it can be string, geodesic, gsm, neb"),
        ({"path": {"images": 2.5}}, "whole number"),
        ({"path": {"images": 0}}, "at least 1"),
        ({"path": {"images": True}}, "number"),
        ({"saddle": {"max_force": -0.1}}, r"'saddle\.max_force'"),
        ({"saddle": {"max_force": "tight"}}, "needs a number"),
        ({"saddle": {"max_force": float("nan")}}, r"'saddle\.max_force'"),
        ({"irc": {"wall_time": float("inf")}}, r"'irc\.wall_time' is inf; it must be finite"),
    ],
)
def test_wrong_settings(values: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_mapping(values)


def test_settings_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SearchSettings().path.images = 3  # type: ignore[misc]


def test_every_setting_is_documented() -> None:
    text = DOCS.read_text("utf-8")
    for stage, kind in stage_types().items():
        for spec in dataclasses.fields(kind):
            assert spec.metadata["doc"]
            row = f"| `{stage}.{spec.name}` | `{spec.default}` | {spec.metadata['doc']} |"
            assert row in text, f"docs/reference/settings.md is not up to date: {row}"
