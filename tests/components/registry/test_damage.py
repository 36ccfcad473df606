"""A journal or a database that something else has written to: one sentence, and nothing wrong in silence."""

import json
import os
import resource
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import MartletError
from components.registry import champion, history, promote, register, rollback
from components.registry.entries import APPLIED, JOURNAL
from components.registry.store import connected
from tests.components.registry.conftest import some, weights

GOOD = {"number": 2, "action": "promote", "version": 2, "previous": 1, "why": "w", "by": "b", "time": "t", "id": "i"}
LINES = [
    "", "{", "[]", "null", "7", '"text"', "not JSON", '{"number": 2}', "\x00\x01", json.dumps({**GOOD, "more": 1}),
    json.dumps({**GOOD, "version": "two"}), json.dumps({**GOOD, "version": [2]}), json.dumps({**GOOD, "number": 7}),
    json.dumps({**GOOD, "number": "2"}), json.dumps(GOOD)[:40], json.dumps([GOOD]),
    json.dumps({**GOOD, "previous": {}}),
]  # fmt: skip


def write(name: str, workspace: Path, number: int, line: str) -> None:
    with connected(workspace) as client:
        client.set_registered_model_tag(name, f"{JOURNAL}{number:06d}", line)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_line_of_the_journal_loses_its_move_and_no_more(
    name: str, workspace: Path, tmp_path: Path, number: int
) -> None:
    some(name, workspace, tmp_path, 4)
    for version in (1, 2, 3):
        promote(name, version, workspace, f"test {version}", over=version - 1 or None)
    for line in LINES if number == 2 else LINES[:3]:  # the others damage any line in the same way
        write(name, workspace, number, line)
        now = champion(name, workspace)
        assert now and now.number == 3
        assert [entry.number for entry in history(name, workspace) if entry.action == "damaged"] == [number]
        with pytest.raises(MartletError, match=rf"damaged in line {number}: .* return to with --to"):
            rollback(name, workspace)
    assert rollback(name, workspace, to=2).version == 2
    moved = promote(name, 4, workspace, "goes on", over=2)
    assert moved and moved.number == len(history(name, workspace))
    now = champion(name, workspace)
    assert now and now.number == 4


@pytest.mark.parametrize("numbers", [[1], [2], [3], [2, 3], [1, 2, 3]])
def test_a_missing_line_of_the_journal_leaves_the_champion_and_the_way_back_must_be_named(
    name: str, workspace: Path, tmp_path: Path, numbers: list[int]
) -> None:
    three_champions(name, workspace, tmp_path)
    with connected(workspace) as client:
        for number in numbers:
            client.delete_registered_model_tag(name, f"{JOURNAL}{number:06d}")
    assert champion_number(name, workspace) == 3
    with pytest.raises(MartletError, match=rf"damaged in line {numbers[0]}.* return to with --to: (1, )?2"):
        rollback(name, workspace)
    assert rollback(name, workspace, to=2).version == champion_number(name, workspace) == 2


def test_a_damaged_line_of_the_highest_number_does_not_stop_the_journal(
    name: str, workspace: Path, tmp_path: Path
) -> None:
    three_champions(name, workspace, tmp_path)
    write(name, workspace, 999_999, "{")
    assert champion_number(name, workspace) == 3
    assert rollback(name, workspace, to=1).number == 1_000_001
    assert champion_number(name, workspace) == 1
    assert [(entry.number, entry.action) for entry in history(name, workspace)[3:]] == [
        (4, "damaged"), (999_999, "damaged"), (1_000_000, "outside"), (1_000_001, "rollback")
    ]  # fmt: skip


@pytest.mark.parametrize("applied", ["garbage", f"{JOURNAL}000001", f"{JOURNAL}000009", None])
def test_an_alias_that_was_moved_outside_is_kept_whatever_line_is_marked_as_made(
    name: str, workspace: Path, tmp_path: Path, applied: str | None
) -> None:
    three_champions(name, workspace, tmp_path)
    with connected(workspace) as client:
        client.set_registered_model_alias(name, "champion", "1")
        if applied:
            client.set_registered_model_tag(name, APPLIED, applied)
        else:
            client.delete_registered_model_tag(name, APPLIED)
    assert champion_number(name, workspace) == 1
    assert history(name, workspace)[-1].action == "outside"
    assert rollback(name, workspace, to=2).version == champion_number(name, workspace) == 2


def three_champions(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 3)
    for version in (1, 2, 3):
        promote(name, version, workspace, f"test {version}", over=version - 1 or None)


def champion_number(name: str, workspace: Path) -> int | None:
    now = champion(name, workspace)
    return now and now.number


def garbage(file: Path) -> None:
    file.write_bytes(b"garbage" * 1000)


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def first_page(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def another_header(file: Path) -> None:
    file.write_bytes(b"x" * 16 + file.read_bytes()[16:])


def a_hole(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * 200_000 + content[204_096:])


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def executed(statement: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with sqlite3.connect(file) as database:
            database.execute(statement)
        database.close()

    damage.__name__ = statement
    return damage


DAMAGES = [
    garbage, half, first_page, another_header, a_hole, a_folder,
    executed("update alembic_version set version_num = 'from the future'"),
    executed("drop table registered_model_aliases"),
    executed("drop table registered_model_tags"),
    executed("drop table model_versions"),
    executed("alter table registered_models rename column name to title"),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_database_is_one_sentence_with_what_to_do(
    workspace: Path, tmp_path: Path, damage: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
) -> None:
    register("known", weights(tmp_path / "model", "known"), workspace)
    file = tmp_path / "mlruns/mlflow.db"
    file.parent.mkdir()
    shutil.copy2(workspace / "mlruns/mlflow.db", file)
    damage(file)
    with pytest.raises(MartletError, match=r"mlflow\.db is damaged \(.*\): .* move the file away") as caught:
        champion("known", tmp_path)
        register("known", tmp_path / "model", tmp_path)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("limit", [100_000, 400_000])
def test_a_database_that_a_full_disk_cut_off_while_it_was_made_is_not_there(tmp_path: Path, limit: int) -> None:
    with connected(tmp_path / "warm"):  # whose imports the child has
        pass
    if not (child := os.fork()):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            champion("any", tmp_path)
        except MartletError as error:
            (tmp_path / "error").write_text(str(error))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert f"{tmp_path}/mlruns/mlflow.db" in (tmp_path / "error").read_text()
    assert not [file for file in (tmp_path / "mlruns").iterdir() if "mlflow.db" in file.name]
    assert champion("any", tmp_path) is None
