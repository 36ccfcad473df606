"""What is learned: golden losses, and all the ways that must come to the same."""

import csv
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import Qwen3ForCausalLM

from components.by_dataset import short_names
from components.config import Params
from components.errors import ConfigError, MartletError
from components.tokens import TokenRows
from components.training import Packs, settled, write_reports
from components.training.cross_entropy import cross_entropy
from components.training.low_rank import one_operation
from components.training.page import render
from components.training.report import _smoothed
from tasks.progress import describe
from tests.components.training.runs import MASKED, learn, some_rows, write_tokens

GOLDEN = [5.684287, 5.700974, 5.741826, 5.696248]


def losses(outcome) -> list[float]:
    return [entry["loss"] for entry in outcome.history if "loss" in entry]


def cross_entropy_of(base: Path, rows: list[dict[str, list[int]]]) -> float:
    """Mean over the learnable tokens of `rows`, one row at a time and without the trainer."""
    model, total, count = Qwen3ForCausalLM.from_pretrained(base).eval(), 0.0, 0
    for row in rows:
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        for position, label in enumerate(row["labels"][1:]):
            if label >= 0:
                total, count = total - float(logits[position, label]), count + 1
    return total / count


def accuracy(base: Path, rows: list[dict[str, list[int]]]) -> float:
    """Share of the learnable tokens of `rows` that are the model's likeliest, one row at a time."""
    model, hits, count = Qwen3ForCausalLM.from_pretrained(base).eval(), 0, 0
    for row in rows:
        with torch.no_grad():
            likeliest = model(torch.tensor([row["input_ids"]])).logits[0, :-1].argmax(-1).tolist()
        learned = [(token, label) for token, label in zip(likeliest, row["labels"][1:], strict=True) if label >= 0]
        hits, count = hits + sum(token == label for token, label in learned), count + len(learned)
    return hits / count


def test_the_first_losses_are_these(tiny_model, tokens, tmp_path):
    found = losses(learn(tiny_model, tokens, tmp_path, max_steps=4))
    assert found == pytest.approx(GOLDEN, abs=1e-4)


def test_a_step_and_an_evaluation_are_means_over_learnable_tokens(tiny_model, tmp_path):
    rows, val = some_rows(8), some_rows(5, seed=1)
    tokens = write_tokens(tmp_path / "tokens", rows, val)
    outcome = learn(
        tiny_model, tokens, tmp_path, max_steps=1, gradient_accumulation_steps=4, learning_rate=1e-12,
        per_device_eval_batch_size=2,
    )  # fmt: skip
    assert losses(outcome)[0] == pytest.approx(cross_entropy_of(tiny_model, rows), abs=1e-5)
    evaluated = [entry["eval_loss"] for entry in outcome.history if "eval_loss" in entry]
    assert evaluated == [pytest.approx(cross_entropy_of(tiny_model, val), abs=1e-5)]


@pytest.mark.parametrize(
    "ways", [{}, {"packing": True, "packing_length": 40}, {"padding_free": True, "gradient_accumulation_steps": 4}]
)
def test_each_dataset_has_a_loss_of_its_own_in_an_evaluation(tiny_model, tmp_path, ways):
    val, specs = some_rows(7, seed=1), {"a": "data/a.jsonl#9", "c_d": "b/c d.jsonl"}
    for n, row in enumerate(val):
        row["source"] = specs["a" if n % 3 else "c_d"]
    tokens = write_tokens(tmp_path / "tokens", some_rows(8), val)
    ways = {"max_steps": 1, "learning_rate": 1e-12, "per_device_eval_batch_size": 2, **ways}
    outcome = learn(tiny_model, tokens, tmp_path, **ways, metric_for_best_model="eval_c_d_loss")
    logged = next(entry for entry in outcome.history if "eval_loss" in entry)
    of_all = 0.0
    for name, spec in specs.items():
        rows = [row for row in val if row["source"] == spec]
        assert logged[f"eval_{name}_loss"] == pytest.approx(cross_entropy_of(tiny_model, rows), abs=1e-5)
        of_all += logged[f"eval_{name}_loss"] * learned_of(rows) / learned_of(val)
    assert logged["eval_loss"] == pytest.approx(cross_entropy_of(tiny_model, val), abs=1e-5)
    assert logged["eval_loss"] == pytest.approx(of_all, abs=1e-9)
    if "packing" in ways:
        return
    entries = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    [evaluation] = [entry for entry in entries if "eval_loss" in entry]
    figures = {name: f"{logged[f'eval_{name}_loss']:.4f}" for name in specs}
    assert f"eval loss {logged['eval_loss']:.4f}  (c_d {figures['c_d']}, a {figures['a']})" in describe(evaluation)
    assert "Validation loss by dataset" in render([{"time": 1.0, **entry} for entry in entries], is_running=False)
    assert write_reports(outcome, tmp_path)["eval_a_loss"] == logged["eval_a_loss"]
    header, *lines = csv.reader((tmp_path / "train.csv").open())
    evaluated = ["eval_loss", "eval_a_loss", "eval_c_d_loss", "eval_token_acc"]
    assert header == ["step", "loss", "token_acc", "learning_rate", *evaluated]
    assert [float(number) for number in lines[-1][-3:-1]] == [logged["eval_a_loss"], logged["eval_c_d_loss"]]


