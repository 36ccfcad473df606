"""The stage over a real MLflow store, as `dvc repro` runs it: no run has been begun."""

import json

import pytest

from components import registry
from components.config import Params, resolve
from components.config.load import read_mapping
from components.evaluation import write_report
from components.files import read_json, replacing_folder, write_json
from components.tracking.store import _connected
from tasks.stages.paths import Paths
from tasks.stages.register import run


@pytest.fixture(scope="module")
def params() -> Params:
    return resolve(read_mapping({"registered_model_name": "demo", "lora_rank": 16, "model": "models/base"}, "test"))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    root = tmp_path_factory.mktemp("register")
    paths = Paths(root, root)
    write_json(paths.model, {"model": "models/base", "source": "local", "sha256": "b" * 64, "revision": None})
    with replacing_folder(paths.tokens) as tokens:
        (tokens / "train.arrow").write_text("rows")
        write_json(tokens / "template.json", {"template_sha256": "t" * 64})
    answer = {"set": "identity", "item": 0, "query": "?", "answer": "!", "reference": "!", "answer_tokens": 1}
    for name, folder in {"merged": paths.merged, "bnb-int8": paths.quantized / "bnb-int8", "base": None}.items():
        write_report(paths.reports / "eval", name, [{**answer, "score": 1.0}])
        if folder:
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_text(name)
    (paths.quantized / "never-evaluated").mkdir()
    return paths


@pytest.fixture(autouse=True)
def our_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_every_evaluated_candidate_gets_a_version_with_its_lineage(params: Params, paths: Paths) -> None:
    assert run(params, paths) == {"versions": {"merged": 1, "bnb-int8": 2}}
    registered = read_json(paths.reports / "registration.json")["versions"]
    assert [entry["candidate"] for entry in registered] == ["merged", "bnb-int8"]
    merged = registry.lookup("demo", paths.workspace, number=1)
    tokens = read_json(paths.tokens / "manifest.json")["files"]["train.arrow"]["sha256"]
    assert merged.content == registered[0]["content_sha256"]
    assert (
        merged.tags.items()
        >= {
            "variant": "merged",
            "accuracy.identity": "1.0",
            "base_model": "models/base",
            "commit": "not in git",
        }.items()
    )
    assert len(merged.tags) == 6
    lineage = json.loads(merged.tags["lineage"])
    assert (lineage["data_sha256"], lineage["template_sha256"]) == (tokens, "t" * 64)
    assert lineage["base_revision"] == "b" * 64
    assert lineage["params"]["lora.lora_rank"] == 16
    assert sorted(file.name for file in merged.reports.iterdir()) == ["merged.json", "merged.parquet"]
    weights = "model.safetensors"
    assert (merged.folder / weights).stat().st_ino == (paths.merged / weights).stat().st_ino


def test_again_it_is_the_same_to_the_byte(params: Params, paths: Paths) -> None:
    run(params, paths)
    before = (paths.reports / "registration.json").read_bytes()
    run(params, paths)
    assert (paths.reports / "registration.json").read_bytes() == before


def test_the_version_knows_a_run_that_was_recorded(params: Params, paths: Paths) -> None:
    run(params, paths)
    with _connected(paths.workspace) as client:
        version = client.get_model_version_by_alias("demo", "challenger")
        assert version.run_id
        recorded = client.get_run(version.run_id)
    assert recorded.info.status == "FINISHED"
    assert recorded.data.params["lora.lora_rank"] == "16"
    assert recorded.data.tags["base_model"] == "models/base"
