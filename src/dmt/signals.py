"""Leaving in good order: a signal lets the step at hand be finished and written down; the same again leaves at once.

A signal is a process's own affair, and so is what is noted here. Whoever works in long loops asks `stop_requested`
between two pieces of work that can be done again; outside of `orderly_stop` nothing is ever requested.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from dmt.errors import StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What asks for a stop everywhere: Ctrl-C, and the polite way to end a process."""

SECONDS_TO_FINISH = 60
"""From a SIGTERM on, until a worker ends: time enough for its parent to write a checkpoint."""

_received: list[int] = []


@contextmanager
def orderly_stop(extra: Sequence[signal.Signals] = ()) -> Iterator[None]:
    """Within, signals are noted instead of ending the process; Slurm's warning signal, say, comes in `extra`.

    Python delivers signals to the main thread only: in any other one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _note) for number in (*SIGNALS, *extra)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def stop_requested() -> bool:
    """Whether a signal came in."""
    return bool(_received)


def stop(done: str) -> StoppedError:
    """The error to leave with, once what is `done` has been written down."""
    number = _received[0] if _received else signal.SIGTERM  # in another process of the same run
    return StoppedError(f"Stopped by {signal.Signals(number).name}; {done}.", exit_status=_exit_status(number))


def leave_signals_to_parent(_worker: int) -> None:
    """For worker processes: signals often reach all processes at once, but a parent needs its workers to finish.

    A worker ignores them, but for SIGTERM, which may also come from its parent: it ends some time after that.
    """
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM}:
        if number == signal.SIGINT or signal.getsignal(number) is _note:
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(SECONDS_TO_FINISH) and None)


def _note(number: int, frame: FrameType | None) -> None:
    del frame
    name = signal.Signals(number).name
    if number in _received:
        show_cursor = "\x1b[?25h" if os.isatty(1) else ""  # a bar of progress hid it
        _tell(f"{show_cursor}{name} again: leaving at once.\n")
        os._exit(_exit_status(number))  # not an exception: code that waits inside a library would not see it
    _received.append(number)
    _tell(f"\n{name}: finishing the step at hand; the same once more leaves at once.\n")


def _exit_status(number: int) -> int:
    """As shells have it for Ctrl-C; every other signal counts as SIGTERM."""
    return 128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)


def _tell(text: str) -> None:
    """Straight to standard error: a handler may interrupt whoever holds its buffer."""
    with contextlib.suppress(OSError):  # whoever read it may have got the same signal
        os.write(2, text.encode())
