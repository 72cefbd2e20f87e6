"""The names of what a search goes through, wherever they are said, stored or compared."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a search is, or where it ended; in the order in which a search comes to them."""

    INPUT = "input"
    #: Where ends are made: conformers relaxed, a product driven.
    PREPARATION = "preparation"
    ENDPOINTS = "endpoints"
    PATH = "path"
    SADDLE = "saddle"
    IRC = "irc"
    IRC_ENDS = "irc ends"
    LOWER_PATH = "lower path"
    THERMOCHEMISTRY = "thermochemistry"
    SEPARATED = "separated molecules"
    #: Every stage has come to its end.
    VERDICT = "verdict"
    VERIFICATION = "verification"
    #: The process that searches has broken, which says nothing about the reaction.
    WORKER = "worker"


#: Those of a search that call the calculator, and so have a cost.
COSTED = (
    Stage.PREPARATION,
    Stage.ENDPOINTS,
    Stage.PATH,
    Stage.SADDLE,
    Stage.IRC,
    Stage.IRC_ENDS,
    Stage.LOWER_PATH,
    Stage.THERMOCHEMISTRY,
    Stage.SEPARATED,
)
