"""The errors that a user can cause or meet, one tree.

    AmtlError                  base: the command line prints it as one line and exits 1
    ├── ParamsError            params.yaml or an option: the key's full name, what is allowed
    ├── DataError              events: a file, a column, a day; nothing is trained from them
    │   └── ValidationError    the data were read and judged bad
    ├── ArtifactError          a bundle, a state or a stage's output is missing, damaged or of another format
    ├── BudgetError            a byte budget that no table can meet
    ├── RegistryError          MLflow: a version, an alias or a source that is not as it must be
    ├── StageError             a stage of dvc.yaml failed; carries the stage's own message
    └── WorkspaceError         the folder: locked by another run, not a workspace, not set up

A message says what is wrong, where, and what to do.
"""


class AmtlError(Exception):
    """Base of all errors that are reported in one line, without a traceback."""


class ParamsError(AmtlError):
    """A key of params.yaml, or an option, is unknown, missing or out of range."""


class DataError(AmtlError):
    """Events cannot be read or do not fit the declared schema."""


class ValidationError(DataError):
    """Events were read and judged unfit for training."""


class ArtifactError(AmtlError):
    """A bundle, a state or a stage output is missing, damaged or of an unknown format."""


class BudgetError(AmtlError):
    """The byte budget cannot be met."""


class RegistryError(AmtlError):
    """The model registry is not in the state that the operation needs."""


class StageError(AmtlError):
    """A stage of dvc.yaml failed."""


class WorkspaceError(AmtlError):
    """The workspace is locked, missing or not set up."""
