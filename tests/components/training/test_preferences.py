"""Methods on preferences and on judged answers: their losses beside an independent computation, and all the ways that
must come to the same."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import Qwen3ForCausalLM

from components.config import read_mapping, resolve
from components.errors import ConfigError
from components.training.reference import FILE
from tasks.stages import methods
from tests.components.training.runs import (
    judged_rows,
    learn,
    other_weights,
    preference_rows,
    reward_model,
    write_tokens,
)

PAIRS, JUDGED = preference_rows(12), judged_rows(12)
HELD_OUT, JUDGED_HELD_OUT = preference_rows(5, seed=1), judged_rows(6, seed=1)
STEPS = {"num_train_epochs": 1, "learning_rate": 3e-2, "eval_steps": 1}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("pairs"), PAIRS, HELD_OUT, "preference")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("judged"), JUDGED, JUDGED_HELD_OUT, "label")


def token_log_probs(model: Any, prompt: list[int], answer: list[int]) -> list[float]:
    """The log probability of each token of an answer, by one plain forward pass."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double().log_softmax(-1)
    return [float(logits[place, token]) for place, token in enumerate(answer)]


def both(base: Path, adapter: Path) -> list[Any]:
    """The trained model, and the reference: the base."""
    learned = PeftModel.from_pretrained(Qwen3ForCausalLM.from_pretrained(base), str(adapter))
    return [learned.eval(), Qwen3ForCausalLM.from_pretrained(base).eval()]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def binary(logit: float, smoothing: float = 0.0) -> float:
    return -(1 - smoothing) * log_sigmoid(logit) - smoothing * log_sigmoid(-logit)


class Pair:
    """Sums of log probabilities by the model (c, r) and by the reference (rc, rr), lengths, and DPO's logit."""

    def __init__(self, models: list[Any], row: dict[str, list[int]], beta: float, ld_alpha: float = 1.0) -> None:
        sides = [row["chosen_ids"], row["rejected_ids"]]
        tokens = [[token_log_probs(model, row["prompt_ids"], side) for side in sides] for model in models]
        short = min(map(len, sides))
        sums = [[sum(t[:short]) + ld_alpha * sum(t[short:]) for t in of_model] for of_model in tokens]
        (self.c, self.r), (self.rc, self.rr) = sums
        self.nc, self.nr = map(len, sides)
        self.dc, self.dr = self.c - self.rc, self.r - self.rr
        self.beta, self.nll = beta, -sum(tokens[0][0]) / self.nc
        self.logit = beta * (self.dc - self.dr)


def odds(log_prob: float) -> float:
    return log_prob - math.log(1 - math.exp(log_prob))