def learned_of(rows):
    return sum(label >= 0 for row in rows for label in row["labels"][1:])


@pytest.mark.parametrize(
    ("specs", "names"),
    [
        (["examples/sounds.jsonl#64", "/tmp/skills.json.gz"], ["sounds", "skills"]),
        (["../a/train.jsonl", "../b/train.jsonl"], ["a_train", "b_train"]),
        (["a.jsonl#5", "a.jsonl#7"], ["a.jsonl_5", "a.jsonl_7"]),
        (["hf::owner/alpaca:en", "hf::owner/alpaca:de@main#500"], ["en", "de"]),
        (["o/Qwen2.5", "o/Qwen2.7", "中 文.csv"], ["Qwen2.5", "Qwen2.7", "中_文"]),
        (["a b", "a_b"], ["dataset1", "dataset2"]),
    ],
)
def test_datasets_have_short_names_of_their_own(specs, names):
    assert short_names(specs) == names


def test_the_answers_to_the_prompts_of_an_evaluation_are_compared_with_the_rows(tiny_model, tmp_path):
    model, rows, length = Qwen3ForCausalLM.from_pretrained(tiny_model).eval(), some_rows(6), 5
    for row in rows[::2]:  # which the model answers as the row does
        prompt = row["input_ids"][: len(row["input_ids"]) // 2]
        answer = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=length)[0, len(prompt) :]
        row |= {"input_ids": [*prompt, *answer.tolist()], "labels": MASKED * len(prompt) + answer.tolist()}
    tokens = write_tokens(tmp_path / "tokens", some_rows(8), rows)
    (tmp_path / "lengths.py").write_text(
        "def metrics(answers, references):\n    return {'answers': len(answers), 'same': sum(map(str.__eq__, answers, "
        "references))}\n"
    )
    ways = {"max_steps": 1, "learning_rate": 1e-12, "per_device_eval_batch_size": 4, "max_new_tokens": length}
    without = learn(tiny_model, tokens, tmp_path / "without", **ways)
    outcome = learn(
        tiny_model, tokens, tmp_path / "with", external=[tmp_path / "lengths.py"], predict_with_generate=True,
        eval_metric=["acc", "nlg", "lengths"], **ways,
    )  # fmt: skip
    assert losses(outcome) == losses(without)
    logged = next(entry for entry in outcome.history if "eval_loss" in entry)
    assert (logged["eval_acc"], logged["eval_answers"], logged["eval_same"]) == (0.5, 6, 3)
    assert all(0 <= logged[f"eval_{name}"] <= 100 for name in ("rouge-1", "rouge-2", "rouge-l", "bleu-4"))


def test_rouge_and_bleu_count_words_and_characters():
    from components.training.metrics import nlg

    equal = nlg.metrics(["the owl hoots at night", "你好"], ["the owl hoots at night", "你好"])
    assert equal["rouge-1"] == equal["rouge-l"] == pytest.approx(100, abs=1e-4)
    other = nlg.metrics(["the owl sings at noon", "", "."], ["the owl hoots at night", "x", "."])
    assert other["rouge-1"] == pytest.approx(100 * 3 / 5 / 3, abs=1e-4)
    assert 0 < other["bleu-4"] < 100


