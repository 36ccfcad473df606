"""A journal or a database that something else has written to: one sentence, and nothing wrong in silence."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import MartletError
from components.registry import champion, history, promote, register, rollback
from components.registry.journal import JOURNAL
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


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_damaged_line_of_the_journal_loses_its_move_and_no_more(
    name: str, workspace: Path, tmp_path: Path, number: int
) -> None:
    some(name, workspace, tmp_path, 4)
    for version in (1, 2, 3):
        promote(name, version, workspace, f"test {version}", over=version - 1 or None)
    for line in LINES:
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


def executed(statement: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with sqlite3.connect(file) as database:
            database.execute(statement)
        database.close()

    damage.__name__ = statement
    return damage


DAMAGES = [
    garbage, half, first_page, another_header, a_hole,
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
