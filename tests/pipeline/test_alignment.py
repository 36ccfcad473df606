"""A preference that the tiny base does not have (an answer names the unit: the city, the number, the word), learned by
every method of alignment on one process, and seen on prompts that were held out."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command
from tests.pipeline.conftest import ROOT

pytestmark = [pytest.mark.timeout(1600), pytest.mark.slow]  # six minutes: every method learns to its end
EXAMPLES = ROOT / "examples"
COMMON = "--report_to none --add_version false --gradient_accumulation_steps 1 --eval_on_start true"
OF_PAIRS = "--split_dataset_ratio 0.2 --per_device_train_batch_size 16"
UNIT = """\
def rewards(samples, params):
    return [float(s.completion.split()[-2:-1] == s.columns["solution"].split()[-2:-1]) for s in samples]
"""


def rlhf(folder: Path, base: Path, method: str, *words: object) -> list[dict[str, Any]]:
    """Align the base; return what the evaluations told."""
    common = ("--model", base, "--output_dir", method, *COMMON.split())
    ended = Command(folder, "rlhf", "--rlhf_type", method, *common, *words).wait(400)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = (folder / method / "logs/train/progress.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "eval_loss" in line]


@pytest.mark.parametrize(
    ("method", "epochs", "rate", "begins"),
    [
        ("dpo", 2, 2e-3, 0.0),
        ("cpo", 4, 4e-3, 0.5),
        ("simpo", 2, 4e-3, 0.5),
        ("orpo", 4, 4e-3, 0.5),
        ("rm", 2, 2e-3, 0.8),
    ],
)
def test_a_preference_is_learned_from_pairs(
    method: str, epochs: int, rate: float, begins: float, base: Path, tmp_path: Path
) -> None:
    words = ("--num_train_epochs", epochs, "--learning_rate", rate, *OF_PAIRS.split())
    evaluations = rlhf(tmp_path, base, method, "--dataset", EXAMPLES / "preferences.jsonl", *words)
    first, last = (evaluations[n]["eval_rewards/accuracies"] for n in (0, -1))
    assert first <= begins
    assert last >= 0.9


@pytest.fixture(scope="module")
def start(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that gives good and bad answers alike."""
    folder = tmp_path_factory.mktemp("start")
    words = "--num_train_epochs 3 --learning_rate 4e-3 --per_device_train_batch_size 16 --output_dir run"
    judged = ("--dataset", EXAMPLES / "judged.jsonl", "--columns", '{"label": "_"}')
    ended = Command(folder, "sft", "--model", base, *judged, *words.split(), *COMMON.split()[:6]).wait(400)
    assert ended.returncode == 0, ended.stderr
    return max((folder / "run").glob("checkpoint-*"), key=lambda checkpoint: int(checkpoint.name.partition("-")[2]))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("grpo", "--beta 0 --num_iterations 4 --learning_rate 2e-3 --max_steps 40"),
        ("rloo", "--beta 0 --num_iterations 4 --learning_rate 2e-3 --max_steps 60"),
        ("ppo", "--kl_coef 0.02 --learning_rate 2e-3 --max_steps 30"),
    ],
)
def test_a_reward_is_learned_from(method: str, words: str, start: Path, base: Path, tmp_path: Path) -> None:
    (tmp_path / "unit.py").write_text(UNIT)
    data = ("--dataset", EXAMPLES / "prompts.jsonl", "--reward_funcs", "unit", "--external_plugins", "unit.py")
    begin = ("--resume_only_model", "true", "--resume_from_checkpoint", start)
    options = (
        "--split_dataset_ratio 0.2 --max_completion_length 16 --temperature 1 --per_device_train_batch_size 64 "
        "--lr_scheduler_type constant --warmup_ratio 0 --lora_dropout 0 --eval_steps 10"
    )
    evaluations = rlhf(tmp_path, base, method, *data, *begin, *options.split(), *words.split())
    rewards = [evaluation["eval_reward"] for evaluation in evaluations]
    assert rewards[0] <= 0.6
    assert max(rewards) >= 0.9


def test_a_preference_is_learned_from_judged_answers(start: Path, base: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (EXAMPLES / "judged.jsonl").read_text().splitlines()]
    questions = [json.dumps(row["prompt"]) for row in rows]
    held_out = set(sorted(set(questions))[::5])
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}
    for row, question in zip(rows, questions, strict=True):
        if question not in held_out:
            parts["train"].append(row)
        elif row["label"]:
            parts["val"].append({"messages": row["prompt"] + row["completion"]})
    for name, part in parts.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    words = "--dataset train.jsonl --num_train_epochs 3 --learning_rate 2e-3 --per_device_train_batch_size 16"
    begin = ("--resume_only_model", "true", "--resume_from_checkpoint", start)
    common = ("--model", base, "--output_dir", "kto", *COMMON.split()[:6])
    ended = Command(tmp_path, "rlhf", "--rlhf_type", "kto", *common, *begin, *words.split()).wait(400)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert share_with_unit(tmp_path, start) <= 0.6
    assert share_with_unit(tmp_path, "kto") >= 0.9


def test_a_student_comes_to_answer_as_its_teacher(start: Path, base: Path, tmp_path: Path) -> None:
    pairs = [json.loads(line) for line in (EXAMPLES / "preferences.jsonl").read_text().splitlines()]
    chats = [{"messages": pair["prompt"] + pair["chosen"]} for pair in pairs]
    for name, part in {"train": chats[60:], "val": chats[:60]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in part))
    common = ("--model", base, "--dataset", "train.jsonl", *COMMON.split()[:6], "--per_device_train_batch_size", 16)
    teaching = ("--output_dir", "teacher", "--num_train_epochs", 4, "--learning_rate", 4e-3)
    ended = Command(tmp_path, "sft", *common, *teaching).wait(400)
    assert ended.returncode == 0, ended.stderr
    learning = ("--teacher_model", "teacher", "--output_dir", "gkd", "--num_train_epochs", 4, "--learning_rate", 2e-3)
    own = ("--max_completion_length", 24, "--resume_only_model", "true", "--resume_from_checkpoint", start)
    ended = Command(tmp_path, "rlhf", "--rlhf_type", "gkd", *common, *learning, *own).wait(400)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert share_with_unit(tmp_path, start) <= 0.6
    assert share_with_unit(tmp_path, "gkd") >= 0.9


def share_with_unit(folder: Path, adapter: Path | str) -> float:
    """The share of the held-out prompts to which a model, sampled, answers with the unit of the reference."""
    words = ("--adapters", adapter, "--val_dataset", "val.jsonl", "--result_path", "answers.jsonl", "--temperature", 1)
    ended = Command(folder, "infer", *words).wait()
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    (folder / "answers.jsonl").unlink()
    units = [[line[name].split()[-2:-1] for name in ("response", "labels")] for line in lines]
    return sum(given == wanted for given, wanted in units) / len(units)