LOSSES: dict[str, Any] = {
    "sigmoid": lambda p: binary(p.logit),
    "hinge": lambda p: max(0.0, 1 - p.logit),
    "ipo": lambda p: (p.dc / p.nc - p.dr / p.nr - 1 / (2 * p.beta)) ** 2,
    "nca_pair": lambda p: (
        -log_sigmoid(p.beta * p.dc) - 0.5 * log_sigmoid(-p.beta * p.dc) - 0.5 * log_sigmoid(-p.beta * p.dr)
    ),
    "bco_pair": lambda p: -log_sigmoid(p.beta * p.dc) - log_sigmoid(-p.beta * p.dr),
    "sppo_hard": lambda p: (p.dc - 0.5 / p.beta) ** 2 + (p.dr + 0.5 / p.beta) ** 2,
    "apo_zero": lambda p: 1 - sigmoid(p.beta * p.dc) + sigmoid(p.beta * p.dr),
    "apo_down": lambda p: sigmoid(p.beta * p.dc) + 1 - sigmoid(p.logit),
    "discopop": lambda p: (
        binary(p.logit) * (1 - sigmoid(p.logit / 0.05)) + math.exp(-p.logit) * sigmoid(p.logit / 0.05)
    ),
    "sigmoid_norm": lambda p: binary(p.beta * (p.dc / p.nc - p.dr / p.nr)),
    "sft": lambda p: p.nll,
}
"""The loss of a pair by the name of its loss of DPO."""
SMOOTHED: dict[str, Any] = {
    "sigmoid": lambda p: binary(p.logit, 0.2),
    "robust": lambda p: (0.8 * binary(p.logit) - 0.2 * binary(-p.logit)) / 0.6,
    "exo_pair": lambda p: (
        sigmoid(p.logit) * (log_sigmoid(p.logit) - math.log(0.8))
        + sigmoid(-p.logit) * (log_sigmoid(-p.logit) - math.log(0.2))
    ),
}
"""The same with a label smoothing of 0.2."""
SETTINGS: list[tuple[str, dict[str, Any], Any]] = [
    *((f"dpo-{name}", {"rlhf_type": "dpo", "loss_type": name}, loss) for name, loss in LOSSES.items()),
    *(
        (f"dpo-{name}-smoothed", {"rlhf_type": "dpo", "loss_type": name, "label_smoothing": 0.2}, loss)
        for name, loss in SMOOTHED.items()
    ),
    (
        "dpo-discopop-tau",
        {"rlhf_type": "dpo", "loss_type": "discopop", "discopop_tau": 0.5},
        lambda p: binary(p.logit) * (1 - sigmoid(p.logit / 0.5)) + math.exp(-p.logit) * sigmoid(p.logit / 0.5),
    ),
    ("dpo-beta", {"rlhf_type": "dpo", "beta": 0.5}, lambda p: binary(0.5 * (p.dc - p.dr))),
    ("dpo-free", {"rlhf_type": "dpo", "reference_free": True}, lambda p: binary(p.beta * (p.c - p.r))),
    ("dpo-rpo", {"rlhf_type": "dpo", "rpo_alpha": 0.3}, lambda p: binary(p.logit) + 0.3 * p.nll),
    (
        "dpo-mixed",
        {"rlhf_type": "dpo", "loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
        lambda p: 0.8 * LOSSES["sigmoid"](p) + 0.2 * LOSSES["bco_pair"](p) + p.nll,
    ),
    (
        "dpo-forward",
        {"rlhf_type": "dpo", "f_divergence_type": "forward_kl"},
        lambda p: binary(p.beta * (math.exp(-p.dr) - math.exp(-p.dc))),
    ),
    (
        "dpo-js",
        {"rlhf_type": "dpo", "f_divergence_type": "js_divergence"},
        lambda p: binary(p.beta * (log_sigmoid(p.dc) - log_sigmoid(p.dr))),
    ),
    (
        "dpo-alpha",
        {"rlhf_type": "dpo", "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.6},
        lambda p: binary(p.beta * (math.exp(-0.4 * p.dc) - math.exp(-0.4 * p.dr)) / -0.4),
    ),
    ("cpo", {"rlhf_type": "cpo"}, lambda p: binary(p.beta * (p.c - p.r)) + p.nll),
    (
        "cpo-hinge",
        {"rlhf_type": "cpo", "loss_type": "hinge", "cpo_alpha": 0.0},
        lambda p: max(0.0, 1 - p.beta * (p.c - p.r)),
    ),
    (
        "simpo",
        {"rlhf_type": "simpo", "simpo_gamma": 0.7, "cpo_alpha": 0.5},
        lambda p: binary(2 * (p.c / p.nc - p.r / p.nr) - 0.7) + 0.5 * p.nll,
    ),
    ("orpo", {"rlhf_type": "orpo"}, lambda p: p.nll + p.beta * binary(odds(p.c / p.nc) - odds(p.r / p.nr))),
]  # fmt: skip


@pytest.mark.quick_cases(8)
@pytest.mark.parametrize(("params", "loss"), [s[1:] for s in SETTINGS], ids=[s[0] for s in SETTINGS])
def test_a_loss_of_pairs_is_what_its_formula_says(
    params: dict[str, Any], loss: Any, tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    outcome = learn(tiny_model, pairs, tmp_path, **STEPS, **params)
    models = both(tiny_model, tmp_path / "final")
    rows = [Pair(models, row, 0.1) for row in HELD_OUT]
    assert any(abs(row.logit) > 1e-3 for row in rows)
    last = [entry for entry in outcome.history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(sum(map(loss, rows)) / len(rows), rel=2e-5)


def test_tokens_by_which_an_answer_is_longer_weigh_less(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    outcome = learn(tiny_model, pairs, tmp_path, **STEPS, rlhf_type="dpo", ld_alpha=0.3)
    models = both(tiny_model, tmp_path / "final")
    rows = [Pair(models, row, 0.1, ld_alpha=0.3) for row in HELD_OUT]
    last = [entry for entry in outcome.history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(sum(map(LOSSES["sigmoid"], rows)) / len(rows), rel=2e-5)


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_a_loss_of_sorted_pairs_is_what_its_formula_says(
    name: str, tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    params = {**STEPS, "rlhf_type": "dpo", "loss_type": name, "per_device_eval_batch_size": len(HELD_OUT)}
    outcome = learn(tiny_model, pairs, tmp_path, **params)
    rows = [Pair(both(tiny_model, tmp_path / "final"), row, 0.1) for row in HELD_OUT]
    if name == "aot":
        first, second = sorted(row.c - row.r for row in rows), sorted(row.rc - row.rr for row in rows)
    else:
        first, second = sorted(row.dc for row in rows), sorted(row.dr for row in rows)
    expected = sum(binary(0.1 * (a - b)) for a, b in zip(first, second, strict=True)) / len(rows)
    last = [entry for entry in outcome.history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(expected, rel=2e-5)


def kto_loss(models: list[Any], desirable: float, undesirable: float, kl: float | None) -> float:
    """KTO's loss of the held-out answers, with the distance of one batch of all, or a given one."""

    def ratio(prompt: list[int], answer: list[int]) -> float:
        learned, reference = (sum(token_log_probs(model, prompt, answer)) for model in models)
        return learned - reference

    others = [*JUDGED_HELD_OUT[1:], JUDGED_HELD_OUT[0]]
    distances = [
        ratio(row["prompt_ids"], other["completion_ids"]) for row, other in zip(JUDGED_HELD_OUT, others, strict=True)
    ]
    distance = max(0.0, sum(distances) / len(distances)) if kl is None else kl
    total = 0.0
    for row in JUDGED_HELD_OUT:
        gain = 0.1 * (ratio(row["prompt_ids"], row["completion_ids"]) - distance)
        total += desirable * (1 - sigmoid(gain)) if row["label"] else undesirable * (1 - sigmoid(-gain))
    return total / len(JUDGED_HELD_OUT)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, (1.0, 1.0, None)),
        ({"desirable_weight": 1.3, "undesirable_weight": 0.7}, (1.3, 0.7, None)),
        ({"loss_type": "apo_zero_unpaired"}, (1.0, 1.0, 0.0)),
    ],
    ids=["kto", "weighted", "apo"],
)
def test_the_loss_of_judged_answers_is_what_its_formula_says(
    params: dict[str, Any], expected: Any, tiny_model: Path, judged: Path, tmp_path: Path
) -> None:
    size = len(JUDGED_HELD_OUT)
    settings = {**STEPS, "rlhf_type": "kto", "per_device_eval_batch_size": size, **params}
    outcome = learn(tiny_model, judged, tmp_path, **settings)
    last = [entry for entry in outcome.history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(kto_loss(both(tiny_model, tmp_path / "final"), *expected), rel=2e-5)


@pytest.mark.parametrize("coefficient", [None, 0.1])
def test_the_loss_of_rewards_is_what_its_formula_says(
    coefficient: float | None, tiny_model: Path, pairs: Path, tmp_path: Path
) -> None:
    settings = {**STEPS, "rlhf_type": "rm", "center_rewards_coefficient": coefficient, "modules_to_save": ["score"]}
    outcome = learn(tiny_model, pairs, tmp_path, **settings)
    base = reward_model(tiny_model)
    model = PeftModel.from_pretrained(base, str(tmp_path / "final")).eval()

    def reward(row: dict[str, Any], side: str) -> float:
        with torch.no_grad():
            return float(model(torch.tensor([row["prompt_ids"] + row[f"{side}_ids"]])).logits[0, 0])

    losses = [
        binary(reward(row, "chosen") - reward(row, "rejected") - (row["margin"] or 0))
        + (coefficient or 0) * (reward(row, "chosen") + reward(row, "rejected")) ** 2
        for row in HELD_OUT
    ]
    last = [entry for entry in outcome.history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(sum(losses) / len(losses), rel=2e-5)
    wins = [reward(row, "chosen") > reward(row, "rejected") for row in HELD_OUT]
    assert last["eval_rewards/accuracies"] == pytest.approx(sum(wins) / len(wins))


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_another_model_is_the_reference(
    method: str, tiny_model: Path, pairs: Path, judged: Path, tmp_path: Path
) -> None:
    other, rows = other_weights(tiny_model), judged if method == "kto" else pairs
    settings = {**STEPS, "rlhf_type": method, "per_device_eval_batch_size": len(JUDGED_HELD_OUT)}
    outcome = learn(tiny_model, rows, tmp_path, reference=other, **settings)
    models = [both(tiny_model, tmp_path / "final")[0], other]
    if method == "kto":
        expected = kto_loss(models, 1.0, 1.0, None)
    else:
        expected = sum(binary(Pair(models, row, 0.1).logit) for row in HELD_OUT) / len(HELD_OUT)
    last = [entry for entry in outcome.history if "eval_loss" in entry][-1]
    assert last["eval_loss"] == pytest.approx(expected, rel=2e-5)


WAYS = {
    "accumulated": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
    "at once": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
    "padded": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "padding_free": False},
    "eager": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "attn_impl": "eager"},
    "workers": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "dataloader_num_workers": 1},
}


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("method", ["dpo", "orpo"])
def test_all_ways_of_batching_pairs_learn_the_same(method: str, tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    histories = {
        way: learn(
            tiny_model, pairs, tmp_path / way, rlhf_type=method, lora_dropout=0.0, eval_steps=3, **settings
        ).history
        for way, settings in WAYS.items()
        if way != "eager" or method == "dpo"
    }
    first = histories.pop("accumulated")
    assert len({entry["loss"] for entry in first if "loss" in entry}) > 3
    for way, history in histories.items():
        for entry, other in zip(first, history, strict=True):
            for name in entry:
                assert other[name] == pytest.approx(entry[name], rel=2e-4, abs=2e-5), (way, name, entry["step"])


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("method", ["dpo", "kto", "rm"])
def test_a_killed_run_ends_with_the_weights_that_it_would_have_had(
    method: str, tiny_model: Path, pairs: Path, judged: Path, tmp_path: Path
) -> None:
    rows = judged if method == "kto" else pairs
    settings = {"rlhf_type": method, "lora_dropout": 0.1, "save_steps": 2}
    settings |= {"modules_to_save": ["score"]} if method == "rm" else {}
    whole = learn(tiny_model, rows, tmp_path / "whole", **settings)
    with pytest.raises(BaseException, match="stopped at step"):
        learn(tiny_model, rows, tmp_path / "parts", hazard=("interrupt", 3), **settings)
    file = tmp_path / "parts/checkpoints" / FILE
    reference = file.read_bytes() if file.exists() else b""
    assert bool(reference) == (method != "rm")
    rest = learn(tiny_model, rows, tmp_path / "parts", **settings)
    assert rest.history == whole.history
    weights = [(tmp_path / way / "final/adapter_model.safetensors").read_bytes() for way in ("whole", "parts")]
    assert weights[0] == weights[1]
    assert not reference or file.read_bytes() == reference
    names = {"rewards/chosen", "rewards/rejected"} | ({"kl"} if method == "kto" else {"rewards/accuracies"})
    assert all(names <= entry.keys() for entry in whole.history if "loss" in entry)
    json.dumps(whole.history)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"rlhf_type": "orpo", "loss_type": ["sigmoid", "ipo"]}, "orpo learns by one loss; name one of sigmoid, ipo"),
        ({"loss_type": ["dft", "cross_entropy"]}, "sft learns by one loss; name one of dft, cross_entropy"),
        ({"rlhf_type": "dpo", "loss_weights": [1, 2]}, "loss_weights: 2 of 1 losses"),
        ({"rlhf_type": "dpo", "loss_type": "sigmoyd"}, "no loss of preferences 'sigmoyd' (did you mean 'sigmoid'"),
        ({"rlhf_type": "dpo", "loss_type": "dft"}, "no loss of preferences 'dft'"),
        ({"method": "kto"}, "is chosen by --rlhf_type kto"),
        ({"rlhf_type": "dpoo"}, "must be one of dpo, cpo, simpo, orpo, kto"),
    ],
)
def test_what_does_not_go_together_is_refused(params: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        methods.used(resolve(read_mapping(params, "test")), tmp_path)
    assert message in str(error.value)
