"""Moves that are killed at random points, and moves that race."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from components.registry import promote
from tests.components.registry.conftest import some

ROOT = Path(__file__).parents[3]


def ran(program: str, workspace: Path, name: str, count: int) -> Any:
    words = [sys.executable, "-m", "tests.components.registry.forks", program, workspace, name, str(count)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture
def four(name: str, workspace: Path, tmp_path: Path) -> str:
    some(name, workspace, tmp_path, 4)
    promote(name, 1, workspace, "first", over=None)
    return name


@pytest.mark.parametrize("count", [5, pytest.param(51, marks=pytest.mark.slow)])
def test_a_kill_at_any_point_leaves_no_half_move_and_no_lost_line(four: str, workspace: Path, count: int) -> None:
    seen = ran("kills", workspace, four, count)
    print(seen)
    assert seen["kills"] == count - 1 and seen["lines"] > 1
    wrong = ("half-moved aliases", "lost lines", "faults after the next command")
    assert {fault: seen[fault] for fault in wrong} == dict.fromkeys(wrong, 0)


def test_moves_of_four_processes_make_one_line(four: str, workspace: Path) -> None:
    seen = ran("race", workspace, four, 20)
    assert len(seen["journal"]) == 21 and set(seen["journal"][1:]) == set(seen["made"])
    assert all(earlier[1] == later[0] for earlier, later in pairwise(seen["changes"]))
    assert seen["faults"] == []
