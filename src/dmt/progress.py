"""Observers that need no terminal."""

from typing import TextIO


class Silent:
    """An observer that keeps everything to itself."""

    def run_started(self, folder: str, num_stages: int) -> None:
        """Ignored."""

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        """Ignored."""

    def task_advanced(self, done: int, note: str = "") -> None:
        """Ignored."""

    def task_finished(self) -> None:
        """Ignored."""

    def stage_finished(self, title: str, note: str) -> None:
        """Ignored."""

    def message(self, text: str) -> None:
        """Ignored."""


class Lines(Silent):
    """An observer that writes a line for each stage that is done, and every message, to a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def stage_finished(self, title: str, note: str) -> None:
        """A line."""
        self._stream.write(f"[dmt] {title}: {note}\n")

    def message(self, text: str) -> None:
        """A line."""
        self._stream.write(f"[dmt] {text}\n")