def test_token_accuracy_is_the_share_of_learnable_tokens_that_are_the_likeliest(tiny_model, tmp_path):
    model = Qwen3ForCausalLM.from_pretrained(tiny_model)
    rows = some_rows(12)
    for row in rows[::2]:  # whose second half the model gets right
        half = len(row["labels"]) // 2
        for n in range(half, len(row["labels"])):
            with torch.no_grad():
                row["input_ids"][n] = row["labels"][n] = int(
                    model(torch.tensor([row["input_ids"][:n]])).logits[0, -1].argmax()
                )
    tokens = write_tokens(tmp_path / "tokens", rows[:8], rows[8:])
    outcome = learn(tiny_model, tokens, tmp_path, max_steps=1, gradient_accumulation_steps=4, learning_rate=1e-12)
    logged = {name: value for entry in outcome.history for name, value in entry.items()}
    assert 0.3 < logged["token_acc"] < 1
    assert logged["token_acc"] == accuracy(tiny_model, rows[:8])
    assert logged["eval_token_acc"] == accuracy(tiny_model, rows[8:])


def test_the_smoothed_line_follows_the_curve():
    curve = [2 + 6 * math.exp(-step / 10) for step in range(200)]
    noisy = [loss + (-1) ** step * 0.5 for step, loss in enumerate(curve)]
    assert max(abs(a - b) for a, b in zip(_smoothed(noisy), curve, strict=True)) < 2
    assert max(abs(a - b) for a, b in zip(_smoothed(noisy)[20:], curve[20:], strict=True)) < 0.15
    for count in (1, 2, 3, 7):
        assert _smoothed([1.5] * count) == pytest.approx([1.5] * count)


BATCHES: dict[str, dict[str, Any]] = {
    "8 x 1": {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1},
    "4 x 2": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2},
    "1 x 8": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
    "padded": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "padding_free": False},
    "joined": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "padding_free": True},
    "packed": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "packing": True,
               "packing_length": 40},
    "in the order of rows": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "packing": True,
                             "packing_length": 30, "packing_strategy": "sequential"},
    "resumed in other batches": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
}  # fmt: skip
TOLERANCE = 2e-6
"""Largest difference of the loss of a step, in nats, from the same rows one by one in float64."""


@pytest.fixture(scope="module")
def many(tiny_model, tmp_path_factory) -> tuple[Path, list[tuple[float, int]]]:
    """Tokens of 160 rows, and of each row the summed loss in float64 and the number of learned tokens."""
    rows, model = some_rows(160), Qwen3ForCausalLM.from_pretrained(tiny_model).double().eval()
    sums: list[tuple[float, int]] = []
    for row in rows:
        targets = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(logits, targets, ignore_index=MASKED[0], reduction="sum")
        sums.append((float(loss), int((targets != MASKED[0]).sum())))
    return write_tokens(tmp_path_factory.mktemp("many"), rows), sums


def step_losses(tokens: Path, sums: list[tuple[float, int]], ways: dict[str, Any], steps: int) -> list[float]:
    """Return the loss of each step, from the sums of its rows."""
    rows: Any = TokenRows(tokens / "train.arrow")
    if ways.get("packing"):
        rows = Packs(rows, ways["packing_length"], ways.get("packing_strategy", "binpack"))
    size = ways["per_device_train_batch_size"] * ways["gradient_accumulation_steps"]
    found: list[float] = []
    for epoch in range(math.ceil(steps * size / len(rows))):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(42 + epoch)).tolist()
        for start in range(0, len(rows), size):
            origins = [origin for item in order[start : start + size] for origin in rows.origins(item)]
            parts = [sums[int(origin.rpartition(" ")[2]) - 1] for origin in origins]
            found.append(sum(loss for loss, _ in parts) / sum(count for _, count in parts))
    return found[:steps]


@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("name", BATCHES)
def test_only_the_rows_of_a_step_decide_its_loss(tiny_model, many, tmp_path, name):
    (tokens, sums), ways, steps = many, BATCHES[name], 20
    settings = {**ways, "max_steps": steps, "save_steps": steps, "learning_rate": 1e-12}
    if name == "resumed in other batches":
        before = {**settings, **BATCHES["8 x 1"], "save_steps": 7}
        learn(tiny_model, tokens, tmp_path / "before", **before)
        shutil.copytree(tmp_path / "before/checkpoints/checkpoint-7", tmp_path / "checkpoints/checkpoint-7")
    outcome = learn(tiny_model, tokens, tmp_path, **settings)
    residuals = np.array(losses(outcome)) - step_losses(tokens, sums, ways, steps)
    assert np.abs(residuals).max() < TOLERANCE
    assert abs(residuals.mean()) < 4 * residuals.std() / math.sqrt(steps)


