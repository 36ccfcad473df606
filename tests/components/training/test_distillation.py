"""Distillation: its loss beside an independent computation, whose answers are learned, and all the ways that must come
to the same."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoTokenizer, Qwen3ForCausalLM

from components.config import read_mapping, resolve
from components.errors import MartletError
from components.files import read_json, write_json
from components.models import copy_companions
from components.tokens import IGNORED, TokenRows
from components.training import METHODS, Job, distillation
from components.training.distillation import divergences
from components.tuners import TUNERS
from tasks import preflight
from tasks.stages import methods
from tasks.stages.rollouts import LocalRollouts
from tests.components.training.runs import learn, learn_params, other_weights, reward_model, some_rows, write_tokens

ROWS, HELD_OUT = some_rows(12), some_rows(5, seed=1)
SMALL = {"rlhf_type": "gkd", "max_completion_length": 6, "lora_dropout": 0.0, "num_train_epochs": 1}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("chats"), ROWS, HELD_OUT)


@pytest.fixture(scope="module")
def teacher(tiny_model: Path) -> Any:
    return other_weights(tiny_model)


def log_probs(model: Any, row: dict[str, Any], width: int) -> list[list[float]]:
    """The logarithms of the distributions over the first `width` tokens before each learned token."""
    with torch.no_grad():
        logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1, :width].double().log_softmax(-1)
    return [line for line, label in zip(logits.tolist(), row["labels"][1:], strict=True) if label != IGNORED]


def kl(first: list[float], second: list[float]) -> float:
    return sum(math.exp(p) * (p - q) for p, q in zip(first, second, strict=True))


def jsd(teacher: list[float], student: list[float], beta: float) -> float:
    mixture = [math.log(beta * math.exp(p) + (1 - beta) * math.exp(q)) for p, q in zip(teacher, student, strict=True)]
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)


LOSSES: dict[str, tuple[dict[str, Any], Any]] = {
    "default": ({}, lambda teacher, student: jsd(teacher, student, 0.5)),
    "skewed": ({"beta": 0.1}, lambda teacher, student: jsd(teacher, student, 0.1)),
    "forward": ({"beta": 0}, kl),
    "reverse": ({"beta": 1}, lambda teacher, student: kl(student, teacher)),
    "own": ({"beta": 0, "sft_alpha": 0.3}, kl),
    "wider": ({"beta": 0}, kl),
}


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_what_its_formula_says(
    name: str, tiny_model: Path, teacher: Any, tokens: Path, tmp_path: Path
) -> None:
    params, loss = LOSSES[name]
    teacher = other_weights(tiny_model, 320) if name == "wider" else teacher
    settings = {**SMALL, "max_steps": 1, "eval_steps": 1, "learning_rate": 3e-2, **params}
    outcome = learn(tiny_model, tokens, tmp_path, teacher=teacher, **settings)
    model = PeftModel.from_pretrained(Qwen3ForCausalLM.from_pretrained(tiny_model), str(tmp_path / "final")).eval()
    width = model.config.vocab_size
    losses = []
    for row in HELD_OUT:
        targets = [token for token in row["labels"][1:] if token != IGNORED]
        for wanted, own, token in zip(
            log_probs(teacher, row, width), log_probs(model, row, width), targets, strict=True
        ):
            losses.append(loss(wanted, own) - params.get("sft_alpha", 0) * own[token])
    [entry] = [entry for entry in outcome.history if "eval_loss" in entry]
    assert entry["eval_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert (entry["eval_loss"] == pytest.approx(entry["eval_divergence"])) == ("sft_alpha" not in params)


def test_pieces_have_the_loss_and_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(7, 11, requires_grad=True), torch.randn(7, 13)
    whole = divergences(student, teacher, 0.3)
    [gradient] = torch.autograd.grad(whole.sum(), student)
    monkeypatch.setattr(distillation, "PIECE", 25)
    pieces = divergences(student, teacher, 0.3)
    assert torch.equal(pieces, whole)
    assert torch.equal(torch.autograd.grad(pieces.sum(), student)[0], gradient)
    assert not divergences(student, student.detach(), 0.3).abs().gt(1e-6).any()


def trainer_of(base: Path, tokens: Path, folder: Path, teacher: Any, **params: Any) -> Any:
    """A trainer that has not begun, on the base itself."""
    settings = learn_params({**SMALL, "temperature": 0, "gradient_accumulation_steps": 1, **params})
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    job = Job(
        params=settings, model=TUNERS.load("full").wrap(Qwen3ForCausalLM.from_pretrained(base), settings, 0),
        tokenizer=tokenizer, rows=TokenRows(tokens / "train.arrow"), val_rows=None, checkpoints=folder,
        save=lambda *_: None, restore=lambda *_: None, arguments={}, report=lambda _: None, teacher=teacher,
        rollouts=LocalRollouts(settings, tokenizer, []), teacher_rollouts=LocalRollouts(settings, tokenizer, []),
    )  # fmt: skip
    return METHODS.load("gkd").trainer(job)


@pytest.mark.parametrize(
    ("params", "author"),
    [({"lmbda": 1}, "student"), ({"lmbda": 0, "seq_kd": True}, "teacher"), ({"lmbda": 0}, "data")],
    ids=["lmbda", "seq_kd", "data"],
)
def test_the_answers_that_are_learned_are_those_of_the_student_of_the_teacher_or_of_the_data(
    params: dict[str, Any], author: str, tiny_model: Path, teacher: Any, tokens: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(tiny_model, tokens, tmp_path, teacher, padding_free=False, **params)
    rows = [trainer.dataset()[number] for number in range(4)]
    [batch], count = trainer.get_batch_samples(iter([rows]), 1, "cpu")
    model = {"student": trainer.job.model, "teacher": teacher}.get(author)
    learned = 0
    for line, row in enumerate(ROWS[:4]):
        prompt = row["input_ids"][: len(row["input_ids"]) // 2]
        ids = batch["input_ids"][line][batch["attention_mask"][line].bool()].tolist()
        assert ids == (
            answered(model.eval(), prompt, trainer.job.tokenizer.eos_token_id) if model else row["input_ids"]
        )
        labels = batch["labels"][line, : len(ids)].tolist()
        assert labels == [IGNORED] * len(prompt) + ids[len(prompt) :]
        learned += len(ids) - len(prompt)
    assert (trainer.is_own, int(count)) == (author == "student", learned)


def answered(model: Any, prompt: list[int], end: int) -> list[int]:
    """A prompt and the likeliest answer of at most six tokens."""
    ids = list(prompt)
    while len(ids) < len(prompt) + 6 and (len(ids) == len(prompt) or ids[-1] != end):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids


def test_all_ways_of_batching_learn_the_same(tiny_model: Path, teacher: Any, tokens: Path, tmp_path: Path) -> None:
    ways = {
        "at once": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
        "accumulated": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
        "padded": {"padding_free": False},
    }
    histories = [
        learn(tiny_model, tokens, tmp_path / way, teacher=teacher, **{**SMALL, "num_train_epochs": 2, **more}).history
        for way, more in ways.items()
    ]
    assert {entry["on_policy"] for entry in histories[0] if "loss" in entry} == {0.0, 1.0}
    for history in histories[1:]:
        for entry, other in zip(histories[0], history, strict=True):
            for name in entry:
                assert other[name] == pytest.approx(entry[name], rel=1e-3, abs=2e-5), (name, entry["step"])


def test_a_stopped_run_ends_with_the_weights_that_it_would_have_had(
    tiny_model: Path, teacher: Any, tokens: Path, tmp_path: Path
) -> None:
    settings = {**SMALL, "lora_dropout": 0.1, "num_train_epochs": 2, "save_steps": 100, "seq_kd": True}
    whole = learn(tiny_model, tokens, tmp_path / "whole", teacher=teacher, **settings)
    with pytest.raises(MartletError, match="stopped at step"):
        learn(tiny_model, tokens, tmp_path / "parts", hazard=("interrupt", 2), teacher=teacher, **settings)
    rest = learn(tiny_model, tokens, tmp_path / "parts", teacher=teacher, **settings)
    assert rest.history == whole.history
    weights = [(tmp_path / way / "final/adapter_model.safetensors").read_bytes() for way in ("whole", "parts")]
    assert weights[0] == weights[1]
    names = {"divergence", "agreement", "entropy", "on_policy", "completions/mean_length", "completions/clipped_ratio"}
    assert all(names <= entry.keys() for entry in whole.history if "loss" in entry)


def test_a_student_comes_to_answer_as_its_teacher(tiny_model: Path, tmp_path: Path) -> None:
    rows = write_tokens(tmp_path / "rows", some_rows(64), HELD_OUT)
    teacher = Qwen3ForCausalLM.from_pretrained(tiny_model).eval()
    teacher.model.norm.weight.data *= 4  # surer of everything
    settings = {
        **SMALL, "num_train_epochs": 4, "tuner_type": "full", "eval_steps": 64, "eval_on_start": True,
        "learning_rate": 2e-3, "save_steps": 100,
    }  # fmt: skip
    outcome = learn(tiny_model, rows, tmp_path, teacher=teacher, **settings)
    evaluations = [entry for entry in outcome.history if "eval_loss" in entry]
    assert evaluations[-1]["eval_loss"] < 0.8 * evaluations[0]["eval_loss"]
    assert evaluations[-1]["eval_entropy"] < evaluations[0]["eval_entropy"]
    assert not outcome.learns_tokens


def params(**values: Any) -> Any:
    return resolve(read_mapping({"rlhf_type": "gkd", **values}, "test"))


def test_what_cannot_teach_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    reward_model(tiny_model).save_pretrained(tmp_path / "head")
    copy_companions(tiny_model, tmp_path / "head")
    other_weights(tiny_model).save_pretrained(tmp_path / "other")
    copy_companions(tiny_model, tmp_path / "other")
    file = tmp_path / "other/tokenizer.json"
    vocabulary = read_json(file)
    tokens = vocabulary["model"]["vocab"]
    tokens["a"], tokens["b"] = tokens["b"], tokens["a"]
    write_json(file, vocabulary)
    wrong = {
        None: "gkd needs a teacher",
        "nowhere": "teacher_model: no such folder 'nowhere'",
        "head": "head writes no text",
        "other": f"other has another vocabulary ('a' is {tokens['a']}, and here {tokens['b']})",
    }
    for name, sentence in wrong.items():
        [problem] = [
            one
            for one in preflight.conflicts(params(model=str(tiny_model), teacher_model=name), tmp_path)
            if one.startswith("teacher_model")
        ]
        assert sentence in problem
    settings = params(model=str(tiny_model), teacher_model=str(tiny_model), beta=2)
    assert "beta: of gkd it is from 0 (forward KL) to 1" in "\n".join(preflight.conflicts(settings, tmp_path))


def test_another_teacher_is_another_run(tiny_model: Path, tmp_path: Path) -> None:
    other_weights(tiny_model).save_pretrained(tmp_path / "teacher")
    before = methods.used(params(teacher_model="teacher"), tmp_path)["train"]["files"]
    (tmp_path / "teacher/more.txt").write_text("more")
    after = methods.used(params(teacher_model="teacher"), tmp_path)["train"]["files"]
    assert {name for name in after if before[name] != after[name]} == {"model teacher"}
