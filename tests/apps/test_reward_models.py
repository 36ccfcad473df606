"""Reward models as rewards: `--reward_model` in `martlet rlhf` and `martlet sample`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from components.classes import REGRESSION, SINGLE, Classes
from components.config import read_mapping, resolve
from components.files import read_json
from components.models import copy_companions, load_model
from components.rewards import Sample
from tasks import preflight
from tasks.stages import methods, reward_models
from tests.apps.test_plugins import SHORT, write_rows
from tests.commands import martlet

RUN = [*SHORT[:-1], "rm"]
ANSWERS = ["yes", "no, and again no", "it is what it is, whatever you say", "?"]


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with `rm`, a run of two steps; with `whole`, all of a classifier; and prompts."""
    folder = tmp_path_factory.mktemp("rewards")
    pairs = [{"prompt": [said("user", f"number {n}?")], "chosen": [said("assistant", "yes")],
              "rejected": [said("assistant", "no, never")]} for n in range(12)]  # fmt: skip
    write_rows(folder / "pairs.jsonl", pairs)
    write_rows(folder / "prompts.jsonl", [{"prompt": [said("user", f"number {n}?")]} for n in range(4)])
    words = ("rlhf", "--rlhf_type", "rm", "--model", tiny_model, "--dataset", "pairs.jsonl", "--learning_rate", 1e-2)
    martlet(folder, *words, "--max_steps", 2, *RUN)
    classifier(tiny_model, folder / "whole", Classes(["LABEL_0"], REGRESSION))
    return folder


def classifier(base: Path, folder: Path, classes: Classes) -> None:
    torch.manual_seed(0)
    load_model(base, "float32", classes=classes).save_pretrained(folder)
    copy_companions(base, folder)


def params(**values: Any) -> Any:
    return resolve(read_mapping({"model": "m", "rlhf_type": "grpo", "num_generations": 2, **values}, "test"))


def logits(model: Any, tokenizer: Any) -> list[float]:
    """What transformers gives for each answer to a question, one by one."""
    texts = [
        tokenizer.apply_chat_template([said("user", "Why?"), said("assistant", answer)], tokenize=False)
        for answer in ANSWERS
    ]
    with torch.no_grad():
        return [float(model(**tokenizer(text, return_tensors="pt")).logits[0, 0]) for text in texts]


def test_the_reward_is_the_number_that_the_model_gives_for_the_conversation(workspace: Path, tiny_model: Path) -> None:
    judges = reward_models.rewards_of(params(reward_model=["rm", "whole"], reward_weights=[2, 3]), workspace, print)
    samples = [Sample([said("user", "Why?")], text, [said("assistant", text)], 1, False, {}) for text in ANSWERS]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1)
    trained = PeftModel.from_pretrained(base, str(workspace / "rm/checkpoint-2")).eval()
    whole = AutoModelForSequenceClassification.from_pretrained(workspace / "whole").eval()
    assert [(judge.name, judge.weight) for judge in judges] == [("rm", 2), ("whole", 3)]
    for judge, model in zip(judges, (trained, whole), strict=True):
        expected = logits(model, tokenizer)
        assert len({round(value, 4) for value in expected}) == len(ANSWERS)
        assert judge.function(samples) == pytest.approx(expected, rel=1e-5)


def test_answers_are_rated_on_request_as_they_were_learned(workspace: Path, tiny_model: Path) -> None:
    rows = [{"messages": [said("user", "Why?"), said("assistant", answer)]} for answer in ANSWERS]
    write_rows(workspace / "chats.jsonl", rows)
    martlet(workspace, "infer", "--adapters", "rm", "--val_dataset", "chats.jsonl", "--result_path", "rated.jsonl")
    rated = [json.loads(line)["response"] for line in (workspace / "rated.jsonl").read_text().splitlines()]
    base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=1)
    trained = PeftModel.from_pretrained(base, str(workspace / "rm/checkpoint-2")).eval()
    assert rated == pytest.approx(logits(trained, AutoTokenizer.from_pretrained(tiny_model)), rel=1e-5)


