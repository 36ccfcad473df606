"""`martlet promote` and `martlet rollback` as typed, over a real registry."""

import shutil
from pathlib import Path

import pytest

from components.files import write_json
from components.registry.entries import JOURNAL
from components.registry.store import connected
from tasks.stages.paths import Paths
from tests.commands import martlet
from tests.tasks.test_promotion import candidate, champion, given

NAME = "typed"


def test_a_champion_is_made_kept_forced_and_taken_back(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(empty_store, tmp_path, dirs_exist_ok=True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params, paths = given(NAME), Paths(tmp_path, tmp_path)
    (tmp_path / "params.yaml").write_text("tracking: {report_to: none}\n")
    write_json(paths.model, {"model": "models/base", "source": "local", "sha256": "b" * 64})
    candidate(params, paths, "a", right=90)
    candidate(params, paths, "b", right=40)

    def typed(*words: object, code: int = 0) -> str:
        return martlet(tmp_path, *words, "--registered_model_name", NAME, code=code)

    assert "promote: better than the base model on skills" in typed("promote", "--version", 1)
    assert champion(params, paths) == 1
    assert "the gate stays closed" in typed("promote", code=4)
    forced = typed("promote", "--force", "--why", "the questions are wrong")
    assert "1 → 2" in forced
    assert "the questions are wrong; refuse: skills: 50 of 100 lost" in " ".join(forced.split())
    with connected(tmp_path) as client:
        client.set_registered_model_tag(NAME, f"{JOURNAL}000002", "not JSON")
    assert "damaged in line 2" in typed("rollback", code=1)
    back = typed("rollback", "--to", 1, "--why", "too chatty")
    assert "champion is version 1 again" in back and "`martlet promote --version 2`" in back
    assert "has no previous now" in typed("rollback", "--to", "previous", code=1)
    assert "has no version 9" in typed("rollback", 9, code=1)
    shown = typed("promote", "champion").splitlines()
    assert shown[-1] == "nothing to do: version 1 is champion already"
    assert any(line.split()[:2] == ["2", "damaged"] for line in shown)
    assert any(line.endswith("too chatty") for line in shown)
    assert not any(line.endswith(":") for line in shown[1:])
