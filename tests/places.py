"""Where things lie that several tests read."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
EXAMPLES = REPOSITORY / "examples"
STRUCTURES = EXAMPLES / "xyz"
GOLDENS = REPOSITORY / "tests" / "goldens"

#: Reactions, labels, reference values and awkward inputs; not part of the repository. Tests that
#: need it are skipped where it is missing.
SHARED = REPOSITORY.parent / "shared"
