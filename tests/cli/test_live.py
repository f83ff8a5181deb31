"""What a terminal, and a log file, show of a run."""

import io
from typing import Any

import pytest
from rich.console import Console

from dmt.cli import live
from dmt.cli.live import LiveView, result_table


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, highlight=False)


def text_of(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def work(view: LiveView) -> None:
    with view:
        view.run_started("runs/[mine]", 2)
        view.task_started("round 1, network a", 100, 20)
        view.task_advanced(60, "loss 0.5")
        view.task_finished()
        view.stage_finished("round 1, network a", "100 steps, test 95.0 %")
        view.message("a [b] c")


def test_a_terminal_gets_bars_and_a_line_for_each_stage() -> None:
    screen = console(terminal=True)
    view = LiveView(screen)
    work(view)
    shown = text_of(screen)
    for words in ("runs/[mine]", "all stages", "100 steps, test 95.0 %", "a [b] c"):
        assert words in shown
    assert view._progress.tasks[1].completed == 60
    assert view._progress.tasks[0].completed == 1


def test_a_log_file_gets_lines_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SECONDS_BETWEEN_LINES", 0.0)
    screen = console(terminal=False)
    work(LiveView(screen))
    shown = text_of(screen)
    assert "round 1, network a: 60 of 100, " in shown
    assert "s left" in shown
    assert "\x1b" not in shown


def result(**changes: Any) -> dict[str, Any]:
    first = {"round": 0, "network": "a", "top_fraction": None, "num_pseudo_labels": 0, "accuracy": 80.0}
    first["folder"] = "supervised"
    second = {"round": 1, "network": "a", "top_fraction": 0.2, "num_pseudo_labels": 1234, "accuracy": 90.0}
    second["folder"] = "rounds/1/a"
    values = {
        "task": "classification",
        "dataset": "digits",
        "method": "dmt",
        "num_labeled": 20,
        "rounds": [first, second],
    }
    return values | {"picked": {"what": "round 1, network a"}, "final": {"accuracy": 90.0}} | changes


def test_the_table_leaves_out_what_is_not_known() -> None:
    screen = console(terminal=False)
    screen.print(result_table(result()))
    shown = text_of(screen)
    for words in ("supervised", "round 1, network a", "20%", "1,234", "90.0 %", "final: round 1, network a"):
        assert words in shown
    assert "validation" not in shown
    assert "of them right" not in shown
    screen.print(result_table(result(ensemble={"accuracy": 91.0})))
    assert "ensemble of the last round" in text_of(screen)
