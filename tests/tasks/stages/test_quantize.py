"""Each variant is written by the stage, loaded by plain transformers, and runs quantized on a CPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.errors import ConfigError, MartletError
from components.export import QUANTIZERS
from components.rows import Row, rows_writer, to_arrow
from tasks.stages import merge, quantize
from tests.tasks.stages.runs import Run, finished_training

REPOSITORY = Path(__file__).parents[3]
LAYERS = {"bnb-int8": "Linear8bitLt", "bnb-nf4": "Linear4bit"}
LINEAR_LAYERS = 2 * 7


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    run = finished_training(tmp_path_factory.mktemp("run"), tiny_model)
    merge.run(run.params, run.paths)
    return run


@pytest.mark.parametrize("variant", QUANTIZERS.names())
def test_a_variant_loads_with_plain_transformers_and_runs_quantized(merged: Run, variant: str) -> None:
    result = quantize.run(merged.params, merged.paths, variant)
    folder = merged.paths.quantized / variant
    model, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values())
    assert sum(type(m).__name__ == LAYERS[variant] for m in model.modules()) == LINEAR_LAYERS
    before, after = (sum(f.stat().st_size for f in d.glob("*.safetensors")) for d in (merged.paths.merged, folder))
    assert (result["bytes_before"], result["bytes_after"]) == (before, after)
    assert after < before

    report = json.loads((folder / "quantize.json").read_text())
    assert report["quantized_layers"] == LINEAR_LAYERS
    plain = AutoModelForCausalLM.from_pretrained(merged.paths.merged)
    differences, agreed = [], []
    with torch.no_grad():
        for row in merged.rows:
            ids = torch.tensor([row])
            one, other = plain(ids).logits[0], model(ids).logits[0].float()
            differences.append((one - other).abs())
            agreed.append(one.argmax(-1) == other.argmax(-1))
    figures = report["against_merged"]
    assert figures["max_abs_difference"] == pytest.approx(torch.cat(differences).max().item(), rel=1e-2)
    assert figures["argmax_agreement"] == pytest.approx(torch.cat(agreed).double().mean().item(), abs=0.03)
    assert 0 < figures["max_abs_difference"] < 2


@pytest.mark.parametrize("variant", QUANTIZERS.names())
def test_the_tokenizer_goes_along_and_equal_inputs_give_equal_bytes(merged: Run, variant: str) -> None:
    folder = merged.paths.quantized / variant
    quantize.run(merged.params, merged.paths, variant)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    quantize.run(merged.params, merged.paths, variant)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == first
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert first[name] == (merged.paths.merged / name).read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert [tokenizer.apply_chat_template(chat, return_dict=False) for chat in merged.chats] == merged.rows


def test_an_unknown_variant_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("")
    command = [sys.executable, "-X", "importtime", "-m", "tasks.stages.quantize", "bnb-int9"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    message = "there is no quantizer 'bnb-int9' (did you mean 'bnb-int8'?); choose one of bnb-int8, bnb-nf4"
    assert f"martlet: quantize.variants: {message}" in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert imported.isdisjoint({"torch", "transformers", "bitsandbytes"})
    assert json.loads((tmp_path / "logs/quantize@bnb-int9/result.json").read_text())["exit_code"] == 2
    assert not (tmp_path / "models").exists()


def test_a_variant_that_does_not_quantize_is_an_error(merged: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from components.export.quantizers import bnb_int8

    monkeypatch.setattr(bnb_int8, "LAYER", "LinearFantasy")
    before = sorted(p.name for p in merged.paths.quantized.iterdir()) if merged.paths.quantized.exists() else []
    with pytest.raises(MartletError, match="no layer of the model is a LinearFantasy"):
        quantize.run(merged.params, merged.paths, "bnb-int8")
    assert sorted(p.name for p in merged.paths.quantized.iterdir()) == before


def test_without_a_merged_model_it_is_one_sentence(tmp_path: Path, merged: Run) -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        quantize.run(merged.params, merged.at(tmp_path).paths, "bnb-nf4")


CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
OTHER_ROWS: dict[str, Row] = {
    "preference": {
        "prompt": [{"role": "user", "content": "Rain?"}],
        "chosen": [{"role": "assistant", "content": "No"}],
        "rejected": [{"role": "assistant", "content": "Yes"}],
    },
    "tool calls": {
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [CALL]}],
        "tools": TOOLS,
    },
}


@pytest.mark.parametrize("kind", OTHER_ROWS)
def test_rows_of_every_kind_are_calibrated_on(merged: Run, tmp_path: Path, kind: str) -> None:
    run = merged.at(tmp_path)
    shutil.copytree(merged.paths.merged, run.paths.merged)
    run.paths.clean.mkdir(parents=True)
    with rows_writer(run.paths.clean / "train.parquet") as writer:
        writer.write_batch(to_arrow([OTHER_ROWS[kind]] * 3, ["rows.jsonl"] * 3, [0, 1, 2]))
    quantize.run(run.params, run.paths, "bnb-int8")
    report = json.loads((run.paths.quantized / "bnb-int8/quantize.json").read_text())
    assert report["rows"] == 3
    assert report["against_merged"]["tokens"] > 3
