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
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from components import environments
from components.config import Params
from components.config.groups.model import Model
from components.config.groups.quantize import Quantize
from components.errors import ConfigError, MartletError
from components.files import sha256_tree
from components.tokens import TokenRows
from tasks import preflight
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


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("variant", LAYERS)
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

def quantize(source, folder, rows, settings):
    to_int8(source, folder, rows, settings)
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


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("variant", LAYERS)
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
    message = "there is no quantizer 'bnb-int9' (did you mean 'bnb-int8'?); choose one of awq-int4, bnb-int8, bnb-nf4, "
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


def test_what_does_not_fit_is_said_at_once_before_a_model_is_loaded(
    merged: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_ENVIRONMENTS", str(tmp_path))
    settings = Quantize(group_size=48)
    sentences = quantize.problems(merged.base, "awq-int4", settings)
    assert "run `martlet env install awq`" in sentences[0]
    assert sentences[1] == (
        "group_size: 48 does not divide the 64 inputs of model.layers.0.self_attn.q_proj; take 64 or 32"
    )
    assert "awq-int4: the 32 outputs of model.layers.0.self_attn.k_proj are no multiple of 64" in sentences[2]
    with pytest.raises(ConfigError, match="martlet env install llmcompressor"):
        quantize.run(merged.params, merged.paths, "gptq-int4")
    assert quantize.problems(merged.base, "bnb-nf4", settings) == []
    run = merged.params.model_copy(update={"quantize": Quantize(variants=["fp8", "gptq-int4"], group_size=48)})
    run = run.model_copy(update={"model": Model(model=str(merged.base))})
    found = "\n".join(preflight.problems(run))
    assert found.count("martlet env install llmcompressor") == 2
    assert "group_size: 48 does not divide" in found


def test_a_set_that_is_too_small_to_calibrate_on(merged: Run, tmp_path: Path) -> None:
    (tmp_path / "counts.py").write_text(COUNTS)
    plugins = {"external_plugins": [str(tmp_path / "counts.py")]}
    with pytest.raises(ConfigError, match="counts: calibrates on 16 rows at least, and there are 5; name more"):
        quantize.run(Params.model_validate({"plugins": plugins}), merged.paths, "counts")
    few = Params.model_validate({"plugins": plugins, "quantize": {"quant_n_samples": 3, "group_size": 32}})
    quantize.run(few, merged.paths, "counts")
    report = json.loads((merged.paths.quantized / "counts/quantize.json").read_text())
    given = json.loads((merged.paths.quantized / "counts/given.json").read_text())
    assert given == {"rows": [merged.rows[n] for n in (0, 1, 3)], "group_size": 32, "quant_batch_size": 1}
    assert report["calibration"] == {"rows": 3, "tokens": sum(map(len, given["rows"])), "group_size": 32}
    shutil.rmtree(merged.paths.quantized / "counts")


COUNTS = """\
import json
from components.export.quantizers.bnb_int8 import TENSOR, quantize as to_int8

CALIBRATES = True

def quantize(source, folder, rows, settings):
    to_int8(source, folder, rows, settings)
    given = {"rows": rows, "group_size": settings.group_size, "quant_batch_size": settings.quant_batch_size}
    (folder / "given.json").write_text(json.dumps(given))
"""
TOOLS = {
    "gptq-int4": ("llmcompressor", "compressed_tensors", 12),
    "gptq-int8": ("llmcompressor", "compressed_tensors", 16),
    "fp8": ("llmcompressor", "compressed_tensors", 16),
    "awq-int4": ("awq", "gptqmodel", 12),
}
"""Quantizer: its environment, the package that reads what it writes, and the most bits of a weight; the embeddings of
a tiny model, which stay as they are, weigh much."""


@pytest.fixture(scope="module")
def wide_model(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """The tiny model with heads so wide that AutoAWQ takes it."""
    torch.manual_seed(0)
    folder = Path(shutil.copytree(tiny_model, tmp_path_factory.mktemp("wide") / "model"))
    config = AutoConfig.from_pretrained(tiny_model, head_dim=32)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("variant", TOOLS)
def test_a_tool_in_its_environment_writes_what_transformers_loads(
    wide_model: Path, tmp_path: Path, variant: str
) -> None:
    environment, package, most_bits = TOOLS[variant]
    pytest.importorskip(package)
    if not environments.is_installed(environment):
        pytest.skip(f"martlet env install {environment}")
    run = finished_training(tmp_path, wide_model)
    merge.run(run.params, run.paths)
    # Answers of random weights turn at the least difference; what they were before rounding is in the logits.
    settings = Quantize(group_size=32, quant_n_samples=5, min_agreement=0.0)
    result = quantize.run(run.params.model_copy(update={"quantize": settings}), run.paths, variant)
    folder = run.paths.quantized / variant
    assert result["quantized_layers"] == LINEAR_LAYERS
    assert 4 < result["bits_per_weight_after"] < most_bits
    model, loading = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values())
    ids = torch.tensor(run.rows[:1])
    plain = AutoModelForCausalLM.from_pretrained(run.paths.merged)
    with torch.no_grad():
        before, after = plain(ids).logits, model(ids).logits.float()
    assert (after - before).std() < 0.8 * before.std()
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (folder / name).read_bytes() == (run.paths.merged / name).read_bytes()
    assert json.loads((folder / "config.json").read_text())["rope_parameters"] == plain.config.rope_parameters
