import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import MartletError
from components.registry import Version, champion, history, promote, renew_challenger, rollback
from components.registry.entries import APPLIED, Entry, champions
from components.registry.journal import WHY_LENGTH
from components.registry.store import connected
from tests.components.registry.conftest import some


def aliases(name: str, workspace: Path) -> dict[str, int]:
    with connected(workspace) as client:
        return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}


def crown(name: str, workspace: Path, *numbers: int) -> None:
    for number in numbers:
        now = champion(name, workspace)
        promote(name, number, workspace, f"test {number}", over=now.number if now else None)


def moves(name: str, workspace: Path) -> list[tuple[str, int | None, int | None]]:
    return [(entry.action, entry.version, entry.previous) for entry in history(name, workspace)]


def test_promotions_and_a_rollback_move_the_aliases_and_are_journalled(
    name: str, workspace: Path, tmp_path: Path
) -> None:
    first, second = some(name, workspace, tmp_path, 2)
    assert (champion(name, workspace), history(name, workspace)) == (None, [])
    renew_challenger(name, workspace)
    assert aliases(name, workspace) == {"challenger": 2}
    crown(name, workspace, 1, 2)
    assert aliases(name, workspace) == {"champion": 2, "previous": 1}
    entry = rollback(name, workspace, why="answers in the wrong language")
    assert aliases(name, workspace) == {"champion": 1}
    assert champion(name, workspace) == first
    assert moves(name, workspace) == [("promote", 1, None), ("promote", 2, 1), ("rollback", 1, None)]
    assert entry == history(name, workspace)[-1]
    assert entry.why == "answers in the wrong language"
    assert second.number == 2


def test_rolling_back_twice_walks_back_and_then_there_is_nothing(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 3)
    crown(name, workspace, 1, 2, 3)
    assert (rollback(name, workspace).version, rollback(name, workspace).version) == (2, 1)
    with pytest.raises(MartletError, match=f"nothing to roll back to: {name} has no champion before version 1"):
        rollback(name, workspace)
    assert aliases(name, workspace) == {"champion": 1}


def test_rolling_back_to_a_version(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 4)
    crown(name, workspace, 1, 2, 3)
    with pytest.raises(MartletError, match=f"version 4 of {name} is no former champion; former champions: 1, 2"):
        rollback(name, workspace, to=4)
    assert rollback(name, workspace, to=1).previous is None
    assert rollback(name, workspace, to=3).previous == 1  # the way back from a rollback
    assert aliases(name, workspace) == {"champion": 3, "previous": 1}


def test_nothing_was_ever_promoted(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 1)
    with pytest.raises(MartletError, match="no champion before none"):
        rollback(name, workspace)


def test_promoting_the_champion_changes_nothing(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 1)
    crown(name, workspace, 1)
    assert promote(name, 1, workspace, "again", over=1) is None
    assert len(history(name, workspace)) == 1


def test_a_verdict_against_a_former_champion_no_longer_holds(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 3)
    crown(name, workspace, 1, 2)
    with pytest.raises(MartletError, match="changed from version 1 to version 2 since version 3 was judged"):
        promote(name, 3, workspace, "passed", over=1)
    assert aliases(name, workspace) == {"champion": 2, "previous": 1}


def test_an_alias_moved_by_hand_is_entered_and_respected(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 3)
    crown(name, workspace, 1, 2)
    with connected(workspace) as client:
        client.set_registered_model_alias(name, "champion", "3")
    now = champion(name, workspace)
    assert now and now.number == 3
    assert moves(name, workspace)[-1] == ("outside", 3, 1)
    assert rollback(name, workspace).version == 2


def test_a_deleted_version_is_stepped_over(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 3)
    crown(name, workspace, 1, 2, 3)
    with connected(workspace) as client:
        client.delete_model_version(name, "2")
    assert rollback(name, workspace).version == 1


def test_a_deleted_champion_leaves_none_and_rollback_finds_the_last(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 2)
    crown(name, workspace, 1, 2)
    with connected(workspace) as client:
        client.delete_model_version(name, "2")
    assert champion(name, workspace) is None
    assert rollback(name, workspace).version == 1


def test_a_long_reason_is_cut_to_what_mlflow_keeps(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 1)
    promote(name, 1, workspace, "因" * 9000, over=None)
    assert history(name, workspace)[0].why == "因" * WHY_LENGTH


