"""What all commands of this package have in common."""

from __future__ import annotations

import argparse


def parser_of(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser that shows description and epilog as they are, and takes no abbreviations."""
    return argparse.ArgumentParser(
        command,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
