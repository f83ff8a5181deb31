"""Observers that need no terminal."""

from dmt.types import Stage


class Silent:
    """An observer that keeps everything to itself."""

    def run_started(self, plan: tuple[Stage, ...], folder: str) -> None:
        """Ignored."""

    def task_started(self, title: str, total: int, done: int = 0) -> None:
        """Ignored."""

    def task_advanced(self, done: int, note: str = "") -> None:
        """Ignored."""

    def task_finished(self, note: str = "") -> None:
        """Ignored."""

    def message(self, text: str) -> None:
        """Ignored."""
