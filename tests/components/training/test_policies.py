"""Methods that learn from answers which the model samples: their losses beside an independent computation, the tokens
that are learned, and all the ways that must come to the same."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

from components.errors import ConfigError, MartletError
from components.models import copy_companions
from components.tokens import TokenRows
from components.training import METHODS, Job, advantages
from components.training.methods._policy_trainer import learned_owners
from components.training.start_weights import StartWeights
from components.tuners import TUNERS
from tasks.stages.rollouts import LocalRollouts
from tests.components.training.runs import learn, learn_params, other_weights, prompt_rows, reward_model, write_tokens

REWARD = """\
def rewards(samples, params):
    return [sum(map(ord, sample.completion)) % 7 / 7 + sample.columns["number"] / 100 for sample in samples]
"""
LIKES_VOWELS = """\
def rewards(samples, params):
    return [sum(map(sample.completion.count, "aeiou")) / max(1, len(sample.completion)) for sample in samples]
"""
OF_TWO_PROMPTS = """\
def rewards(samples, params):
    return [sum(map(ord, s.completion)) / 999 if s.columns["number"] in (1, 4) else 1.0 for s in samples]
"""
FAILS = """\
def rewards(samples, params):
    {}
"""
SMALL: dict[str, Any] = {
    "rlhf_type": "grpo", "num_generations": 4, "max_completion_length": 6, "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1, "lora_dropout": 0.0, "save_steps": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("prompts"), prompt_rows(6), prompt_rows(3, seed=1), "prompt")


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("reward") / "mine.py"
    file.write_text(REWARD)
    return file


def steps(outcome: Any, name: str = "loss") -> list[float]:
    return [entry[name] for entry in outcome.history if "loss" in entry]


def trainer_of(base: Path, tokens: Path, folder: Path, reward: Path, reference: Any = None, **params: Any) -> Any:
    """A trainer that has not begun, on a fresh LoRA."""
    settings = learn_params({**SMALL, "reward_funcs": ["mine"], "external_plugins": [str(reward)], **params})
    model = TUNERS.load("lora").wrap(Qwen3ForCausalLM.from_pretrained(base), settings, 0)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    job = Job(
        params=settings, model=model, tokenizer=tokenizer, rows=TokenRows(tokens / "train.arrow"), val_rows=None,
        checkpoints=folder, save=lambda *_: None, restore=lambda *_: None, arguments={}, report=lambda _: None,
        external=[reward], rollouts=LocalRollouts(settings, tokenizer, [reward]),
    )  # fmt: skip
    if reference:
        job.reference = lambda: reference
    return METHODS.load(settings.method.name).trainer(job)


def first_parts(trainer: Any) -> list[list[Any]]:
    """The rows of the forward passes of the first step."""
    dataset, order = trainer.dataset(), list(trainer._order())
    size, passes = trainer.args.train_batch_size, trainer.args.gradient_accumulation_steps
    return [[dataset[i] for i in order[start : start + size]] for start in range(0, size * passes, size)]


def moved(model: Any) -> Any:
    """The model with other weights in its adapter, so that probabilities are no longer those of the sampling."""
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.02 * torch.randn_like(weight)
    return model


def log_probs_of(model: Any, prompt: list[int], answer: list[int], temperature: float) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1].double() / temperature
    chosen = logits.log_softmax(-1)
    return [float(chosen[place, token]) for place, token in enumerate(answer)]


class Answer:
    """An answer: its log probabilities by the model that learns (new) and that sampled (old), and its advantage."""

    def __init__(self, new: list[float], old: list[float], advantage: float) -> None:
        self.new, self.old, self.a, self.n = new, old, advantage, len(new)
        self.ratios = [math.exp(x - y) for x, y in zip(new, old, strict=True)]
        self.kl = [math.exp(y - x) - (y - x) - 1 for x, y in zip(new, old, strict=True)]

    def clipped(self, ratio: float, low: float = 0.2, high: float = 0.2, delta: float = math.inf) -> float:
        return -min(min(ratio, delta) * self.a, min(max(ratio, 1 - low), 1 + high) * self.a)


def grpo(answer: Answer, **limits: float) -> float:
    return sum(answer.clipped(ratio, **limits) for ratio in answer.ratios) / answer.n


def beside(answer: Answer, beta: float) -> float:
    return beta * sum(answer.kl) / answer.n


def gspo(answer: Answer) -> float:
    return answer.clipped(math.exp((sum(answer.new) - sum(answer.old)) / answer.n))


SETTINGS: dict[str, tuple[dict[str, Any], Any]] = {
    "grpo": ({}, lambda a: grpo(a) + beside(a, 0.04)),
    "beta": ({"beta": 0.5}, lambda a: grpo(a) + beside(a, 0.5)),
    "alone": ({"beta": 0.0}, grpo),
    "high": ({"beta": 0.0, "epsilon": 0.01, "epsilon_high": 0.05}, lambda a: grpo(a, low=0.01, high=0.05)),
    "delta": ({"beta": 0.0, "delta": 1.01}, lambda a: grpo(a, delta=1.01)),
    "gspo": ({"beta": 0.0, "importance_sampling_level": "sequence"}, gspo),
    "dr_grpo": ({"beta": 0.0, "loss_type": "dr_grpo"}, lambda a: sum(map(a.clipped, a.ratios)) / 6),
    "warm": ({"beta": 0.0, "temperature": 1.3}, grpo),
    "rloo": (
        {"rlhf_type": "rloo", "beta": 0.0, "num_iterations": 2},
        lambda a: a.clipped(math.exp(sum(a.new) - sum(a.old))),
    ),
}


def answers_of(trainer: Any, batch: dict[str, torch.Tensor], new: Any, old: Any) -> Iterator[Answer]:
    """The answers of a batch, whose log probabilities are computed one by one."""
    for number in range(len(batch["labels"])):
        own = batch["owners"] == number
        ids, labels = batch["input_ids"][own].tolist(), batch["token_labels"][own].tolist()
        start = next(place for place, label in enumerate(labels) if label >= 0)
        both = [log_probs_of(model, ids[:start], ids[start:], trainer.temperature) for model in (new, old)]
        yield Answer(*both, advantage=float(of_answers(batch, "advantages")[number]))


def of_answers(batch: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    """What a batch says of each token of an answer alike [answers]."""
    owners = learned_owners(batch)
    first = torch.tensor([int((owners == number).nonzero()[0]) for number in range(len(batch["labels"]))])
    assert torch.equal(batch[name], batch[name][first][owners])
    return batch[name][first]


@pytest.mark.quick_cases(5)
@pytest.mark.parametrize("name", [*SETTINGS, "dapo", "cispo"])
def test_a_loss_of_sampled_answers_is_what_its_formula_says(
    name: str, tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path
) -> None:
    params, loss = SETTINGS.get(name, ({"beta": 0.0, "loss_type": name}, None))
    trainer = trainer_of(tiny_model, prompts, tmp_path, reward, **{"num_iterations": 2, **params})
    [batch], count = trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
    model = moved(trainer.job.model)
    summed = float(trainer.summed_loss(model.eval(), batch)[0].detach())
    old = Qwen3ForCausalLM.from_pretrained(tiny_model).eval()
    answers = list(answers_of(trainer, batch, model, old))
    assert max(abs(ratio - 1) for answer in answers for ratio in answer.ratios) > 0.02
    if loss:
        expected, divisor = sum(map(loss, answers)), len(answers)
    elif name == "dapo":
        expected = sum(answer.clipped(ratio) for answer in answers for ratio in answer.ratios)
        divisor = sum(answer.n for answer in answers)
    else:
        pairs = ((a, ratio, new) for a in answers for ratio, new in zip(a.ratios, a.new, strict=True))
        expected = sum(-min(max(ratio, 0.8), 1.2) * a.a * new for a, ratio, new in pairs)
        divisor = sum(answer.n for answer in answers)
    assert (summed, int(count)) == (pytest.approx(expected, rel=1e-4, abs=1e-5), divisor)


def discounted(rewards: list[float], values: list[float], gamma: float, lam: float) -> list[float]:
    """GAE by its definition: the sum of all later errors of the values."""
    following = [*values[1:], 0.0]
    errors = [r + gamma * after - v for r, v, after in zip(rewards, values, following, strict=True)]
    return [sum((gamma * lam) ** (k - t) * errors[k] for k in range(t, len(errors))) for t in range(len(errors))]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"whiten_rewards": True, "missing_eos_penalty": 0.7, "kl_coef": 0.0},
        {"kl_coef": 0.3, "cliprange": 0.01, "cliprange_value": 0.05, "vf_coef": 0.5},
    ],
    ids=["defaults", "whitened", "other limits"],
)
def test_ppo_is_what_its_formulas_say(
    more: dict[str, Any], tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path
) -> None:
    params = {"rlhf_type": "ppo", "gamma": 0.9, "lam": 0.8, "per_device_train_batch_size": 4, "num_generations": 2}
    trainer = trainer_of(tiny_model, prompts, tmp_path, reward, **{**params, **more})
    settings, model, judged = trainer.ppo, trainer.job.model, list[Any]()
    judge = trainer.rollouts.judge
    trainer.rollouts.judge = lambda rows, answers: judged.append((answers, judge(rows, answers))) or judged[-1][1]
    trainer.reference = StartWeights(trainer.job) if settings.kl_coef else None
    moved(model)  # sampled by another model than the reference
    torch.manual_seed(2)
    torch.nn.init.normal_(trainer.value_head.linear.weight)
    rows = first_parts(trainer)
    with trainer.value_head.attached(model):
        [batch], count = trainer.get_batch_samples(iter(rows), 1, "cpu")
        for weight in model.parameters():
            weight.data = weight.data * 1.02 if weight.requires_grad else weight.data
        model.eval()
        summed = float(trainer.summed_loss(model, batch)[0].detach())
    [(answers, judgement)] = judged
    start = Qwen3ForCausalLM.from_pretrained(tiny_model).eval()
    old = TUNERS.load("lora").wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), trainer.job.params, 0)
    moved(old).eval()
    owners, rewards, values, ratios = learned_owners(batch), [], [], []
    for number, answer in enumerate(answers):
        prompt = rows[0][number]["prompt_ids"].tolist()
        own = owners == number
        sampled = log_probs_of(old, prompt, answer.ids, trainer.temperature)
        reference = log_probs_of(start, prompt, answer.ids, trainer.temperature)
        assert batch["old"][own].tolist() == pytest.approx(sampled, rel=1e-4)
        rewards.append([settings.kl_coef * (r - s) for s, r in zip(sampled, reference, strict=True)])
        rewards[-1][-1] += judgement.totals[number] - (settings.missing_eos_penalty or 0) * answer.is_truncated
        values.append(batch["values"][own].tolist())
        now = log_probs_of(model, prompt, answer.ids, trainer.temperature)
        ratios += [math.exp(n - s) for n, s in zip(now, sampled, strict=True)]
    flat = np.concatenate(rewards)
    if settings.whiten_rewards:
        flat = (flat - flat.mean()) / np.sqrt(flat.var(ddof=1) + 1e-8) + flat.mean()
        rewards = [part.tolist() for part in np.split(flat, np.cumsum([len(part) for part in rewards])[:-1])]
    gains = [discounted(r, v, settings.gamma, settings.lam) for r, v in zip(rewards, values, strict=True)]
    advantage, value = np.concatenate(gains), np.concatenate(values)
    assert batch["returns"].tolist() == pytest.approx((advantage + value).tolist(), rel=1e-3, abs=1e-4)
    advantage = (advantage - advantage.mean()) / np.sqrt(advantage.var(ddof=1) + 1e-8)
    assert batch["advantages"].tolist() == pytest.approx(advantage.tolist(), rel=1e-3, abs=1e-3)
    reach, reach_of_values = settings.cliprange, settings.cliprange_value
    expected = sum(max(-a * r, -a * min(max(r, 1 - reach), 1 + reach)) for a, r in zip(advantage, ratios, strict=True))
    values_now = values_of(model, trainer.value_head, batch)
    for new, before, target in zip(values_now, value, batch["returns"].tolist(), strict=True):
        near = min(max(new, before - reach_of_values), before + reach_of_values)
        expected += settings.vf_coef * max((new - target) ** 2, (near - target) ** 2) / 2
    assert (summed, int(count)) == (pytest.approx(expected, rel=1e-3, abs=1e-3), len(advantage))
    assert max(map(abs, value)) > 0.1


def values_of(model: Any, head: Any, batch: dict[str, torch.Tensor]) -> list[float]:
    """The values before the learned tokens of the answers of a batch, which are computed one by one."""
    values: list[float] = []
    for number in range(len(batch["labels"])):
        own = batch["owners"] == number
        ids, labels = batch["input_ids"][own], batch["token_labels"][own]
        with torch.no_grad():
            states = model.get_base_model().model(ids[None]).last_hidden_state[0, :-1]
        values += head(states[labels[1:] >= 0])[:, 0].tolist()
    return values


def test_the_tokens_that_are_learned_are_those_that_were_generated(
    tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(tiny_model, prompts, tmp_path, reward, overlong_filter=True, beta=0.0)
    sampled: list[Any] = []
    sample = trainer.rollouts.sample
    trainer.rollouts.sample = lambda *given: sampled.append((given[1], sample(*given))) or sampled[-1][1]
    rows = first_parts(trainer)
    [batch], count = trainer.get_batch_samples(iter(rows), 1, "cpu")
    [(asked, answers)] = sampled
    assert len({tuple(answer.ids) for answer in answers}) > 1
    for number, (row, answer) in enumerate(zip(asked, answers, strict=True)):
        prompt = row["prompt_ids"].tolist()
        own = batch["owners"] == number
        assert batch["input_ids"][own].tolist() == prompt + answer.ids
        assert prompt == rows[0][number]["prompt_ids"].tolist()
        learned = batch["token_labels"][own].tolist()[len(prompt) :]
        assert learned == ([-100] * len(answer.ids) if answer.is_truncated else answer.ids)
        assert answer.is_truncated == (len(answer.ids) == 6 and answer.ids[-1] != trainer.job.tokenizer.eos_token_id)
    assert int(count) == sum(not answer.is_truncated for answer in answers)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 3.0}, {"top_k": 2}, {"top_p": 0.01}, {"repetition_penalty": 9.0}, {"stop_words": ["e"]},
        {"max_completion_length": 9},
    ],
    ids=lambda params: next(iter(params)),
)  # fmt: skip
def test_answers_are_sampled_as_the_flags_say(
    params: dict[str, Any], tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path
) -> None:
    def answers(**more: Any) -> list[list[int]]:
        trainer = trainer_of(tiny_model, prompts, tmp_path, reward, beta=0.0, **more)
        rows = first_parts(trainer)[0]
        return [answer.ids for answer in trainer.rollouts.sample(trainer.job.model, rows, range(len(rows)))]

    plain = answers()
    assert plain == answers() != answers(**params)


def test_advantages_are_those_of_the_papers() -> None:
    rewards, groups = [1.0, 0.0, 2.0, 5.0, 5.0, 5.0], [7, 7, 7, 3, 3, 3]
    first = np.array([0.0, -1.0, 1.0, 0.0, 0.0, 0.0])
    assert advantages.of_groups(rewards, groups, "none") == pytest.approx(first)
    assert advantages.of_groups(rewards, groups, "group") == pytest.approx(first / (1 + 1e-4))
    assert advantages.of_groups(rewards, groups, "batch") == pytest.approx(first / (np.std(rewards, ddof=1) + 1e-4))
    assert advantages.leave_one_out(rewards, groups) == pytest.approx(1.5 * first)
    assert advantages.equal_groups(rewards, groups) == 0.5


def test_rewards_are_scaled_as_the_flag_says(tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path) -> None:
    advantages_by: dict[str, Any] = {}
    for scale in ("group", "batch", "none"):
        trainer = trainer_of(tiny_model, prompts, tmp_path, reward, beta=0.0, scale_rewards=scale)
        [batch], _ = trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
        advantages_by[scale] = of_answers(batch, "advantages").view(-1, 4)
    plain = advantages_by["none"]
    assert advantages_by["group"] == pytest.approx(plain / (plain.std(1, keepdim=True) + 1e-4), rel=1e-4)
    scale = float(advantages_by["batch"][0, 0] / plain[0, 0])
    assert advantages_by["batch"] == pytest.approx(scale * plain, rel=1e-3, abs=1e-6)
    assert scale > 1.5


@pytest.mark.parametrize("times", [1, 3])
def test_prompts_without_a_gradient_give_way_to_others(
    times: int, tiny_model: Path, prompts: Path, tmp_path: Path
) -> None:
    """Of six prompts only numbers 1 and 4 have answers of different rewards; a step has two prompts."""
    (tmp_path / "mine.py").write_text(OF_TWO_PROMPTS)
    given = (tiny_model, prompts, tmp_path, tmp_path / "mine.py")
    trainer = trainer_of(*given, beta=0.0, dynamic_sample=True, max_resample_times=times)
    rows = first_parts(trainer)
    rows, answers, judgement = trainer._answered(rows[0])
    numbers = [row["number"] for row in rows]
    assert [row["prompt_ids"].tolist() for row in rows] == [trainer.job.rows[n]["prompt_ids"].tolist() for n in numbers]
    assert len(answers) == len(judgement.totals) == 8
    again = trainer.rollouts.judge(rows, answers)
    assert (judgement.totals, judgement.values) == (again.totals, again.values)
    if times == 3:
        assert {*numbers} == {1, 4}
    plain = trainer_of(*given, beta=0.0)
    first = [row["number"] for row in plain._answered(first_parts(plain)[0])[0]]
    assert first != numbers and numbers == [row["number"] for row in trainer._answered(first_parts(trainer)[0])[0]]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo"])
def test_all_ways_of_batching_sampled_answers_learn_the_same(
    method: str, tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path
) -> None:
    ways = {
        "at once": (8, {}),
        "accumulated": (2, {"gradient_accumulation_steps": 4}),
        "padded": (4, {"gradient_accumulation_steps": 2, "padding_free": False}),
    }
    common: dict[str, Any] = {
        **SMALL, "rlhf_type": method, "reward_funcs": ["mine"], "max_steps": 3, "warmup_ratio": 0.0,
        "num_ppo_epochs": 1,
    }  # fmt: skip
    histories = [
        learn(
            tiny_model, prompts, tmp_path / way, external=[reward],
            **{**common, "per_device_train_batch_size": size, **more},
        ).history
        for way, (size, more) in ways.items()
    ]  # fmt: skip
    assert len({entry["reward"] for entry in histories[0] if "loss" in entry}) == 3
    for history in histories[1:]:
        for entry, other in zip(histories[0], history, strict=True):
            for name in entry:
                assert other[name] == pytest.approx(entry[name], rel=2e-3, abs=2e-5), (name, entry["step"])


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    "params",
    [{"num_iterations": 3}, {"rlhf_type": "rloo"}, {"rlhf_type": "ppo", "num_ppo_epochs": 3, "num_generations": 2}],
    ids=["grpo", "rloo", "ppo"],
)
def test_a_stopped_run_ends_with_the_weights_that_it_would_have_had(
    params: dict[str, Any], tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path
) -> None:
    settings = {**SMALL, "reward_funcs": ["mine"], "lora_dropout": 0.1, "max_steps": 6, "eval_steps": 3, **params}
    if "rlhf_type" in params:
        reward_model(tiny_model).save_pretrained(tmp_path / "judge")
        copy_companions(tiny_model, tmp_path / "judge")
        settings |= {"reward_model": [str(tmp_path / "judge")], "reward_weights": [0.1, 1]}
    whole = learn(tiny_model, prompts, tmp_path / "whole", external=[reward], **settings)
    with pytest.raises(MartletError, match="stopped at step"):
        learn(tiny_model, prompts, tmp_path / "parts", hazard=("interrupt", 1), external=[reward], **settings)
    rest = learn(tiny_model, prompts, tmp_path / "parts", external=[reward], **settings)
    assert rest.history == whole.history
    weights = [(tmp_path / way / "final/adapter_model.safetensors").read_bytes() for way in ("whole", "parts")]
    assert weights[0] == weights[1]
    names = {"reward", "reward_std", "rewards/mine/mean", "completions/mean_length", "entropy", "ratio", "clip_ratio"}
    assert all(names <= entry.keys() for entry in whole.history if "loss" in entry)
    assert any("eval_reward" in entry and entry["eval_loss"] == -entry["eval_reward"] for entry in whole.history)
    assert ("rewards/judge/mean" in whole.history[0]) == ("rlhf_type" in params)


def test_another_model_is_the_reference(tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path) -> None:
    other = other_weights(tiny_model)
    trainer = trainer_of(tiny_model, prompts, tmp_path, reward, reference=other)
    [batch], _ = trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
    answers = list(answers_of(trainer, batch, other, other))
    assert batch["reference"].tolist() == pytest.approx([value for answer in answers for value in answer.new], rel=1e-4)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo"])
def test_a_model_comes_to_do_what_is_rewarded(method: str, tiny_model: Path, prompts: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LIKES_VOWELS)
    params: dict[str, Any] = {
        **SMALL, "rlhf_type": method, "num_generations": 8, "per_device_train_batch_size": 48, "beta": 0.0,
        "kl_coef": 0.0, "num_ppo_epochs": 1,
    }  # fmt: skip
    outcome = learn(
        tiny_model, prompts, tmp_path, external=[tmp_path / "mine.py"], reward_funcs=["mine"], **params,
        max_steps=25, learning_rate=1e-2, tuner_type="full", eval_steps=100,
    )  # fmt: skip
    rewards = steps(outcome, "reward")
    assert np.mean(rewards[-3:]) > 1.5 * np.mean(rewards[:3])


def test_a_step_of_ppo_may_have_nothing_to_learn(tiny_model: Path, prompts: Path, reward: Path, tmp_path: Path) -> None:
    cut = {"overlong_filter": True, "max_completion_length": 1, "num_generations": 2}
    trainer = trainer_of(tiny_model, prompts, tmp_path, reward, rlhf_type="ppo", **cut)
    [batch], count = trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
    assert (int(count), len(batch["advantages"])) == (0, 0)


@pytest.mark.parametrize(
    ("params", "body", "message"),
    [
        ({"num_generations": 3}, "return [0.0] * len(samples)", "a step has 8 answers .*no multiple of 3; .* is 9"),
        ({"per_device_train_batch_size": 64}, "return [0.0] * len(samples)", "a step has 16 prompts, and there are 6"),
        ({"reward_funcs": []}, "return [0.0] * len(samples)", "grpo needs rewards"),
        ({"reward_weights": [1, 2]}, "return [0.0] * len(samples)", "2 weights for 1 rewards"),
        ({}, "raise ValueError('no')", "mine failed on all of 8 answers: .*mine.py:2: ValueError: no"),
        ({}, "return [float('nan')] * len(samples)", "mine failed on all of 8 answers: it gave nan"),
        ({}, "return [1.0]", "a number or None for each of 8 answers, not 1 numbers"),
        ({"reward_timeout": 0.2}, "import time; time.sleep(5)", "took longer than 0.2 s"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_one_sentence(
    params: dict[str, Any], body: str, message: str, tiny_model: Path, prompts: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(FAILS.format(body))
    settings = {"reward_funcs": ["mine"], **params}
    with pytest.raises((ConfigError, MartletError), match=message):
        trainer = trainer_of(tiny_model, prompts, tmp_path, tmp_path / "mine.py", **settings)
        trainer.get_batch_samples(iter(first_parts(trainer)), 1, "cpu")
