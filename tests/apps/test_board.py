"""The live table of `martlet run`, as a terminal of some width shows it."""

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from apps.cli import board as board_module
from apps.cli.board import Board
from tasks.watch import Event, State
from tests.flows.toy import until

REASON = "params.yaml: train.learning_rate 0.004 → 0.002; " * 8
EVENTS = [
    Event("fetch", "reused", "nothing changed", 0.1),
    Event("quantize@bnb-int8", "ran", REASON, 1234.5),
    Event("train", "running", REASON),
    Event("merge", "waiting", REASON + "\nand a second line"),
]


def shown(width: int, events: list[Event]) -> list[str]:
    board = Board()
    board.console = Console(width=width, file=io.StringIO(), record=True)
    for event in events:
        board(event)
    board.console.print(board._table())  # pyright: ignore[reportPrivateUsage]
    return board.console.export_text().splitlines()[-len(events) :]


@pytest.mark.parametrize("width", [80, 100, 140])
@pytest.mark.parametrize("events", [EVENTS, EVENTS[2:]], ids=["long names", "short names"])
def test_a_long_reason_is_cut_and_takes_no_room_from_other_columns(width: int, events: list[Event]) -> None:
    lines = shown(width, events)
    assert len(lines) == len(events)
    for line, event in zip(lines, events, strict=True):
        words = line.split()
        assert words[:2] == [event.stage, event.state]
        assert len(line) <= width
        if event.text.startswith(REASON):
            assert line.rstrip().endswith("…")
            assert "learning_rate" in line
    times = {event.stage: line for line, event in zip(lines, events, strict=True)}
    assert "1234.5 s" in times.get("quantize@bnb-int8", "1234.5 s")
    assert re.search(r" \d\.\d s ", times["train"])


def test_without_a_terminal_a_running_stage_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_module, "PLAIN_INTERVAL_S", 0.01)
    lines = [{"candidate": "merged", "step": 7, "total_steps": 9, "loss": 0.5}, {"step": 7, "rollouts": []}]
    (tmp_path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    board = Board()
    board.console = Console(width=100, file=(screen := io.StringIO()))
    with board:
        board(Event("train", "running", "its data changed", log=tmp_path))
        until(lambda: "merged: step 7/9  loss 0.5000" in screen.getvalue(), 20)
        (tmp_path / "progress.jsonl").unlink()
        until(lambda: screen.getvalue().rstrip().endswith(" s"), 20)
    assert "train              running" in screen.getvalue().splitlines()[-1]
    assert screen.getvalue().count("its data changed") == 1


@pytest.mark.parametrize(
    ("state", "is_named"), [("waiting", False), ("failed", False), ("refused", True), ("ran", True)]
)
def test_a_data_report_is_named_if_this_run_stands_behind_it(tmp_path: Path, state: State, is_named: bool) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/data.html").write_text("of an earlier run, or of this one")
    board = Board()
    board.console = Console(width=100, file=(screen := io.StringIO()))
    board(Event("validate", state))
    board.show_links(tmp_path, "http://127.0.0.1:4200/api", "martlet")
    assert ("data report" in screen.getvalue()) == is_named


def test_after_a_refusal_the_verdict_is_the_first_page_and_a_run_that_did_not_begin_has_none(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "mlruns").mkdir()
    for file in ("reports/data.html", "reports/eval.html", "reports/gate.html", "mlruns/mlflow.db"):
        (tmp_path / file).touch()
    board = Board()
    board.console = Console(width=100, file=(screen := io.StringIO()))
    board.show_links(tmp_path, "http://127.0.0.1:4200/api", "martlet")
    assert screen.getvalue() == ""
    for event in (Event("validate", "ran"), Event("evaluate", "skipped"), Event("gate", "refused")):
        board(event)
    board.show_links(tmp_path, "http://127.0.0.1:4200/api", "martlet")
    names = [line.split()[:1] for line in screen.getvalue().splitlines() if line.startswith("  ")]
    assert names == [["verdict"], ["data"], ["runs"], ["flows"]]
    assert "mlflow ui" not in screen.getvalue() and "`martlet ui`" in screen.getvalue()
