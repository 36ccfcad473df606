"""What a method logs beside its loss, in the lines of progress, the reports and the page; and what it means."""

import csv
import json
import math
import random
import re
from typing import Any

import pytest

from components.by_dataset import losses
from components.figures import means, panels
from components.training import write_reports
from components.training.page import render
from components.training.symptoms import symptoms
from tasks.progress import describe
from tests.components.training.runs import learn

METHOD = """\
from components.training.methods._token_trainer import TokenTrainer

SHAPE = "sft"

class Figured(TokenTrainer):
    def log(self, logs, start_time=None):
        step = self.state.global_step
        if "loss" in logs:
            logs |= {"reward": 1 / step, "rewards/own/mean": step, "kl": 0.01 if step < 24 else 5.0 + step / 10,
                     "mine/x": -step, "frac_reward_zero_std": 1.0, "odd/y": float("nan")}
        elif "eval_loss" in logs:
            logs |= {"eval_reward": 2 / (step + 1), "eval_rewards/accuracies": 0.5, "eval_runtime": 3.0}
        super().log(logs, start_time)

def trainer(job):
    return Figured(job)
"""


@pytest.fixture
def figured(tmp_path):
    """How to learn by a method that logs figures of its own."""
    (tmp_path / "figured.py").write_text(METHOD)
    return {"method": "figured", "external": [tmp_path / "figured.py"], "max_steps": 30, "logging_steps": 4,
            "lora_dropout": 0.1, "save_steps": 2}  # fmt: skip