def test_workers_and_recomputed_activations_change_nothing(tiny_model, tokens, tmp_path):
    plain = losses(learn(tiny_model, tokens, tmp_path / "0", dataloader_num_workers=0))
    assert losses(learn(tiny_model, tokens, tmp_path / "2", dataloader_num_workers=2)) == plain
    without = losses(learn(tiny_model, tokens, tmp_path / "stored"))
    recomputed = losses(learn(tiny_model, tokens, tmp_path / "recomputed", gradient_checkpointing=True))
    assert recomputed == pytest.approx(without, abs=1e-5)


def test_a_masked_row_contributes_nothing(tiny_model, tmp_path):
    rows = some_rows(4)
    masked = {"input_ids": list(range(3, 15)), "labels": MASKED * 12}
    with_it = write_tokens(tmp_path / "with", [*rows[:2], masked, *rows[2:]])
    without = write_tokens(tmp_path / "without", rows)
    settings = {"max_steps": 1, "per_device_train_batch_size": 5, "gradient_accumulation_steps": 1}
    first, second = (learn(tiny_model, t, tmp_path / t.name / "run", **settings) for t in (with_it, without))
    assert losses(first) == pytest.approx(losses(second), abs=1e-6)
    grads = [next(e["grad_norm"] for e in o.history if "loss" in e) for o in (first, second)]
    assert grads[0] == pytest.approx(grads[1], rel=1e-4)
    alone = learn(tiny_model, write_tokens(tmp_path / "alone", [masked]), tmp_path / "alone/run", max_steps=1)
    assert losses(alone) == [0.0]


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"lr_scheduler_type": "constant", "warmup_ratio": 0}, [1, 1, 1, 1]),
        ({"lr_scheduler_type": "constant", "warmup_steps": 2}, [0, 0.5, 1, 1]),
        ({"lr_scheduler_type": "linear", "warmup_ratio": 0}, [1, 0.75, 0.5, 0.25]),
        ({"lr_scheduler_type": "cosine", "warmup_ratio": 0}, [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]),
        ({"lr_scheduler_type": "cosine", "warmup_ratio": 0.25}, [0, 1, 0.75, 0.25]),
        (
            {"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}, "warmup_ratio": 0},
            [1, 0.5, 1, 0.5],
        ),
        (
            {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.5}, "warmup_ratio": 0},
            [0.5 + (1 + math.cos(math.pi * i / 4)) / 4 for i in range(4)],
        ),
        (
            {"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2, "lr_end": 0}, "warmup_ratio": 0},
            [1, 0.75**2, 0.5**2, 0.25**2],
        ),
        (
            {"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": {"timescale": 1}, "warmup_steps": 1},
            [0, 1, 2**-0.5, 3**-0.5],
        ),
        (
            {
                "lr_scheduler_type": "warmup_stable_decay",
                "warmup_ratio": 0,
                "lr_scheduler_kwargs": {"num_decay_steps": 2, "decay_type": "linear"},
            },
            [1, 1, 1, 0.5],
        ),
    ],
)
def test_the_learning_rate_follows_its_schedule(tiny_model, tokens, tmp_path, settings, expected):
    outcome = learn(tiny_model, tokens, tmp_path, max_steps=4, learning_rate=0.01, **settings)
    rates = [entry["learning_rate"] for entry in outcome.history if "loss" in entry]
    assert rates == pytest.approx([0.01 * share for share in expected], abs=1e-9)


def test_a_schedule_that_transformers_refuses_is_a_sentence(tiny_model, tokens, tmp_path):
    with pytest.raises(ConfigError, match=r"lr_scheduler_kwargs: lr_end \(0.5\) must be smaller"):
        learn(tiny_model, tokens, tmp_path, lr_scheduler_type="polynomial", lr_scheduler_kwargs={"lr_end": 0.5})


def expected_loss(base: Path, rows: list[dict[str, list[int]]], loss) -> float:
    """Mean of `loss(log probabilities, label)` over the learnable tokens of `rows`, one row at a time."""
    model, values = Qwen3ForCausalLM.from_pretrained(base).eval(), []
    for row in rows:
        with torch.no_grad():
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        values += [float(loss(logits[n], label)) for n, label in enumerate(row["labels"][1:]) if label >= 0]
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("settings", "loss"),
    [
        ({"label_smoothing_factor": 0.1}, lambda logs, label: -0.9 * logs[label] - 0.1 * logs.mean()),
        ({"loss_type": "dft"}, lambda logs, label: -logs[label] * logs[label].exp()),
    ],
)
def test_a_loss_comes_to_the_same_for_every_batch(tiny_model, tmp_path, settings, loss):
    rows = some_rows(8)
    tokens = write_tokens(tmp_path / "tokens", rows, rows)
    expected = pytest.approx(expected_loss(tiny_model, rows, loss), abs=1e-5)
    for batch, free in ((8, False), (2, True)):
        outcome = learn(
            tiny_model, tokens, tmp_path / str(batch), max_steps=1, per_device_train_batch_size=batch,
            gradient_accumulation_steps=8 // batch, learning_rate=1e-12, padding_free=free, **settings,
        )  # fmt: skip
        assert losses(outcome) == [expected]
        assert [entry["eval_loss"] for entry in outcome.history if "eval_loss" in entry] == [expected]


