"""The root of every error and warning of this project, and the tree that grows from it.

One ``except HormError`` catches whatever `horm_calc`, `workflows` and `reactbench_runner` refuse
or give up on purpose. In brackets: the class of Python or of ASE that an error also is.
Those marked as internal are caught before they reach a caller.

Errors::

    * HormError
      * AmbiguousRows (ValueError), internal
      * ArchitectureMismatch (ValueError)
      * CheckpointError (ValueError)
      * CheckpointNotFound (FileNotFoundError)
      * DataError (ValueError)
      * DatabaseError (OSError)
        * DamagedDatabase
      * Malformed (ValueError), internal
      * NoRule (NotImplementedError, AttributeError), internal
      * NoSuchDevice (ValueError)
      * NotLabelled (RuntimeError)
      * SCFFailed (CalculationFailed)
      * SettingsError (ValueError)
      * SmilesError (ValueError), internal
      * SplitError (ValueError)
      * ThermochemistryError (ValueError)
      * UnclearElectrons (ValueError)
      * UnknownSolvent (ValueError)
      * UnsupportedInput (ValueError)
      * UnusableFile, internal
      * WorkflowError
        * InputError (ValueError)
        * NoKinetics, internal
        * OtherVersions
        * StageError
          * CalculatorFailed
          * IRCFailed
          * NotConverged
          * StageTimeout
        * StorageError
        * WorkersLost

Warnings::

    * HormWarning (UserWarning)
      * CheckpointConcern
      * OutsideTrainingDomain
      * RowByRow
      * SharedFrames
      * WorseThanStart
"""

from __future__ import annotations


class HormError(Exception):
    """Base of every error that this project raises on purpose."""


class HormWarning(UserWarning):
    """Base of every warning that this project gives."""
