"""The figures of a method beside its loss: which they are, their means, and how they are shown.

They have the field's names (TRL's), such as `rewards/accuracies` or `kl`; in an evaluation, `eval_` before the name.
"""

import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

OWN = {
    "step", "total_steps", "time", "epoch", "loss", "token_acc", "learning_rate", "grad_norm", "tokens_per_second",
    "mfu", "memory", "eta", "num_tokens", "num_input_tokens_seen",
}  # fmt: skip
"""Numbers that each training logs."""
SHORT = {
    "reward": "reward {:.4g}",
    "rewards/accuracies": "accuracy {:.3f}",
    "rewards/margins": "margin {:.3g}",
    "kl": "kl {:.3g}",
    "entropy": "entropy {:.3g}",
    "completions/mean_length": "length {:,.0f}",
}
"""The main figures, which the terminal shows, and their texts; all others are in the reports."""


class Panel(NamedTuple):
    """Curves that belong together: a title, what the axis measures, and the names of the figures."""

    title: str
    axis: str
    names: list[str]


PANELS = (
    ("Reward", "reward", r"reward|rewards/(chosen|rejected)|rewards/.+/mean"),
    ("Accuracy", "share of the pairs", r"rewards/accuracies"),
    ("Margin", "reward, chosen minus rejected", r"rewards/margins"),
    ("Distance from the reference model", "KL divergence, nats", r"kl|objective/kl"),
    ("Entropy", "nats per token", r"entropy"),
    ("Length of the answers", "tokens", r"completions/(mean|min|max)_length"),
    ("Turns of a conversation", "answers of the model", r"num_turns"),
    ("Log-probability of the answers", "nats", r"logps/.+"),
    ("Spread of the rewards", "standard deviation", r"reward_std|rewards/.+/std"),
    ("Shares", "share, 0 to 1", r"clip_ratio.*|completions/clipped_ratio|frac_reward_zero_std|agreement|on_policy"),
    ("Parts of the loss", "loss", r".+_loss"),
)
"""Title, axis and names of panels, the most telling first. Figures of other names share one by their first part."""
LABELS = {
    "reward": "total",
    "frac_reward_zero_std": "groups of equal rewards",
    "completions/clipped_ratio": "answers cut at the limit",
    "agreement": "tokens with the teacher's likeliest",
    "on_policy": "steps on own answers",
    "clip_ratio": "tokens with a clipped ratio",
    "clip_ratio/high_mean": "tokens clipped above",
    "clip_ratio/low_mean": "tokens clipped below",
}


def of_step(entry: dict[str, Any]) -> dict[str, float]:
    """Return the method's figures of a step, from a line of the history or of progress."""
    return {name: value for name, value in _sorted(entry) if name not in OWN and not name.startswith("eval_")}


def of_evaluation(entry: dict[str, Any]) -> dict[str, float]:
    """Return all figures of an evaluation, by their names with `eval_`."""
    return {name: value for name, value in _sorted(entry) if name.startswith("eval_") and name != "eval_num_tokens"}


def _sorted(entry: dict[str, Any]) -> list[tuple[str, float]]:
    """Return the numbers of an entry by name, for a checkpoint has its history in no other order."""
    return [(name, entry[name]) for name in sorted(entry) if is_number(entry[name])]


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def is_reported(step: int, every: int, last: int) -> bool:
    """Return True for the first step, each `every`-th and the last."""
    return step == 1 or step % every == 0 or step == last


def means(history: list[dict[str, Any]], every: int) -> dict[str, float]:
    """Return the mean loss, and the mean of each figure, of the steps after the last reported one, up to the newest in
    `history`; a figure that is no number in a step does not count there."""
    steps: list[dict[str, Any]] = []
    for entry in reversed(history):
        if "loss" in entry:
            if steps and is_reported(entry["step"], every, -1):
                break
            steps.append({"loss": entry["loss"], **of_step(entry)})
    columns = {name: [step[name] for step in steps if name in step] for step in reversed(steps) for name in step}
    return {name: sum(values) / len(values) for name, values in columns.items()}


def names_in(entries: Iterable[dict[str, Any]]) -> list[str]:
    """Return the names of the figures of steps, in the order in which they occur first."""
    return list(dict.fromkeys(name for entry in entries if "loss" in entry for name in of_step(entry)))


def panels(names: Iterable[str]) -> list[Panel]:
    """Return the panels of figures: those of `PANELS` first, then one for each first part of the other names."""
    by_title: dict[str, Panel] = {}
    for name in names:
        known = next((panel[:2] for panel in PANELS if re.fullmatch(panel[2], name)), None)
        first = name.partition("/")[0]
        title, axis = known or (first.replace("_", " ").capitalize(), "value")
        by_title.setdefault(title, Panel(title, axis, [])).names.append(name)
    order = [title for title, *_ in PANELS]
    return sorted(by_title.values(), key=lambda panel: order.index(panel.title) if panel.title in order else len(order))


def label(name: str) -> str:
    """Return what a figure is called among others of its panel: `chosen` of `rewards/chosen`."""
    return LABELS.get(name) or (name.partition("/")[2] or name).removesuffix("/mean").replace("_", " ")