def test_what_depends_on_other_parameters_is_settled():
    def train(**values):
        return settled(Params.model_validate({"train": values}), 1e-4).train

    assert train().gradient_accumulation_steps == 16
    mine = train(per_device_train_batch_size=5, save_steps=7)
    assert (mine.gradient_accumulation_steps, mine.learning_rate, mine.eval_steps) == (4, 1e-4, 7)
    given = train(gradient_accumulation_steps=3, learning_rate=0.5, eval_steps=2)
    assert (given.gradient_accumulation_steps, given.learning_rate, given.eval_steps) == (3, 0.5, 2)


def test_rates_that_are_too_high_stop_the_run(tiny_model, tokens, tmp_path):
    with pytest.raises(MartletError, match=r"at step \d.* lower --learning_rate"):
        learn(tiny_model, tokens, tmp_path, learning_rate=1e30, warmup_ratio=0, max_grad_norm=0, weight_decay=0)
    for weights in (tmp_path / "checkpoints").rglob("*.safetensors"):
        assert all(torch.isfinite(weight).all() for weight in load_file(weights).values())


@pytest.mark.parametrize(
    ("weight", "ways", "said", "others"),
    [
        (math.nan, {}, "loss", 1),
        (math.nan, {"packing": True, "packing_length": 60}, "loss", 6),
        (1e30, {}, "norm of the gradient", 3),  # whose square is too large for float32
    ],
)
def test_a_row_that_breaks_the_numbers_is_named_and_the_last_good_checkpoint_stays(
    tiny_model, tmp_path, weight, ways, said, others
):
    rows: list[dict[str, Any]] = [{**row, "loss_scale": [1.0] * len(row["labels"])} for row in some_rows(16)]
    last = torch.randperm(16, generator=torch.Generator().manual_seed(42)).tolist()[13]
    rows[last]["loss_scale"][-1] = weight
    tokens = write_tokens(tmp_path / "tokens", rows)
    with pytest.raises(MartletError, match=rf"^the {said} at step \d is (nan|inf), in ") as caught:
        learn(tiny_model, tokens, tmp_path, save_steps=1, num_train_epochs=1, **ways)
    named = re.findall(r"a\.jsonl, row (\d+)", str(caught.value))
    assert str(last + 1) in named
    assert len(named) == others + 1, named
    step = int(re.findall(r"step (\d)", str(caught.value))[0])
    kept = sorted((tmp_path / "checkpoints").glob("checkpoint-*"))
    assert [folder.name for folder in kept] == [f"checkpoint-{n}" for n in range(1, step)]


def test_no_rows_is_an_error(tiny_model, tmp_path):
    with pytest.raises(MartletError, match="no rows"):
        learn(tiny_model, write_tokens(tmp_path / "tokens", []), tmp_path)


