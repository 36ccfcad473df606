"""The live table of `martlet run`, as a terminal of some width shows it."""

import io

import pytest
from rich.console import Console

from apps.cli.board import Board
from tasks.watch import Event

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
    assert "0.0 s" in times["train"]