WRITES = ("set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_alias")


class Killed(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize(
    ("writes", "after"),
    [(0, 1), (1, 2), (2, 2), (3, 2), (4, 2)],
    ids=["before the journal", "after the journal", "challenger gone", "previous set", "champion set"],
)
def test_a_promotion_cut_short_between_two_writes_is_finished_or_absent(
    writes: int, after: int, name: str, workspace: Path, tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    some(name, workspace, tmp_path, 2)
    crown(name, workspace, 1)
    renew_challenger(name, workspace)
    left = [writes]

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return write(*arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for write in WRITES:
            patch.setattr(MlflowClient, write, dying(getattr(MlflowClient, write)))
        with pytest.raises(Killed):
            promote(name, 2, workspace, "half done", over=1)
    check_that_it_heals(name, workspace, after)


def check_that_it_heals(name: str, workspace: Path, after: int) -> None:
    now = champion(name, workspace)
    assert now and now.number == after
    whole = {"champion": 1, "challenger": 2} if after == 1 else {"champion": 2, "previous": 1}
    assert aliases(name, workspace) == whole
    with connected(workspace) as client:
        assert client.get_registered_model(name).tags[APPLIED] == f"martlet.journal.00000{after}"
    assert len(history(name, workspace)) == after
    assert rollback(name, workspace).version == 1 if after == 2 else promote(name, 2, workspace, "again", over=1)


def test_a_process_killed_in_mid_promotion_leaves_no_lock_and_is_healed(
    name: str, workspace: Path, tmp_path: Path
) -> None:
    code = """
import os, sys
from pathlib import Path
from mlflow import MlflowClient
from components.registry import promote

MlflowClient.set_registered_model_alias = lambda *_: os.kill(os.getpid(), 9)
promote(sys.argv[1], 2, Path(sys.argv[2]), "half done", over=1)
"""
    some(name, workspace, tmp_path, 2)
    crown(name, workspace, 1)
    assert subprocess.run([sys.executable, "-c", code, name, str(workspace)]).returncode == -9
    check_that_it_heals(name, workspace, after=2)


def test_a_tampered_champion_is_not_rolled_back_to(name: str, workspace: Path, tmp_path: Path) -> None:
    first, _ = some(name, workspace, tmp_path, 2)
    crown(name, workspace, 1, 2)
    (first.folder / "model.safetensors").write_text("tampered")
    with pytest.raises(MartletError, match="have changed"):
        rollback(name, workspace)
    assert aliases(name, workspace) == {"champion": 2, "previous": 1}


@pytest.fixture(scope="module")
def five(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Version]:
    return some("walked", workspace, tmp_path_factory.mktemp("walked"), 5)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.integers(1, 5), st.just("back")), max_size=8))
def test_any_walk_of_promotions_and_rollbacks_is_a_stack(
    five: list[Version], workspace: Path, walk: list[int | str]
) -> None:
    """The model: promote pushes, rollback pops. The walk goes on from wherever the last one ended."""
    stack = champions(history("walked", workspace))
    for move in walk:
        if move == "back" and len(stack) < 2:
            with pytest.raises(MartletError, match="nothing to roll back to"):
                rollback("walked", workspace)
        elif move == "back":
            stack.pop()
            rollback("walked", workspace)
        else:
            over = stack[-1] if stack else None
            assert (promote("walked", int(move), workspace, "walk", over) is None) == (move == over)
            stack += [int(move)] if move != over else []
        now = aliases("walked", workspace) if stack else {}
        assert now.get("champion") == (stack[-1] if stack else None)
        assert now.get("previous") == (stack[-2] if len(stack) > 1 else None)


@given(st.lists(st.tuples(st.sampled_from(["promote", "rollback", "outside"]), st.integers(1, 4)), max_size=12))
def test_the_line_ends_with_the_last_version_and_holds_no_neighbours_twice(walk: list[tuple[str, int]]) -> None:
    entries = [Entry(n, action, version, None, "", "", "", "") for n, (action, version) in enumerate(walk)]
    line = champions(entries)
    assert line[-1:] == [version for _, version in walk[-1:]]
    assert all(one != other for one, other in pairwise(line))
