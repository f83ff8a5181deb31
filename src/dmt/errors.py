"""What can go wrong, by who can mend it.

Every message is one or two sentences: what was found, where (file or dotted key), what is allowed, how to mend it.
"""

WORKER_ENDED = "DataLoader worker (pid"
"""Torch's words of a process that was killed; of an error in the images' own code they are "... process 0"."""


class DMTError(Exception):
    """Something the user can mend; the command line prints it without a traceback and leaves with `exit_status`."""

    exit_status = 2


class ConfigError(DMTError, ValueError):
    """A config value, preset, key or name that cannot be used; may hold several errors, a line each."""


class DataError(DMTError, ValueError):
    """A data file or data set that is missing, broken, or does not hold what the config asks of it."""


class CheckpointError(DMTError, ValueError):
    """A file of weights or of a run folder that does not fit, is broken, or belongs to another run."""


class ExportError(DMTError):
    """A bundle or a file for other programs that cannot be written, or does not say what the network says."""


class PartlyDoneError(DMTError):
    """Some inputs could not be read, or some runs came to nothing; what was made of the others is there."""

    exit_status = 3


class RunFolderError(DMTError):
    """A run folder that is in use or already holds another run."""


class StoppedError(DMTError):
    """A run that a signal stopped, in good order: what was done is written down, and the same command goes on."""

    def __init__(self, message: str, *, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


class NonFiniteError(DMTError, ArithmeticError):
    """Training met NaN or infinite values; the last good checkpoint is kept and the run can be resumed."""

    exit_status = 4


class ShortageError(DMTError):
    """The machine ran out of something; the run can be resumed once there is more of it."""

    exit_status = 4


def first_line(error: BaseException) -> str:
    """The first line of an error's text, for quoting inside a message of one sentence."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
