import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from components.errors import MartletError
from components.registry import annotate, champion, find, lookup, promote, register
from components.registry.store import connected
from tests.components.registry.conftest import some, weights


def test_weights_are_linked_not_copied_and_outlive_their_folder(name: str, workspace: Path, tmp_path: Path) -> None:
    source = weights(tmp_path / "merged", name)
    inode = (source / "model.safetensors").stat().st_ino
    report = tmp_path / "merged.json"
    report.write_text("{}")
    version = register(name, source, workspace, reports=[report], tags={"variant": "merged"})
    assert (version.folder / "model.safetensors").stat().st_ino == inode
    assert (version.reports / "merged.json").read_text() == "{}"
    for file in source.iterdir():
        file.unlink()
    assert (version.folder / "model.safetensors").read_text() == name
    version.verify()


def test_same_content_is_the_same_version_with_the_newest_reports(name: str, workspace: Path, tmp_path: Path) -> None:
    report = tmp_path / "merged.json"
    report.write_text("1")
    first = register(name, weights(tmp_path / "a", name), workspace, [report], {"accuracy": "0.1", "kept": "yes"})
    report.write_text("2")
    again = register(name, weights(tmp_path / "b", name), workspace, [report], {"accuracy": "0.2"})
    other = register(name, weights(tmp_path / "c", name + "!"), workspace)
    assert (first.number, again.number, other.number) == (1, 1, 2)
    assert (again.reports / "merged.json").read_text() == "2"
    assert again.tags == {"accuracy": "0.2", "kept": "yes", "content_sha256": first.content}


def test_a_version_is_found_by_number_and_by_content(name: str, workspace: Path, tmp_path: Path) -> None:
    first, second = some(name, workspace, tmp_path, 2)
    assert lookup(name, workspace, number=2) == second
    assert find(name, workspace, content_sha256=first.content) == first
    assert find(name, workspace, content_sha256="0" * 64) is None
    with pytest.raises(MartletError, match=f"{name} has no version 7; there are 1, 2"):
        lookup(name, workspace, number=7)
    with pytest.raises(MartletError, match="nothing is registered under that name"):
        lookup(f"{name}-unknown", workspace, number=1)


def test_mlflow_itself_finds_the_weights(name: str, workspace: Path, tmp_path: Path) -> None:
    (version,) = some(name, workspace, tmp_path, 1)
    promote(name, 1, workspace, "first", over=None)
    with connected(workspace) as client:
        source = client.get_model_version_by_alias(name, "champion").source
    assert source == version.folder.as_uri()
    assert (version.folder / "config.json").is_file()


def test_writers_at_once_make_one_version(
    name: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    look = MlflowClient.search_model_versions

    def look_slowly(*arguments: Any, **keywords: Any) -> Any:
        found = look(*arguments, **keywords)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(MlflowClient, "search_model_versions", look_slowly)
    source = weights(tmp_path / "merged", name)
    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(register, name, source, workspace) for _ in range(4)]
    assert [writer.result().number for writer in writers] == [1, 1, 1, 1]
    with connected(workspace) as client:
        assert len(client.search_model_versions(f"name = '{name}'")) == 1


def test_a_foreign_source_is_not_loaded(name: str, workspace: Path, tmp_path: Path) -> None:
    elsewhere = weights(tmp_path / "evil", "evil")
    with connected(workspace) as client:
        client.create_registered_model(name)
        client.create_model_version(name, elsewhere.as_uri(), tags={"content_sha256": "0" * 64})
        client.create_model_version(
            name, f"{workspace.as_uri()}/mlruns/models/../../evil", tags={"content_sha256": "0"}
        )
        client.set_registered_model_alias(name, "champion", "1")
    for number in (1, 2):
        with pytest.raises(MartletError, match="not one of the models that Martlet keeps"):
            lookup(name, workspace, number=number)
    with pytest.raises(MartletError, match="not loaded"):
        champion(name, workspace)


def test_changed_weights_are_not_promoted(name: str, workspace: Path, tmp_path: Path) -> None:
    (version,) = some(name, workspace, tmp_path, 1)
    (version.folder / "model.safetensors").write_text("changed in place")
    with pytest.raises(MartletError, match="have changed since they were registered"):
        promote(name, 1, workspace, "first", over=None)
    assert champion(name, workspace) is None


def test_a_link_that_cannot_be_made_is_a_copy(
    name: str, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[object] = []

    def refuse(source: object, *_: object) -> None:
        refusals.append(source)
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    source = weights(tmp_path / "merged", name)
    version = register(name, source, workspace)
    assert len(refusals) == len(list(source.iterdir())) == 2
    copy = version.folder / "model.safetensors"
    assert copy.read_text() == name
    assert copy.stat().st_ino != (source / "model.safetensors").stat().st_ino
    version.verify()


def test_tags_are_added(name: str, workspace: Path, tmp_path: Path) -> None:
    (version,) = some(name, workspace, tmp_path, 1)
    annotate(version, workspace, {"gate": "promote"})
    assert lookup(name, workspace, number=1).tags["gate"] == "promote"


@pytest.mark.parametrize("silent", [False, True], ids=["nobody listens", "never answers"])
def test_a_dead_server_is_one_message_soon(silent: bool, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "4"}
    for limit in limits:
        monkeypatch.delenv(limit, raising=False)
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if silent:
            port.listen()
            limits["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "1"
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:sesame@127.0.0.1:{port.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(MartletError, match=r"MLflow server at http://•••@127\.0\.0\.1:\d+ does not") as caught:
            champion("any", workspace)
        assert "sesame" not in repr(caught.value)
        assert time.monotonic() - began < 13
    assert {limit: os.environ[limit] for limit in limits} == limits
