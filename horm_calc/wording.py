"""Numbers in the sentences that commands print."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """'1 frame', '2,000 frames'; nouns of which the plural ends with s."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def spread(low: int, high: int) -> str:
    """'2' where both are equal, else '2 to 5'."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