def test_progress_and_reports_say_the_same(tiny_model, tokens, tmp_path):
    outcome = learn(tiny_model, tokens, tmp_path, logging_steps=3, max_steps=8)
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 3, 6, 8]
    every = losses(outcome)
    means = [every[0], sum(every[1:3]) / 2, sum(every[3:6]) / 3, sum(every[6:8]) / 2]
    assert [line["loss"] for line in steps] == pytest.approx(means, abs=1e-9)
    fields = {
        "step",
        "total_steps",
        "epoch",
        "loss",
        "token_acc",
        "learning_rate",
        "grad_norm",
        "tokens_per_second",
        "memory",
        "eta",
    }
    assert set(steps[-1]) == fields
    assert steps[-1]["eta"] == 0
    assert outcome.tokens == 2 * sum(len(row["input_ids"]) for row in some_rows(16))

    summary = write_reports(outcome, tmp_path / "reports", extra_figure=1)
    assert json.loads((tmp_path / "reports/train.json").read_text()) == summary
    assert summary["loss"] == pytest.approx(means[-1])
    assert (summary["steps"], summary["extra_figure"], summary["best_checkpoint"]) == (8, 1, outcome.best)
    with (tmp_path / "reports/train.csv").open() as stream:
        table = {int(row["step"]): row for row in csv.DictReader(stream)}
    assert [float(table[step]["loss"]) for step in (1, 3, 6, 8)] == pytest.approx(means)
    assert [step for step, row in table.items() if row["eval_loss"]] == [2, 4, 6, 8]
    image = (tmp_path / "reports/train.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    write_reports(outcome, tmp_path / "again", extra_figure=1)
    for name in ("train.json", "train.csv", "train.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "reports" / name).read_bytes()
    by_another_figure = write_reports(replace(outcome, best="checkpoint-2"), tmp_path / "other")
    assert by_another_figure["best_eval_loss"] == pytest.approx(float(table[2]["eval_loss"]), abs=1e-5)
    assert by_another_figure["best_eval_loss"] > summary["best_eval_loss"]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_cross_entropy_and_its_gradient_are_pytorchs(precision):
    random = torch.Generator().manual_seed(0)
    logits = (torch.randn(700, 300, generator=random) * 20).to(precision)  # more than one piece, shares down to 0
    targets = torch.randint(0, 300, (700,), generator=random)
    weights = torch.rand(700, generator=random)
    mine, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    losses = cross_entropy(mine, targets)
    expected = torch.nn.functional.cross_entropy(theirs.float(), targets, reduction="none")
    assert losses.tolist() == pytest.approx(expected.tolist(), rel=1e-5, abs=1e-4)
    (losses * weights).sum().div(700).backward()
    (expected * weights).sum().div(700).backward()
    assert mine.grad is not None
    assert theirs.grad is not None
    assert float((mine.grad - theirs.grad).abs().max()) <= torch.finfo(precision).eps / 700
    with torch.no_grad():
        assert torch.equal(cross_entropy(logits, targets), losses)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
def test_lora_in_one_operation_is_pefts_and_is_undone(bias, precision):
    """With a base in `precision` and an adapter in float32; autocast computes, as in training."""
    torch.manual_seed(0)
    layers = torch.nn.Sequential(*(torch.nn.Linear(12, 12, bias=bias, dtype=precision) for _ in range(2)))
    config = LoraConfig(r=3, lora_alpha=7, lora_dropout=0.2, target_modules=["0", "1"], init_lora_weights=False)
    model, x = get_peft_model(layers, config), torch.randn(2, 5, 12, dtype=precision)
    lora = [module for module in model.modules() if hasattr(module, "lora_variant")]
    autocast = torch.autocast("cpu", precision, enabled=precision != torch.float32)

    def answer_and_gradients() -> list[torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(1)  # the same elements are dropped
        with autocast:
            answer = model(x)
        (answer**3).sum().backward()
        return [answer.detach(), *(weight.grad.clone() for weight in model.parameters() if weight.grad is not None)]

    plain = answer_and_gradients()
    with one_operation(model):
        assert all(module.lora_variant and not module.cast_input_dtype_enabled for module in lora)
        fused = answer_and_gradients()
    assert [part.dtype for part in plain] == [part.dtype for part in fused] == [precision, *[torch.float32] * 4]
    tolerance = 1e-5 if precision == torch.float32 else 0.03
    assert all((a - b).norm() <= tolerance * a.norm() for a, b in zip(plain, fused, strict=True))
    before = model.eval()(x)
    assert torch.allclose(model.merge_and_unload(safe_merge=True)(x), before, atol=10 * tolerance)


def test_padded_rows_have_logits_only_where_some_row_learns(tiny_model, tmp_path):
    short = {"input_ids": list(range(3, 11)), "labels": MASKED * 5 + list(range(8, 11))}
    long = {"input_ids": list(range(3, 23)), "labels": MASKED * 18 + [21, 22]}
    tokens = write_tokens(tmp_path / "tokens", [short, long])
    sizes: list[int] = []
    forward = torch.nn.Linear.forward

    def watched(self: Any, x: torch.Tensor) -> torch.Tensor:
        if self.out_features > 300 and x.shape[0] == 2:
            sizes.append(x.shape[1])
        return forward(self, x)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "forward", watched)
        outcome = learn(tiny_model, tokens, tmp_path, max_steps=1, padding_free=False, gradient_accumulation_steps=1)
    assert sizes == [5]
    assert losses(outcome) == [pytest.approx(cross_entropy_of(tiny_model, [short, long]), abs=1e-5)]