def lines_of(folder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def test_figures_are_wherever_the_loss_is_and_are_means_as_it_is(tiny_model, tokens, tmp_path, figured):
    outcome = learn(tiny_model, tokens, tmp_path, **figured)
    lines = lines_of(tmp_path)
    steps = {line["step"]: line for line in lines if "loss" in line}
    assert list(steps) == [1, 4, 8, 12, 16, 20, 24, 28, 30]
    assert steps[8]["reward"] == pytest.approx(sum(1 / n for n in range(5, 9)) / 4)
    assert (steps[4]["mine/x"], steps[30]["mine/x"], steps[30]["rewards/own/mean"]) == (-3.0, -29.5, 29.5)
    assert "odd/y" not in steps[30]  # which is no number
    evaluation = next(line for line in lines if line.get("step") == 4 and "eval_loss" in line)
    assert evaluation["eval_reward"] == 0.4
    assert "eval_runtime" not in evaluation
    assert f"loss {steps[30]['loss']:.4f}  " in (text := describe(steps[30]) or "")
    assert f"reward {steps[30]['reward']:.4g}  kl {steps[30]['kl']:.3g}  " in text
    assert "eval reward 0.4  eval accuracy 0.500" in (describe(evaluation) or "")
    assert "mine" not in text

    summary = write_reports(outcome, tmp_path / "reports")
    assert (summary["mine/x"], summary["eval_reward"], summary["eval_rewards/accuracies"]) == (-29.5, 2 / 31, 0.5)
    table = {int(row["step"]): row for row in csv.DictReader((tmp_path / "reports/train.csv").open())}
    for step, line in steps.items():
        for name in ("reward", "rewards/own/mean", "kl", "mine/x"):
            assert float(table[step][name]) == line[name]
    assert float(table[4]["eval_reward"]) == 0.4
    page = render([{"time": 1.0, **line} for line in lines], is_running=True)
    assert re.findall(r"<h3>([^<]+)<", page)[2:5] == ["reward", "distance from the reference model", "shares"]
    assert page.count('<polyline class="eval"') == 3  # loss, token accuracy, reward
    without = [{name: entry[name] for name in entry if name not in ("kl", "mine/x")} for entry in outcome.history]
    outcome.history[:] = without
    write_reports(outcome, tmp_path / "less")
    heights = [int.from_bytes((tmp_path / d / "train.png").read_bytes()[20:24], "big") for d in ("reports", "less")]
    assert heights == [750 + 2 * 420, 750 + 420]


def test_a_killed_run_has_the_same_reports_and_tells_each_symptom_once(tiny_model, tokens, tmp_path, apart, figured):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    write_reports(learn(tiny_model, tokens, whole, **figured), whole)
    [told] = [line["message"] for line in lines_of(whole) if "KL" in line.get("message", "")]
    assert told.startswith("step 26: the KL divergence from the reference model is 7.4, and was 0.01")
    assert apart(killed, hazard=("kill", 16), **figured) == -9
    outcome = learn(tiny_model, tokens, killed, **figured)
    assert [line["message"] for line in lines_of(killed) if "KL" in line.get("message", "")] == [told]
    equal = [line["message"] for line in lines_of(killed) if "equal rewards" in line.get("message", "")]
    assert len(equal) == 1  # told before the kill
    assert any("going on from checkpoint-14" in line.get("message", "") for line in lines_of(killed))
    write_reports(outcome, killed)
    for name in ("train.json", "train.csv", "train.png"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


def test_a_figure_that_only_some_steps_have_is_their_mean():
    history = [{"step": n, "loss": 1.0, **({"kl": float(n)} if n % 2 else {"kl": math.nan})} for n in range(1, 7)]
    assert means(history, 3) == {"loss": 1.0, "kl": 5.0}
    assert means(history[:2], 3) == {"loss": 1.0}


def test_figures_share_a_panel_by_what_they_measure():
    names = ["mine/x", "logps/chosen", "rewards/chosen", "rewards/margins", "mine/y", "rewards/f/mean", "reward", "z"]
    assert [(panel.title, panel.names) for panel in panels(names)] == [
        ("Reward", ["rewards/chosen", "rewards/f/mean", "reward"]),
        ("Margin", ["rewards/margins"]),
        ("Log-probability of the answers", ["logps/chosen"]),
        ("Mine", ["mine/x", "mine/y"]),
        ("Z", ["z"]),
    ]


ROLLOUTS = [
    {
        "prompt": f"{'long ' * 30}<script>alert(1)</script>\nend", "completion": "<b>5</b>\x1b[31m\nred",
        "rewards": {"exact": 1.0, "format": None}, "reward": 1.25, "advantage": -0.5,
    },
    {"prompt": "2+2?", "completion": "4" * 99, "rewards": {}, "reward": 0.0, "advantage": 0.5},
]  # fmt: skip


def test_the_newest_answers_stand_beside_their_rewards():
    step = {"step": 3, "total_steps": 3, "loss": 0.1, "epoch": 1, "tokens_per_second": 1.0, "memory": 1, "eta": 0}
    old = {"step": 1, "rollouts": [{**ROLLOUTS[1], "prompt": "an old one"}]}
    entries = [{"time": 1.0, **entry} for entry in (old, step, {"step": 3, "rollouts": ROLLOUTS})]
    page = render(entries, is_running=False)
    assert "an old one" not in page
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\nend" in page
    for text in ("Answers at step 3", "&lt;b&gt;5&lt;/b&gt;", "exact 1</p>", "format –</p>", "advantage -0.5"):
        assert text in page
    first, second = (describe(entries[-1]) or "").split("\n")
    assert re.fullmatch(r"step 3  ….{31}<script>alert\(1\)</script> end → <b>5</b> \[31m red  reward 1\.25", first)
    assert second == f"step 3  2+2? → {'4' * 60}…  reward 0"


def noise(n: int) -> float:
    return random.Random(n).gauss(0, 1)


def history(count: int = 60, **figures: Any) -> list[dict[str, Any]]:
    """Steps with figures, each a number or a function of the step."""
    names = {name.replace("_of_", "/"): at if callable(at) else lambda _, at=at: at for name, at in figures.items()}
    return [{"step": n, "loss": 0.1, **{name: at(n) for name, at in names.items()}} for n in range(1, count + 1)]


SOUND = {
    "reward": lambda n: n / 100 + noise(n) / 20, "kl": lambda n: 0.01 + n / 1000 + abs(noise(n)) / 100,
    "entropy": lambda n: 2 - n / 50 + noise(n) / 20, "completions_of_mean_length": lambda n: 100 + n + 5 * noise(n),
    "completions_of_clipped_ratio": 0.1, "frac_reward_zero_std": 0.5,
    "ratio": 1.01, "rewards_of_chosen": lambda n: n / 50 + noise(n) / 10,
    "rewards_of_rejected": lambda n: -n / 50 + noise(n) / 10,
}  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({}, []),
        ({"kl": lambda n: 0.05 if n < 30 else 3.0}, ["step 32: the KL divergence from the reference model is 3, "]),
        ({"kl": lambda n: 0.05 if n != 30 else 300.0}, []),  # one odd batch
        ({"kl": lambda n: 0.5 if n < 30 else 3.0}, []),
        (
            {"completions_of_mean_length": lambda n: 100 + 5 * n, "completions_of_clipped_ratio": 0.9},
            ["step 51: answers have grown from 152 to 308 tokens while the reward rises"],
        ),
        ({"completions_of_mean_length": lambda n: 100 + 5 * n}, []),  # which come to an end
        ({"entropy": lambda n: 2 - n / 31}, ["step 59: the entropy of the answers has fallen"]),
        (
            {"frac_reward_zero_std": lambda n: 0.95 if n > 5 else 0.2},
            ["step 15: in 10 steps at least 90 % of the prompts had answers of equal rewards"],
        ),
        ({"ratio": 1.2}, ["step 1: the first ratio of the probabilities in training and in sampling"]),
        ({"ratio": lambda n: 1.0 if n == 1 else 1.2}, []),
        (
            {"sampling_of_importance_sampling_ratio_of_mean": 1.2},
            ["step 1: the first ratio of the probabilities in training and in sampling"],
        ),
        (
            {"rewards_of_chosen": lambda n: -n / 60 + noise(n) / 10},
            ["step 40: the log-probabilities of the chosen answers fall together with those of the rejected"],
        ),
    ],
)
def test_symptoms_of_a_run_that_goes_wrong(figures, told):
    found = symptoms(history(**(SOUND | figures)))
    assert [sentence[: len(start)] for sentence, start in zip(found, told, strict=True)] == told


