"""`martlet sft --task_type embedding`: from texts that belong together to a folder that sentence-transformers loads."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from components.config import Params
from components.files import read_json
from components.training.methods._pair_trainer import PairTrainer
from components.training.pair_losses import PAIR_LOSSES, Pairs
from tests.apps.test_plugins import SHORT, write_rows
from tests.commands import deployed, martlet

THINGS = ["apple", "zinc", "oak", "river", "lamp", "cloud", "horse", "violin"]


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "logs/train/progress.jsonl").read_text().splitlines()]


def train(folder: Path, base: Path, *words: object, code: int = 0) -> str:
    return martlet(
        folder, "sft", "--task_type", "embedding", "--model", base, "--dataset", "pairs.jsonl", "--learning_rate", 1e-2,
        "--lora_dropout", 0, "--num_train_epochs", 6, "--split_dataset_ratio", 0.25, "--eval_strategy", "epoch",
        *SHORT, "--per_device_train_batch_size", 8, *words, code=code,
    )  # fmt: skip


def test_vectors_of_texts_that_belong_together_come_near_and_are_those_of_the_merged_folder(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = [
        {"anchor": f"{thing} {n}", "positive": f"the {thing}, {n}", "negative": f"the {THINGS[n]}"}
        for thing in THINGS
        for n in range(4)
        if thing != THINGS[n]
    ]
    write_rows(tmp_path / "pairs.jsonl", rows)
    said = train(tmp_path, tiny_model)
    assert re.search(r"^pairs: \d+, negatives \d+$", said, re.MULTILINE)
    assert re.search(r"^memory: about .* at most 24 × \d+ tokens\)$", said, re.MULTILINE)
    assert "embed texts:  martlet infer" in said
    assert "learn" not in said.replace("learning_rate", "").replace("parameters learn", "")
    report = lines(tmp_path / "run")
    losses = [line["loss"] for line in report if "loss" in line]
    assert losses[-1] < losses[0] / 2
    recalls = [line["eval_recall_at_1"] for line in report if "eval_recall_at_1" in line]
    assert recalls[-1] >= 0.7
    martlet(tmp_path, "export", "--adapters", "run", "--merge_lora", "true", "--output_dir", "merged")
    assert [module["type"].rpartition(".")[2] for module in read_json(tmp_path / "merged/modules.json")] == [
        "Transformer", "Pooling", "Normalize",
    ]  # fmt: skip
    pair = {"sentence1": "the violin", "sentence2": "zinc", "score": 0.5}
    write_rows(tmp_path / "texts.jsonl", [{"query": "apple 2"}, pair])
    for model in (["--adapters", "run"], ["--model", "merged"]):
        martlet(tmp_path, "infer", *model, "--val_dataset", "texts.jsonl", "--result_path", "vectors.jsonl")
        vectors = [json.loads(line)["embedding"] for line in (tmp_path / "vectors.jsonl").read_text().splitlines()]
        tokenizer, merged = (
            AutoTokenizer.from_pretrained(tmp_path / "merged"),
            AutoModel.from_pretrained(tmp_path / "merged"),
        )
        for text, vector in zip(("apple 2", "the violin"), vectors, strict=True):
            with torch.no_grad():
                hidden = merged(**tokenizer(text, return_tensors="pt")).last_hidden_state[0, -1]
            assert vector == pytest.approx(torch.nn.functional.normalize(hidden, dim=0).tolist(), abs=1e-4)
    with deployed(tmp_path, "--model", "merged") as url:
        served = httpx.post(f"{url}/embeddings", json={"input": "the violin"}, timeout=60).json()["data"]
    assert served[0]["embedding"] == pytest.approx(vectors[1], abs=1e-5)
    for command in ("deploy", "infer"):
        error = martlet(tmp_path, command, "--model", "merged", "--temperature", 0.5, code=2)
        assert "--temperature has no effect with a model that writes no text" in error
    error = martlet(tmp_path, "deploy", "--model", "merged", "--infer_backend", "vllm", code=2)
    assert "merged writes no text; leave it out" in error


Row = Callable[[str, str, float], dict[str, Any]]


def scored(a: str, b: str, score: float) -> dict[str, Any]:
    return {"sentence1": a, "sentence2": b, "score": score}


def judged(a: str, b: str, score: float) -> dict[str, Any]:
    return {"query": a, "response": b, "label": score > 0.5}


def preferred(a: str, b: str, score: float) -> dict[str, Any]:
    return {"prompt": a, "chosen": b, "rejected": "no"}


def test_texts_that_are_the_same_are_found_as_each_other() -> None:
    """In batches of other lengths the vectors of one text differ in the last bits."""
    vectors = torch.nn.functional.normalize(torch.randn(3, 8, generator=torch.manual_seed(0)), dim=-1)
    positive = torch.nn.functional.normalize(torch.ones(8), dim=0)
    rows = [[vector.tolist(), (positive + n * 1e-7).tolist(), 1.0] for n, vector in enumerate(vectors)]
    trainer: Any = SimpleNamespace(evaluated=rows)
    assert PairTrainer.figures(trainer, []) == {"eval_recall_at_1": 1.0}


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("row", "words", "figure"),
    [
        (scored, ["--loss_type", "cosine_similarity"], "eval_spearman"),
        (judged, ["--loss_type", "contrastive"], "eval_spearman"),
        (preferred, ["--infonce_use_batch", "false"], "eval_recall_at_1"),
    ],
)
def test_rows_of_other_kinds(tiny_model: Path, tmp_path: Path, row: Row, words: list[str], figure: str) -> None:
    pairs = [(a, b, 1.0 if a == b else 0.25 * (n % 3)) for a in THINGS[:5] for n, b in enumerate(THINGS[:5])]
    write_rows(tmp_path / "pairs.jsonl", [row(a, f"the {b}", score) for a, b, score in pairs])
    train(tmp_path, tiny_model, *words, "--num_train_epochs", 2)
    assert any(figure in line for line in lines(tmp_path / "run"))


def test_a_score_for_infonce_and_a_row_without_a_second_text_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [{"sentence1": a, "sentence2": b, "score": 0.5} for a in "abc" for b in "def"])
    assert "use cosine_similarity" in train(tmp_path, tiny_model, code=2)
    write_rows(tmp_path / "pairs.jsonl", [{"sentence1": a, "sentence2": b, "label": 2.5} for a in "abc" for b in "def"])
    assert "divide 5 stars by 5" in train(tmp_path, tiny_model, "--loss_type", "cosine_similarity", code=2)
    rows = [{"sentence1": a, "sentence2": b, "score": None if b == "e" else 0.1} for a in "abc" for b in "def"]
    write_rows(tmp_path / "pairs.jsonl", rows)
    error = train(tmp_path, tiny_model, "--loss_type", "cosine_similarity", code=2)
    assert "has none, and other rows have; give it one" in error
    write_rows(tmp_path / "pairs.jsonl", [{"anchor": a, "positive": f"the {a}"} for a in THINGS])
    assert "a batch of one row has none either" in train(
        tmp_path, tiny_model, "--per_device_train_batch_size", 1, code=2
    )
    assert "leave --infonce_use_batch false out" in train(tmp_path, tiny_model, "--infonce_use_batch", "false", code=2)
    train(
        tmp_path, tiny_model, "--max_steps", 1, "--infonce_temperature", 10
    )  # alone, a row has nothing to compare with
    assert next(line["eval_loss"] for line in lines(tmp_path / "run") if "eval_loss" in line) > 0.1
    write_rows(tmp_path / "pairs.jsonl", [{"query": a} for a in THINGS])
    assert "an anchor and a positive" in train(tmp_path, tiny_model, code=3)
    assert "--system has no effect" in train(tmp_path, tiny_model, "--system", "Hi", code=2)


def test_losses_are_their_formulas() -> None:
    """Two rows of unit vectors in the plane; the second row has one negative."""
    pairs = Pairs(
        anchors=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        positives=torch.tensor([[0.6, 0.8], [0.8, 0.6]]),
        negatives=torch.tensor([[0.0, -1.0]]),
        owners=torch.tensor([1]),
        scores=torch.tensor([1.0, 1.0]),
    )

    def loss(name: str, **settings: Any) -> float:
        return float(PAIR_LOSSES.load(name).loss(pairs, Params.model_validate({"embedding": settings})))

    similarities = torch.tensor([[0.6, 0.8, 0.0], [0.8, 0.6, -1.0]])
    expected = sum(-(row / 0.5).log_softmax(0)[i] for i, row in enumerate(similarities))
    assert loss("infonce", infonce_temperature=0.5) == pytest.approx(float(expected))
    alone = -torch.tensor([0.6, -1.0]).div(0.5).log_softmax(0)[0]
    assert loss("infonce", infonce_temperature=0.5, infonce_use_batch=False) == pytest.approx(float(alone))
    assert loss("cosine_similarity") == pytest.approx(0.4**2 + 0.4**2 + (-1.0) ** 2)
    assert loss("contrastive", contrastive_margin=2.5) == pytest.approx(0.5 * (0.4**2 + 0.4**2 + 0.5**2))
    assert loss("online_contrastive") == pytest.approx(0, abs=1e-6)
