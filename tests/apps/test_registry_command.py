"""`martlet registry` as typed, over a real registry. The commands run in this process, which has MLflow imported."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import dispatch
from components.errors import MartletError
from components.files import write_json
from components.registry.entries import JOURNAL
from components.registry.store import connected
from tasks.stages.paths import Paths
from tests.tasks.test_promotion import candidate, given

NAME = "typed"


@pytest.fixture(scope="module")
def workspace(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions that were registered one after the other, the first two with other parameters than the third."""
    folder = shutil.copytree(empty_store, tmp_path_factory.mktemp("registry-command") / "workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (folder / "params.yaml").write_text(f"registered_model_name: {NAME}\ntracking: {{report_to: none}}\n")
        paths = Paths(folder, folder)
        write_json(paths.model, {"model": "models/base", "source": "local", "sha256": "b" * 64})
        candidate(given(NAME), paths, "a", right=90)
        candidate(given(NAME), paths, "b", right=95)
        candidate(given(NAME, lora_rank=16), paths, "c", right=40)
    return folder


class Typed:
    """Commands typed in a workspace."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object, code: int = 0) -> str:
        """Run an action of `martlet registry`; return what it printed, or the message with which it must fail."""
        self.capsys.readouterr()
        try:
            ended, message = dispatch(["registry", *map(str, words)]), ""
        except MartletError as error:
            ended, message = error.exit_code, str(error)
        assert ended == code, message
        return self.capsys.readouterr().out + message

    def as_json(self, *words: object, code: int = 0) -> Any:
        """Return what `martlet registry WORDS --json` printed."""
        return json.loads(self(*words, "--json", code=code))


@pytest.fixture
def typed(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(workspace)
    return Typed(capsys)


def test_versions_are_promoted_compared_taken_back_checked_and_removed(typed: Typed) -> None:
    assert "typed has had no champion yet" in typed("history")
    typed("promote", 1)
    typed("promote", 2)
    assert "the gate stays closed" in typed("promote", "challenger", code=4)
    rows = [line.split() for line in typed("list").splitlines()]
    assert rows[0][:3] == ["version", "aliases", "variant"]
    assert [row[:3] for row in rows[1:]] == [
        ["1", "previous", "merged"], ["2", "champion", "merged"], ["3", "challenger", "merged"]
    ]  # fmt: skip
    assert [row["scores"] for row in typed.as_json("list")] == [{"skills": 0.9}, {"skills": 0.95}, {"skills": 0.4}]
    facts = typed.as_json("show", "champion")
    assert facts["version"]["number"] == 2 and facts["lineage"]["base_model"] == "models/base"
    assert facts["verdict"]["decision"] == "promote" and "model/model.safetensors" in facts["files"]
    assert "refuse" in typed("show", "challenger")
    rows = typed.as_json("diff", 2, "challenger")
    differing = {(row["section"], row["name"]): (row["first"], row["second"]) for row in rows}
    assert differing[("parameters", "lora.lora_rank")] == (None, 16)
    assert differing[("scores", "skills")] == (0.95, 0.4)
    assert "95.0%" in typed("diff", "champion", 3)
    assert not re.search("[0-9a-f]{13}", typed("diff", "champion", 3))
    assert "have the same lineage" in typed("diff", 2, 2)
    assert "champion is version 1 again" in typed("rollback", "--why", "[bold]too chatty[/bold]")
    history = typed("history")
    assert "2 → 1" in history and "[bold]too chatty[/bold]" in history
    assert history.count("better than the base") == 1
    assert all(line == line.rstrip() for line in history.splitlines())
    assert [entry["before"] for entry in typed.as_json("history")] == [None, 1, 2]
    assert "3 lines of journal, 3 versions: all is well" in typed("verify")
    assert typed.as_json("verify")["faults"] == []
    assert "nothing to remove" in typed("gc", "--keep", 1)  # 3 has an alias, and of the others 2 is the newest
    assert "would remove 1 version, " in typed("gc", "--keep", 0)
    assert "removed 1 version, " in typed("gc", "--keep", 0, "--yes")
    assert [row["number"] for row in typed.as_json("list")] == [1, 3]
    assert typed("gc", "--keep", 1).startswith("nothing to remove: every version")
    assert typed("verify").startswith("3 lines of journal, 2 versions: all is well")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show"], "registry show takes one VERSION"),
        (["diff", "1"], "registry diff takes two VERSIONs"),
        (["list", "1"], "registry list takes no VERSION"),
        (["remove"], "invalid choice: 'remove'"),
        (["promote", "3", "--force"], "--force needs --why"),
        (["rollback", "1", "--to", "2"], "rollback takes one VERSION"),
        (["promote", "1", "--version", "2"], "promote takes one VERSION"),
        (["gc", "--keep", "-1"], "--keep -1: a number of versions, 0 or more"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_are_a_sentence(typed: Typed, words: list[str], message: str) -> None:
    assert message in typed(*words, code=2)


def test_what_is_not_there_is_a_sentence(typed: Typed) -> None:
    assert "typed has no version 9; there are 1," in typed("show", 9, code=1)
    other = ["--registered_model_name", "other"]
    assert "nothing is registered" in typed("show", "champion", *other, code=1)
    assert "nothing is registered" in typed("verify", *other, code=1)
    assert "other has no version yet" in typed("list", *other)


def test_an_edit_by_hand_and_lost_weights_end_with_1_and_their_places(typed: Typed, workspace: Path) -> None:
    with connected(workspace) as client:
        line = client.get_registered_model(NAME).tags[f"{JOURNAL}000001"]
        client.set_registered_model_tag(NAME, f"{JOURNAL}000001", line.replace("better", "worse"))
    shutil.rmtree(next((workspace / "mlruns/models").iterdir()) / "model")
    faults = typed.as_json("verify", code=1)["faults"]
    assert faults[0].startswith("journal, line 1: the chain is broken")
    assert "the weights are gone" in faults[1]
    assert "fault  journal, line 1:" in typed("verify", code=1)
    assert "gone" in typed("list")
