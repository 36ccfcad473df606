"""`martlet rlhf`: from preferences and from rewards to an adapter that answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from components import cache, models
from components.files import read_json
from tests.apps.test_plugins import SHORT, write_rows
from tests.commands import martlet
from tests.components.training.runs import other_weights

REWARD = "def rewards(samples, params):\n    return [len(set(sample.completion)) / 9 for sample in samples]\n"


def said(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_rows(
        tmp_path / "pairs.jsonl",
        [{"prompt": said("user", f"number {n}?"), "chosen": said("assistant", "yes"),
          "rejected": said("assistant", "no, never")} for n in range(40)],
    )  # fmt: skip


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "logs/train/progress.jsonl").read_text().splitlines()]


def align(folder: Path, base: Path, *words: object, code: int = 0) -> str:
    return martlet(folder, "rlhf", "--model", base, "--learning_rate", 5e-3, *SHORT, *words, code=code)


def test_preferences_are_learned_and_the_reference_model_is_asked_once(
    pairs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_CACHE", str(tmp_path / "cache"))
    words = ("--dataset", pairs, "--num_train_epochs", 2, "--split_dataset_ratio", 0.1)
    text = align(tmp_path, tiny_model, *words, "--beta", 0.2)
    assert "eval accuracy 1.000" in text
    [entry] = [one for one in cache.entries() if one.stage == "reference"]
    first = (entry.folder / "answers.safetensors").stat().st_ino
    assert (tmp_path / "run/reference/answers.safetensors").stat().st_ino == first
    align(tmp_path, tiny_model, *words, "--beta", 0.5, "--loss_type", "ipo", "--output_dir", "other")
    assert (tmp_path / "other/reference/answers.safetensors").stat().st_ino == first  # found, not computed
    report = read_json(tmp_path / "run/reports/train.json")
    assert report["eval_rewards/accuracies"] == 1.0
    assert (tmp_path / "run/reports/train.csv").read_text().splitlines()[0].count("rewards/") >= 8
    answer = martlet(tmp_path, "infer", "--adapters", "run", "--temperature", 0, "--max_new_tokens", 4, text="hello?\n")
    assert answer


def test_another_reference_model_is_asked_once_and_kept_apart(
    pairs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_CACHE", str(tmp_path / "cache"))
    other_weights(tiny_model).save_pretrained(tmp_path / "other")
    models.copy_companions(tiny_model, tmp_path / "other")
    words = ("--dataset", pairs, "--max_steps", 1)
    align(tmp_path, tiny_model, *words, "--ref_model", "other")
    align(tmp_path, tiny_model, *words, "--output_dir", "own")
    margins = [read_json(tmp_path / run / "reports/train.json")["rewards/margins"] for run in ("run", "own")]
    assert abs(margins[0]) > 0.01 and margins[1] == pytest.approx(0, abs=1e-6)
    assert len([one for one in cache.entries() if one.stage == "reference"]) == 2


def test_how_often_the_longer_answer_wins_is_told(pairs: Path, tiny_model: Path, tmp_path: Path) -> None:
    text = martlet(tmp_path, "data", "stats", "--model", tiny_model, "--dataset", pairs, "--rlhf_type", "dpo")
    assert "the longer answer is the chosen one in 0.0% of the pairs" in text


def test_answers_are_shown_beside_their_rewards(tiny_model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "prompts.jsonl", [{"prompt": said("user", f"{n}?")} for n in range(8)])
    (tmp_path / "mine.py").write_text(REWARD)
    words = (
        "--rlhf_type", "grpo", "--dataset", rows, "--reward_funcs", "mine", "--external_plugins", "mine.py",
        "--max_steps", 3, "--num_generations", 4, "--max_completion_length", 5, "--log_completions", "true",
    )  # fmt: skip
    text = align(tmp_path, tiny_model, *words)
    [first, *_] = [line for line in lines(tmp_path / "run") if "rollouts" in line]
    rollout = first["rollouts"][0]
    assert rollout["reward"] == rollout["rewards"]["mine"] == pytest.approx(len(set(rollout["completion"])) / 9)
    assert rollout["completion"][:3].strip() in text
    assert "nothing to do" in align(tmp_path, tiny_model, *words, "--resume_from_checkpoint", "run/checkpoint-3")


def test_a_teacher_is_learned_from_and_its_memory_is_counted(tiny_model: Path, tmp_path: Path) -> None:
    rows = write_rows(
        tmp_path / "chats.jsonl",
        [{"messages": [*said("user", f"number {n}?"), *said("assistant", "yes, it is")]} for n in range(8)],
    )
    words = ("--rlhf_type", "gkd", "--dataset", rows, "--max_steps", 2, "--max_completion_length", 4)
    text = align(tmp_path, tiny_model, *words, "--teacher_model", tiny_model, "--lmbda", 1)
    [weights] = re.findall(r"weights (\d+) kB", text)
    plain = models.skeleton(tiny_model, "float32").num_parameters() * 4 / 1000
    assert float(weights) > 1.9 * plain
    report = read_json(tmp_path / "run/reports/train.json")
    assert report["on_policy"] == 1 and report["agreement"] > 0.9
    again = (*words, "--teacher_model", tiny_model, "--lmbda", 1, "--resume_from_checkpoint", "run/checkpoint-2")
    assert "nothing to do" in align(tmp_path, tiny_model, *again)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rlhf_type", "grpo"), "grpo needs rewards; name some with --reward_funcs"),
        (("--rlhf_type", "grpo", "--reward_funcs", "accuracy", "--num_generations", "5"), "is no multiple of 5"),
        (("--rlhf_type", "ppo", "--reward_funcs", "format", "--temperature", "0"), "at 0 all answers"),
        (("--rlhf_type", "gkd", "--lmbda", "1", "--seq_kd", "true"), "--seq_kd has no effect with --lmbda 1"),
        (("--rlhf_type", "grpo", "--reward_funcs", "acuracy"), "did you mean 'accuracy'"),
        (("--rlhf_type", "gkd"), "gkd needs a teacher; name a model with the same vocabulary with --teacher_model"),
        (("--rlhf_type", "dpo", "--teacher_model", "x"), "--teacher_model has no effect without --rlhf_type gkd"),
        (("--rlhf_type", "orpo", "--ref_model", "x"), "--ref_model has no effect without --rlhf_type dpo or kto"),
        (("--rlhf_type", "dpo", "--ref_model", "x"), "ref_model: no such folder 'x'"),
        (("--rlhf_type", "grpo", "--reward_funcs", "accuracy", "--multi_turn_scheduler", "calculator"),
         "there is no turn scheduler 'calculator'; give its file: --external_plugins calculator.py"),
        (("--rlhf_type", "grpo", "--reward_funcs", "accuracy", "--use_vllm", "true", "--tuner_type", "full",
          "--vllm_mode", "server"),
         "use_vllm: vLLM takes up adapters of --tuner_type lora"),
        (("--rlhf_type", "dpo", "--packing", "true"), "packing: dpo compares whole answers"),
        (("--rlhf_type", "orpo", "--loss_type", "ipo"), "--loss_type has no effect with"),
        (("--rlhf_type", "simpo", "--rpo_alpha", "1"), "--rpo_alpha has no effect without --rlhf_type dpo"),
        (("--rlhf_type", "dpo", "--reward_funcs", "format"), "--reward_funcs has no effect without --rlhf_type grpo"),
        (("--rlhf_type", "dpo", "--metric_for_best_model", "acc"), "evaluations have no eval_acc"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_does_not_go_together_is_one_sentence(
    words: tuple[str, ...], message: str, pairs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    assert message in align(tmp_path, tiny_model, "--dataset", pairs, *words, code=2)
    assert not (tmp_path / "run").exists()
