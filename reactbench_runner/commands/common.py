"""What the commands that work on a finished run share."""

from __future__ import annotations

import sys
from collections.abc import Callable

from horm_calc.configuration import SettingsError
from workflows.errors import InputError, WorkflowError


def exit_code(name: str, work: Callable[[], int]) -> int:
    """What `work` returns; 2 for wrong input and 1 for what went wrong, told in the command's name.

    That nobody reads the output any more (`| head`) is for `entry_point` to end without a word.
    """
    try:
        return work()
    except BrokenPipeError:
        raise
    except (InputError, SettingsError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except (WorkflowError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