def test_an_evaluation_may_come_before_the_first_step() -> None:
    assert symptoms([{"step": 0, "eval_loss": 0.1, "eval_reward": 0.2}, *history(**SOUND)]) == []


@pytest.mark.parametrize(
    ("held_out", "count"), [([5, 4, 3, 2], 1), ([5, 4, 3], 0), ([5, 4, 4, 3], 0), ([2, 3, 4, 5], 0)]
)
def test_a_reward_that_falls_on_held_out_prompts_alone(held_out, count):
    steps = history(reward=lambda n: n / 10)
    for n, reward in reversed(list(enumerate(held_out, 1))):
        steps.insert(10 * n, {"step": 10 * n, "eval_loss": 0.1, "eval_reward": reward})
    found = symptoms(steps)
    assert [sentence.split(",")[0] for sentence in found] == [
        "step 40: the reward on held-out prompts has fallen over 3 evaluations"
    ] * count
    flat = [{**entry, "reward": 1.0} if "reward" in entry else entry for entry in steps]
    assert symptoms(flat) == []


def test_kto_whose_divergence_is_of_whole_answers_and_sound_displacement_without_rewards():
    assert symptoms(history(kl=lambda n: n)) == []
    falling = {"logps_of_chosen": lambda n: noise(n) - 100 - n, "logps_of_rejected": lambda n: noise(n) - 90 - 2 * n}
    assert "(logps/chosen -111 to -131)" in symptoms(history(**falling))[0]
    noisy = {"logps_of_chosen": lambda n: -100 + 30 * noise(n), "logps_of_rejected": lambda n: -90 + 30 * noise(n)}
    assert symptoms(history(300, **noisy)) == []


def test_parts_of_a_loss_are_no_datasets():
    assert losses({"eval_loss": 1, "eval_nll_loss": 2, "eval_value_loss": 3, "eval_a_loss": 4}) == {"a": 4}
