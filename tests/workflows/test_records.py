"""Records: their fields are named, and they pass between processes."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import numpy as np
import pytest

from tests.reactbench_runner.stored import searched, verified
from workflows.records import (
    IRC,
    Minimum,
    ReactionPath,
    Saddle,
    SeparatedMolecule,
    StringPath,
    Verification,
)


@pytest.mark.parametrize(
    ("record", "unnamed"),
    [
        (Minimum, ["atoms"]),
        (ReactionPath, ["images", "energies"]),
        (StringPath, ["images", "energies"]),
        (Saddle, ["atoms"]),
        (IRC, ["images", "energies"]),
        (Verification, ["saddle"]),
        (SeparatedMolecule, ["minimum"]),
    ],
)
def test_all_but_the_first_fields_are_named(record: Any, unnamed: list[str]) -> None:
    """So that two floats or two ends cannot change places unseen."""
    assert [one.name for one in dataclasses.fields(record) if not one.kw_only] == unnamed
    with pytest.raises(TypeError, match="positional argument"):
        record(*range(len(unnamed) + 1))


def test_a_result_passes_between_processes() -> None:
    result = verified(searched())
    copy = pickle.loads(pickle.dumps(result))
    assert copy.reactant.energy == result.reactant.energy
    assert copy.verification.rmsd == result.verification.rmsd
    assert copy.irc.arrived == (True, True)
    np.testing.assert_array_equal(copy.saddle.hessian, result.saddle.hessian)
    string = StringPath(copy.path.images, copy.path.energies, method="string", converged=True)
    known = pickle.loads(pickle.dumps(dataclasses.replace(string, ceiling=-146.5)))
    assert (known.ceiling, known.method) == (-146.5, "string")
