"""The stage `train`: from tokens and a base to an adapter, reports and checkpoints."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from components import models, tuners
from components.config import Params, read_mapping, resolve
from components.errors import ConfigError, MartletError
from components.files import is_complete, sha256_tree, write_json
from tasks.stages import methods, train
from tasks.stages.paths import Paths
from tests.components.training.runs import some_rows, write_tokens

SMALL = {
    "num_train_epochs": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "save_steps": 2,
    "learning_rate": 1e-2, "lora_rank": 4,
}  # fmt: skip


@pytest.fixture
def paths(tiny_model: Path, tmp_path: Path) -> Paths:
    paths = Paths(root=tmp_path, workspace=tmp_path)
    write_tokens(paths.tokens, some_rows(16), some_rows(4, seed=1))
    write_json(paths.model, models.resolve(str(tiny_model), None, False, tmp_path))
    return paths


def settings(**given: Any) -> Params:
    return resolve(read_mapping({**SMALL, **given}, "test"))


def run(params: Params, paths: Paths):
    """Train behind what `fetch` leaves."""
    write_json(paths.methods, methods.used(params, paths.workspace))
    return train.run(params, paths)


def test_an_adapter_with_all_that_it_needs(paths: Paths, tiny_model: Path):
    result = run(settings(num_train_epochs=4), paths)
    assert is_complete(paths.adapter)
    names = {p.name for p in paths.adapter.iterdir()}
    assert names >= {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"}
    arguments = json.loads((paths.adapter / "args.json").read_text())
    assert arguments["model"] == json.loads(paths.model.read_text())
    assert arguments["lora"]["lora_rank"] == 4
    assert arguments["train"]["eval_steps"] == 2
    summary = json.loads((paths.reports / "train.json").read_text())
    assert summary.items() <= result.items()
    assert summary["steps"] == 16
    assert summary["loss"] < summary["first_loss"]
    assert summary["trainable_parameters"] == 8192
    loaded = tuners.TUNERS.load("lora").load(models.load_model(tiny_model), paths.adapter)
    assert sum(p.numel() for n, p in loaded.named_parameters() if "lora_" in n) == 8192


def names_in(paths: Paths, pattern: str) -> list[str]:
    """The names of the checkpoints of a direct command."""
    assert paths.checkpoints
    return sorted(file.name for file in paths.checkpoints.glob(pattern))


def reports_of(paths: Paths) -> list[Path]:
    """The reports of a training that do not say when it was."""
    return sorted(file for file in paths.reports.glob("train.*") if file.suffix != ".html")


def test_the_same_inputs_give_the_same_bytes_and_leave_one_set_of_checkpoints(paths: Paths):
    outputs = []
    for seed in (42, 7, 42):
        run(settings(seed=seed), paths)
        outputs.append([sha256_tree(paths.adapter), *(f.read_bytes() for f in reports_of(paths))])
        kept = sorted(p.parent.name for p in (paths.workspace / ".checkpoints").glob("*/checkpoint-4"))
        assert len(kept) == 1
    assert outputs[0] == outputs[2]
    assert all(a != b for a, b in zip(outputs[0], outputs[1], strict=True))


def test_all_weights(paths: Paths, tiny_model: Path):
    result = run(settings(train_type="full", learning_rate=1e-3), paths)
    assert result["trainable_parameters"] == result["parameters"]
    before, after = models.load_model(tiny_model), models.load_model(paths.adapter)
    assert not torch.equal(before.model.embed_tokens.weight, after.model.embed_tokens.weight)
    assert models.load_tokenizer(paths.adapter).chat_template


def test_a_direct_command_keeps_its_checkpoints_and_continues_from_one_that_is_named(paths: Paths):
    first = Paths(root=paths.root, workspace=paths.workspace, checkpoints=paths.root / "first")
    run(settings(num_train_epochs=2), first)
    assert names_in(first, "checkpoint-*") == [f"checkpoint-{n}" for n in (2, 4, 6, 8)]
    whole = sha256_tree(paths.adapter)
    second = Paths(root=paths.root, workspace=paths.workspace, checkpoints=paths.root / "second")
    run(settings(num_train_epochs=2, resume_from_checkpoint="first/checkpoint-4"), second)
    assert names_in(second, "checkpoint-*") == ["checkpoint-6", "checkpoint-8"]
    assert sha256_tree(paths.adapter) == whole
    run(settings(max_steps=5, resume_from_checkpoint="first/checkpoint-4"), first)
    assert names_in(first, "checkpoint-*") == [f"checkpoint-{n}" for n in (2, 4, 5)]
    assert names_in(first, "aside/*") == ["checkpoint-6", "checkpoint-8"]
    with pytest.raises(ConfigError, match="--lora_rank was 4 and is 8"):
        run(settings(num_train_epochs=2, lora_rank=8, resume_from_checkpoint="first/checkpoint-4"), second)


def test_a_run_goes_on_longer_at_the_rates_of_the_longer_schedule(paths: Paths):
    linear = {"lr_scheduler_type": "linear", "logging_steps": 1}
    direct = Paths(root=paths.root, workspace=paths.workspace, checkpoints=paths.root / "run")
    run(settings(**linear, max_steps=3, save_steps=3), direct)
    run(settings(**linear, max_steps=6, save_steps=1, resume_from_checkpoint="run/checkpoint-3"), direct)
    lines = [json.loads(line) for line in (paths.log("train") / "progress.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert rates[3:] == pytest.approx([1e-2 * share for share in (3 / 6, 2 / 6, 1 / 6)])
    assert names_in(direct, "checkpoint-*") == [f"checkpoint-{n}" for n in (3, 4, 5, 6)]
    with pytest.raises(ConfigError, match=r"checkpoint-6 is at step 6, and the run ends at step 5; raise --max_steps"):
        run(settings(**linear, max_steps=5, resume_from_checkpoint="run/checkpoint-6"), direct)


def test_saved_weights_that_answer_otherwise_are_not_published(paths: Paths, monkeypatch: pytest.MonkeyPatch):
    lora = tuners.TUNERS.load("lora")
    honest = lora.save

    def damaging(model: Any, folder: Path, base: str | None = None):
        with torch.no_grad():
            weight = next(p for n, p in model.named_parameters() if "lora_B" in n)
            weight.add_(1)
            honest(model, folder, base)
            weight.sub_(1)

    monkeypatch.setattr(lora, "save", damaging)
    with pytest.raises(MartletError, match="do not answer as the trained ones"):
        run(settings(), paths)
    assert not paths.adapter.exists()
    assert not (paths.reports / "train.json").exists()


def test_a_missing_name_stops_before_anything_is_written(paths: Paths):
    with pytest.raises(ConfigError, match="tuner_type"):
        run(settings(train_type="lorra"), paths)
    with pytest.raises(ConfigError, match="target_modules"):
        run(settings(target_modules=["nothing"]), paths)
    assert not (paths.workspace / ".checkpoints").exists()
