"""What `verify` finds, what it leaves alone, and the removal of versions."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from components.errors import MartletError
from components.files import sha256, sha256_of
from components.registry import (
    champion,
    history,
    lookup,
    number_of,
    promote,
    register,
    removable,
    remove,
    rollback,
    verdict_file,
    verify,
    versions,
    without_chain,
)
from components.registry.entries import APPLIED, JOURNAL
from components.registry.store import connected
from tests.components.registry.conftest import some, weights


@pytest.fixture
def three(name: str, workspace: Path, tmp_path: Path) -> str:
    """Three champions one after the other, four lines of journal: the last goes back to the second."""
    some(name, workspace, tmp_path, 3)
    for number in (1, 2, 3):
        promote(name, number, workspace, f"test {number}", number - 1 or None, verdict="promote: better")
    rollback(name, workspace, why="too chatty")
    return name


def tag(name: str, workspace: Path, key: str, value: str) -> None:
    with connected(workspace) as client:
        client.set_registered_model_tag(name, key, value)


def edited(name: str, workspace: Path, number: int, **changes: Any) -> None:
    line = {**asdict(history(name, workspace)[number - 1]), **changes}
    tag(name, workspace, f"{JOURNAL}{number:06d}", json.dumps({k: v for k, v in line.items() if v is not ...}))


def test_each_line_says_who_was_champion_before_and_fits_the_line_before(three: str, workspace: Path) -> None:
    entries = history(three, workspace)
    assert [(entry.before, entry.version) for entry in entries] == [(None, 1), (1, 2), (2, 3), (3, 2)]
    assert [entry.verdict for entry in entries] == ["promote: better"] * 3 + [""]
    assert len({entry.chain for entry in entries}) == 4 and all(len(entry.chain) == 64 for entry in entries)
    assert verify(three, workspace) == [] == without_chain(entries)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "changes",
    [{"why": "another reason"}, {"by": "somebody"}, {"time": "2020-01-01"}, {"version": 9}, {"verdict": "refuse"},
     {"chain": "0" * 64}, {"before": 7}],
    ids=lambda changes: next(iter(changes)),
)  # fmt: skip
def test_an_edit_of_any_line_is_found(three: str, workspace: Path, number: int, changes: dict[str, Any]) -> None:
    edited(three, workspace, number, **changes)
    faults = verify(three, workspace)
    assert f"journal, line {number}: the chain is broken: the line was edited" in faults
    assert all(f"line {line}:" not in fault for line in {1, 2, 3, 4} - {number, number + 1} for fault in faults)


def test_no_rollback_believes_an_edited_line(three: str, workspace: Path) -> None:
    edited(three, workspace, 1, version=3)
    with pytest.raises(MartletError, match=r"damaged in line 1: .* return to with --to: 1, 3"):
        rollback(three, workspace)
    with pytest.raises(MartletError, match=r"damaged in line 1: .* no version is removed"):
        removable(three, workspace, keep=0)
    assert rollback(three, workspace, to=1).version == 1


def test_a_copy_of_a_workspace_has_its_own_weights(three: str, workspace: Path, tmp_path: Path) -> None:
    shutil.copytree(workspace, tmp_path / "elsewhere")
    now = champion(three, tmp_path / "elsewhere")
    assert now and now.number == 2
    assert now.folder.is_relative_to(tmp_path / "elsewhere")
    assert verify(three, tmp_path / "elsewhere") == []


def test_an_edit_that_takes_the_chain_away_or_makes_it_anew_is_found(three: str, workspace: Path) -> None:
    edited(three, workspace, 4, why="", chain=...)
    assert verify(three, workspace) == ["journal, line 4: has no chain, unlike the lines before: it was edited"]
    edited(three, workspace, 2, why="another", chain=sha256_of("another"))
    assert any("line 2: the chain is broken" in fault for fault in verify(three, workspace))


def test_an_older_journal_is_read_and_covered_by_the_next_line(name: str, workspace: Path, tmp_path: Path) -> None:
    some(name, workspace, tmp_path, 3)
    for number in (1, 2):
        promote(name, number, workspace, f"test {number}", number - 1 or None)
        edited(name, workspace, number, before=..., verdict=..., verdict_sha256=..., chain=...)
    assert without_chain(history(name, workspace)) == [1, 2]
    assert verify(name, workspace) == []
    promote(name, 3, workspace, "with a chain", over=2)
    assert verify(name, workspace) == []
    edited(name, workspace, 1, why="another", before=..., verdict=..., verdict_sha256=..., chain=...)
    message = "journal, line 3: the chain is broken: the line was edited, or an older one of lines 1 to 2 was"
    assert verify(name, workspace) == [message]


def test_lines_that_are_gone_or_damaged_are_named_and_the_journal_goes_on(three: str, workspace: Path) -> None:
    tag(three, workspace, f"{JOURNAL}000002", "not JSON")
    assert verify(three, workspace) == ["journal, line 2: this line cannot be read"]
    with connected(workspace) as client:
        client.delete_registered_model_tag(three, f"{JOURNAL}000002")
    promote(three, 3, workspace, "again", over=2)
    assert verify(three, workspace) == ["journal, line 2: this line is missing"]
    with connected(workspace) as client:
        client.delete_registered_model_tag(three, f"{JOURNAL}000005")
    assert verify(three, workspace) == [
        "journal, line 2: this line is missing", "journal, line 5: this line is missing"
    ]  # fmt: skip


def test_aliases_moved_by_hand_and_moves_cut_short_are_found_and_left(three: str, workspace: Path) -> None:
    with connected(workspace) as client:
        client.set_registered_model_alias(three, "champion", "3")
        client.delete_registered_model_alias(three, "previous")
    expected = [
        "the alias champion is version 3, and the journal says version 2",
        "the alias previous is none, and the journal says version 1",
    ]
    assert verify(three, workspace) == expected == verify(three, workspace)
    tag(three, workspace, APPLIED, f"{JOURNAL}000003")
    assert "the move of line 4 was interrupted" in verify(three, workspace)[0]
    assert (now := champion(three, workspace)) and now.number == 2
    assert verify(three, workspace) == []


def delete(version: int) -> Callable[[str, Path], None]:
    def change(name: str, workspace: Path) -> None:
        with connected(workspace) as client:
            client.delete_model_version(name, str(version))

    return change


def lose_weights(name: str, workspace: Path) -> None:
    shutil.rmtree(lookup(name, workspace, 1).folder)


def change_weights(name: str, workspace: Path) -> None:
    (lookup(name, workspace, 1).folder / "model.safetensors").write_text("others")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (delete(1), "version 1 was champion and has been deleted"),
        (delete(2), "the alias champion is none, and the journal says version 2"),
        (lose_weights, "version 1: the weights are gone"),
        (change_weights, "version 1: the weights in .* have changed"),
    ],
)
def test_versions_and_weights_that_are_gone_are_found(
    three: str, workspace: Path, change: Callable[[str, Path], None], message: str
) -> None:
    change(three, workspace)
    assert any(re.search(message, fault) for fault in verify(three, workspace))


def test_a_verdict_that_is_gone_is_found(name: str, workspace: Path, tmp_path: Path) -> None:
    (version,) = some(name, workspace, tmp_path, 1)
    verdict = tmp_path / "verdict.json"
    verdict.write_text("{}")
    version.reports.mkdir()
    file = version.reports / verdict_file(sha256(verdict))
    shutil.copy(verdict, file)
    promote(name, 1, workspace, "better", None, verdict="promote: better", verdict_sha256=sha256(verdict))
    assert verify(name, workspace) == []
    file.write_text("{ }")
    assert verify(name, workspace) == [f"journal, line 1: its verdict {file} is gone or has changed"]


def test_nothing_under_a_name_is_a_sentence(name: str, workspace: Path) -> None:
    with pytest.raises(MartletError, match=f"nothing is registered under the name {name}"):
        verify(name, workspace)


def test_versions_are_listed_with_aliases_scores_and_size(name: str, workspace: Path, tmp_path: Path) -> None:
    for n, variant in enumerate(("merged", "int8")):
        tags = {"variant": variant, "accuracy.skills": f"0.{n}", "accuracy.words": "1.0"}
        register(name, weights(tmp_path / variant, f"{name} {variant}"), workspace, tags=tags)
    promote(name, 1, workspace, "first", over=None)
    with connected(workspace) as client:
        client.create_model_version(name, "s3://elsewhere")
    first, second, foreign = versions(name, workspace)
    assert (first.number, first.aliases, first.variant) == (1, ("champion",), "merged")
    assert second.scores == {"skills": 0.1, "words": 1.0}
    assert first.size == len(f"{name} merged") + len("{}")
    assert (foreign.folder, foreign.size, foreign.source) == (None, None, "s3://elsewhere")
    assert number_of(name, workspace, "champion") == 1 == number_of(name, workspace, "1")
    with pytest.raises(MartletError, match=f"{name} has no version former; there are 1, 2, 3, champion"):
        number_of(name, workspace, "former")


def test_removal_leaves_the_newest_the_aliases_and_the_way_back(name: str, workspace: Path, tmp_path: Path) -> None:
    registered = some(name, workspace, tmp_path, 8)
    register(f"{name}-other", registered[3].folder, workspace)
    promote(name, 1, workspace, "first", over=None)
    promote(name, 3, workspace, "second", over=1)
    promote(name, 5, workspace, "third", over=3)
    rollback(name, workspace)  # 5 leaves the line of champions
    assert [listing.number for listing in removable(name, workspace, keep=2)] == [2, 4, 5, 6]
    assert [listing.number for listing in remove(name, workspace, keep=2)] == [2, 4, 5, 6]
    assert [listing.number for listing in versions(name, workspace)] == [1, 3, 7, 8]
    assert [version.folder.is_dir() for version in registered] == [1, 0, 1, 1, 0, 0, 1, 1]  # 4 has another name, too
    assert verify(name, workspace) == [] == remove(name, workspace, keep=2)
    assert rollback(name, workspace).version == 1
    tag(name, workspace, f"{JOURNAL}000002", "{")
    with pytest.raises(MartletError, match=r"damaged in line 2: .* no version is removed"):
        remove(name, workspace, keep=0)
