"""Observers that need no terminal."""


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
