"""What ends a whole run, beside an `InputError`: not one reaction, but the rest of them."""

from __future__ import annotations

from workflows.errors import WorkflowError


class StorageError(WorkflowError):
    """Results cannot be written."""


class WorkersLost(WorkflowError):
    """Nobody is left, or can be started, who could search."""


class OtherVersions(WorkflowError):
    """A worker would find something else than this process."""