def test_a_policy_learns_from_reward_models_beside_a_function(workspace: Path, tiny_model: Path) -> None:
    (workspace / "rm.py").write_text("def rewards(samples, params):\n    return [0.5] * len(samples)\n")
    words = (
        "rlhf", "--rlhf_type", "grpo", "--model", tiny_model, "--dataset", "prompts.jsonl", "--external_plugins",
        "rm.py", "--reward_funcs", "rm", "--reward_model", "rm", "whole", "--reward_weights", 1, 2, 3, "--max_steps", 2,
        "--num_generations", 2, "--max_completion_length", 4, *SHORT[:-1], "policy",
    )  # fmt: skip
    assert "rm is a run: checkpoint-2 is taken" in martlet(workspace, *words)
    log = (workspace / "policy/logs/train/progress.jsonl").read_text().splitlines()
    [first, *_] = [line["rollouts"] for line in map(json.loads, log) if "rollouts" in line]
    for rollout in first:
        given = rollout["rewards"]
        assert given["rm"] == 0.5
        assert rollout["reward"] == pytest.approx(0.5 + 2 * given["rm_model"] + 3 * given["whole"])
    names = (workspace / "policy/reports/train.csv").read_text().splitlines()[0]
    assert "rewards/rm_model/mean" in names and "rewards/whole/mean" in names


def test_answers_are_chosen_by_a_reward_model(workspace: Path, tiny_model: Path) -> None:
    words = ("sample", "--model", tiny_model, "--dataset", "prompts.jsonl", "--reward_model", "rm")
    martlet(workspace, *words, "--num_return_sequences", 2, "--max_new_tokens", 8, "--score_threshold", -99,
            "--stop_words", *"abcdefghijklmnopqrstuvw")  # fmt: skip
    rows = [json.loads(line)["sampled"] for line in (workspace / "sampled.jsonl").read_text().splitlines()]
    assert rows
    assert all(row["rewards"] == {"rm": row["score"]} for row in rows)


def test_another_reward_model_is_another_run(workspace: Path) -> None:
    def of_training(**values: Any) -> Any:
        return methods.used(params(reward_model=["whole"], **values), workspace)["train"]

    before = of_training()
    config = workspace / "whole/config.json"
    text = config.read_text()
    config.write_text(f"{text} ")
    after = of_training()
    config.write_text(text)
    assert {name for name, sha in after["files"].items() if before["files"][name] != sha} == {"model whole"}
    assert of_training() == before
    assert "model whole" not in of_training(rlhf_type="dpo")["files"]


def test_what_is_no_reward_model_is_one_sentence(workspace: Path, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(workspace / "whole", tmp_path / "mute")
    (tmp_path / "mute/chat_template.jinja").unlink()
    assert "chat_template" not in read_json(tmp_path / "mute/tokenizer_config.json")
    classifier(tiny_model, tmp_path / "several", Classes(["good", "bad"], SINGLE))
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun/logs").mkdir(parents=True)
    wrong = {
        str(tiny_model): "writes text, and has no head that rates it; train one with `martlet rlhf --rlhf_type rm`",
        "several": "several tells 2 classes (good, bad), and a reward is one number",
        "mute": "mute has no chat template",
        "nowhere": "no such folder 'nowhere'",
        "empty": "no saved arguments (args.json) there",
        "begun": "begun is a run without a whole checkpoint; name another, or go on with that run",
    }
    for name, sentence in wrong.items():
        [problem] = [one for one in preflight.conflicts(params(reward_model=[name]), tmp_path) if "reward_model" in one]
        assert sentence in problem
    [problem] = [one for one in preflight.conflicts(params(reward_model=["several"], reward_weights=[1, 2]), tmp_path)
                 if "reward_weights" in one]  # fmt: skip
    assert "2 weights for 1 rewards" in problem
    words = ("rlhf", "--rlhf_type", "grpo", "--model", tiny_model, "--dataset", "prompts.jsonl", "--reward_model")
    told = martlet(workspace, *words, "nowhere", *SHORT[:-1], "none", code=2)
    assert "reward_model: no such folder 'nowhere'" in told
    assert not (workspace / "none").exists()
