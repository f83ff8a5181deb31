import os
import signal
import subprocess
import sys
import threading

import pytest

from dmt.errors import StoppedError
from dmt.signals import orderly_stop, stop, stop_requested


def test_nothing_is_requested_outside() -> None:
    assert not stop_requested()
    with orderly_stop():
        assert not stop_requested()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_a_signal_is_noted_and_its_handler_put_back(
    number: signal.Signals, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with orderly_stop([signal.SIGUSR1]):
        os.kill(os.getpid(), number)
        assert stop_requested()
        error = stop("3 steps are written down")
        assert isinstance(error, StoppedError)
        assert error.exit_status == status
        assert str(error) == f"Stopped by {number.name}; 3 steps are written down."
    assert signal.getsignal(number) is before
    assert not stop_requested()
    assert f"{number.name}: finishing the step at hand" in capfd.readouterr().err


def test_another_thread_changes_nothing() -> None:
    found: list[object] = []

    def work() -> None:
        with orderly_stop():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


SECOND = """
import os, signal
from dmt.signals import orderly_stop
with orderly_stop():
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
    print("another one is no hurry", flush=True)
    os.kill(os.getpid(), signal.SIGINT)
print("never")
"""


def test_the_same_signal_leaves_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "another one is no hurry\n")
    assert "SIGINT again: leaving at once." in done.stderr


WORKER = """
import os, signal, time
from dmt import signals
signals.SECONDS_TO_FINISH = 1
with signals.orderly_stop([signal.SIGUSR1]):
    signals.leave_signals_to_parent(0)
    for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGTERM):
        os.kill(os.getpid(), number)
    print("still here", flush=True)
    time.sleep(20)
    print("never")
"""


def test_workers_outlive_signals_to_all_processes_and_end_some_time_after_sigterm() -> None:
    done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGALRM, "still here\n")
