"""Signs in the figures that an alignment goes wrong, each told once in a run: what was seen, at which step, what it
means."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from math import sqrt
from statistics import fmean, median, variance
from typing import Any

from components.figures import of_evaluation, of_step

START = 20
"""Steps at the beginning of a run that later ones are compared with, and as many of the newest ones."""
NEWEST = 5
"""Steps over which a figure is taken together that one odd batch may move far."""
NO_GRADIENT_STEPS = 10
FALLS = 3
"""Evaluations, each lower than the one before."""
STANDARD_ERRORS = 4.0
"""Between two means, for a difference that the choice of batches does not explain."""


class Watch:
    """Looks at a run's history entry by entry, so that the cost of a step does not grow with the run."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.evaluations: list[tuple[int, float]] = []
        """Of the rewards of held-out prompts, how many steps there were before, and the reward."""
        self.told: set[Callable[[Watch], str | None]] = set()

    def see(self, entry: dict[str, Any]) -> list[str]:
        """Return a sentence for each symptom that this entry of the history is the first to show."""
        if "loss" in entry:
            self.steps.append(of_step(entry))
        elif (reward := of_evaluation(entry).get("eval_reward")) is not None:
            self.evaluations.append((len(self.steps), reward))
        else:
            return []
        sentences: list[str] = []
        for symptom in SYMPTOMS:
            if symptom not in self.told and (sentence := symptom(self)):
                self.told.add(symptom)
                sentences.append(f"step {entry['step']}: {sentence}")
        return sentences

    def first(self, name: str) -> list[float]:
        """Return a figure at the first steps, of which each must have it; else nothing."""
        return _column(self.steps[:START], name)

    def last(self, name: str, count: int = START) -> list[float]:
        """Return a figure at the newest steps, none of them among the first ones; else nothing."""
        return _column(self.steps[-count:], name) if len(self.steps) >= START + count else []


def symptoms(history: Iterable[dict[str, Any]]) -> list[str]:
    """Return a sentence for each symptom in a history, in the order in which they are first seen."""
    watch = Watch()
    return [sentence for entry in history for sentence in watch.see(entry)]


def _column(steps: list[dict[str, float]], name: str) -> list[float]:
    values = [step[name] for step in steps if name in step]
    return values if len(values) == len(steps) else []


def _kl_explodes(watch: Watch) -> str | None:
    """Only beside rewards: KTO's `kl` is that of whole answers, and is above 1 in sound runs."""
    first, last = watch.first("kl"), watch.last("kl", NEWEST)
    if not first or not last or "reward" not in watch.steps[-1]:
        return None
    usual, now = median(first), median(last)
    if now <= 1 or now <= 10 * usual:
        return None
    return (
        f"the KL divergence from the reference model is {now:.3g}, and was {usual:.2g} in the first {START} steps: the "
        "model runs away from where it began; lower --learning_rate, or raise --beta"
    )


def _answers_only_grow(watch: Watch) -> str | None:
    """Answers that become longer may well become better, too, as with reasoning; those that are cut at the limit are
    never brought to an end."""
    first, last = watch.first("completions/mean_length"), watch.last("completions/mean_length")
    rewards, cut = [watch.first("reward"), watch.last("reward")], watch.last("completions/clipped_ratio") or [1.0]
    if not (first and last and all(rewards)) or fmean(cut) < 0.8:
        return None
    if fmean(last) <= 2 * fmean(first) or fmean(rewards[1]) <= fmean(rewards[0]):
        return None
    return (
        f"answers have grown from {fmean(first):,.0f} to {fmean(last):,.0f} tokens while the reward rises, and most "
        "are cut at the limit: the reward may pay for length; read the answers in train.html"
    )


def _held_out_reward_falls(watch: Watch) -> str | None:
    newest = watch.evaluations[-FALLS - 1 :]
    rewards = [reward for _, reward in newest]
    if len(newest) <= FALLS or not _rises(rewards[::-1]):
        return None
    ends = [count for count, _ in newest]
    parts = [_column(watch.steps[a:b], "reward") for a, b in pairwise(ends)]
    if not all(parts) or not _rises([fmean(part) for part in parts]):
        return None
    return (
        f"the reward on held-out prompts has fallen over {FALLS} evaluations, {rewards[0]:.3g} to {rewards[-1]:.3g}, "
        "while that of the training prompts rises: the model learns the training prompts by heart; take the best "
        "checkpoint, or more prompts"
    )


def _rises(values: list[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _entropy_collapses(watch: Watch) -> str | None:
    first, last = watch.first("entropy"), watch.last("entropy", NEWEST)
    if not first or not last or fmean(last) >= 0.1 * fmean(first):
        return None
    return (
        f"the entropy of the answers has fallen from {fmean(first):.3g} to {fmean(last):.2g}: the model gives nearly "
        "the same answer each time, and finds no better ones; raise --temperature, or lower --learning_rate"
    )


def _rewards_are_equal(watch: Watch) -> str | None:
    shares = _column(watch.steps[-NO_GRADIENT_STEPS:], "frac_reward_zero_std")
    if len(shares) < NO_GRADIENT_STEPS or min(shares) < 0.9:
        return None
    return (
        f"in {NO_GRADIENT_STEPS} steps at least 90 % of the prompts had answers of equal rewards: there is nothing to "
        "learn from these; take prompts that are neither too hard nor too easy, or more answers to each"
    )


def _probabilities_differ(watch: Watch) -> str | None:
    """The model has not changed since it answered, so its probabilities are those it answered with."""
    if len(watch.steps) != 1:
        return None
    for name in ("ratio", "sampling/importance_sampling_ratio/mean"):
        if abs((ratio := watch.steps[0].get(name, 1.0)) - 1) > 0.05:
            return (
                f"the first ratio of the probabilities in training and in sampling is {ratio:.3g}, not 1: sampling and "
                "training disagree on the probabilities"
            )
    return None


def _chosen_become_unlikely(watch: Watch) -> str | None:
    """By the implicit rewards where they are logged, which differ less from batch to batch than probabilities do."""
    for kind in ("rewards", "logps"):
        chosen, rejected = ((watch.first(f"{kind}/{n}"), watch.last(f"{kind}/{n}")) for n in ("chosen", "rejected"))
        if all(chosen) and all(rejected):
            if not (_has_fallen(*chosen) and _has_fallen(*rejected)):
                return None
            return (
                f"the log-probabilities of the chosen answers fall together with those of the rejected ({kind}/chosen "
                f"{fmean(chosen[0]):.3g} to {fmean(chosen[1]):.3g}): probability goes to answers that are neither "
                "(likelihood displacement, Razin et al. 2024), which may be harmless"
            )
    return None


def _has_fallen(first: list[float], last: list[float]) -> bool:
    error = sqrt((variance(first) + variance(last)) / START)
    return fmean(first) - fmean(last) > STANDARD_ERRORS * error


SYMPTOMS = (
    _kl_explodes, _answers_only_grow, _held_out_reward_falls, _entropy_collapses, _rewards_are_equal,
    _probabilities_differ, _chosen_become_unlikely,
)  # fmt: skip
