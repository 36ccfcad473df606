"""Each variant is written by the stage, loaded by plain transformers, and runs quantized on a CPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.config import Params
from components.errors import MartletError
from components.export import QUANTIZERS
from components.files import sha256_tree
from components.tokens import TokenRows
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
    figures = report["against_parent"]
    assert figures["max_abs_difference"] == pytest.approx(torch.cat(differences).max().item(), rel=1e-2)
    assert figures["argmax_agreement"] == pytest.approx(torch.cat(agreed).double().mean().item(), abs=0.03)
    assert 0 < figures["max_abs_difference"] < 2
    assert report["parent"]["sha256"] == sha256_tree(merged.paths.merged)
    assert report["bits_per_weight_after"] == pytest.approx(
        8 * after / sum(w.numel() for w in plain.parameters()), 1e-3
    )
    check_answers(report["greedy"], plain, model, merged)
    assert result["tokens_per_second_after"] > 0
    assert report["parent"]["sha256"] in (folder / "README.md").read_text()


def check_answers(greedy: dict[str, Any], parent: Any, quantized: Any, run: Run) -> None:
    """Generate the answers again, one by one, and count."""
    rows = TokenRows(run.paths.tokens / "train.arrow")
    prompts = [
        row["input_ids"][: list(row["labels"] != -100).index(True)] for row in (rows[n] for n in range(len(rows)))
    ]
    one, other = (
        [m.generate(torch.tensor(p)[None].long(), max_new_tokens=32, do_sample=False)[0, len(p) :] for p in prompts]
        for m in (parent, quantized)
    )
    same = [a[: len(b)] == b[: len(a)] for a, b in zip(one, other, strict=True)]
    assert greedy["prompts"] == len(prompts)
    assert greedy["prompts_from"] == "training rows"
    assert greedy["tokens"] == sum(max(len(a), len(b)) for a, b in zip(one, other, strict=True))
    assert greedy["token_agreement"] == pytest.approx(sum(int(s.sum()) for s in same) / greedy["tokens"], abs=0.05)


GARBLES = """\
from components.export.quantizers.bnb_int8 import TENSOR, quantize as to_int8
from safetensors.torch import load_file, save_file

def quantize(source, folder, rows):
    to_int8(source, folder, rows)
    weights = load_file(folder / "model.safetensors")
    scales = {name: scale.flip(0) * FACTOR for name, scale in weights.items() if name.endswith(TENSOR)}
    save_file(weights | scales, folder / "model.safetensors", {"format": "pt"})
"""


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        ("-9", r"garbles: the quantized model garbles: it chooses only \d+% of .* min_agreement asks for 50%"),
        ("float('inf')", "some logits are not finite numbers"),
    ],
)
def test_a_model_that_garbles_is_refused_and_nothing_of_it_is_left(
    merged: Run, tmp_path: Path, factor: str, message: str
) -> None:
    plugin = tmp_path / "garbles.py"
    plugin.write_text(GARBLES.replace("FACTOR", factor))
    settings: dict[str, Any] = {"plugins": {"external_plugins": [str(plugin)]}}
    with pytest.raises(MartletError, match=message):
        quantize.run(Params.model_validate(settings), merged.paths, "garbles")
    assert not list(merged.paths.root.rglob("*garbles*"))


def test_a_model_that_garbles_is_kept_where_min_agreement_allows_that(merged: Run, tmp_path: Path) -> None:
    plugin = tmp_path / "garbles.py"
    plugin.write_text(GARBLES.replace("FACTOR", "-9"))
    plugins, allowed = {"external_plugins": [str(plugin)]}, {"min_agreement": 0.0}
    result = quantize.run(Params.model_validate({"plugins": plugins, "quantize": allowed}), merged.paths, "garbles")
    assert result["following"] < 0.5
    shutil.rmtree(merged.paths.quantized / "garbles")


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

    monkeypatch.setattr(bnb_int8, "TENSOR", ".fantasy")
    before = sorted(p.name for p in merged.paths.quantized.iterdir()) if merged.paths.quantized.exists() else []
    with pytest.raises(MartletError, match=r"no layer of the model is quantized: no tensor's name ends with \.fantasy"):
        quantize.run(merged.params, merged.paths, "bnb-int8")
    assert sorted(p.name for p in merged.paths.quantized.iterdir()) == before


def test_without_a_merged_model_it_is_one_sentence(tmp_path: Path, merged: Run) -> None:
    with pytest.raises(MartletError, match="no such file; run the stage template first"):
        quantize.run(merged.params, merged.at(tmp_path).paths, "bnb-nf4")
