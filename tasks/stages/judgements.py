"""Judged answers as a whole: KTO learns from good and bad ones, which are best to weigh about the same."""

from components.config import Params
from components.errors import ConfigError
from components.tokens import TokenRows
from tasks.stages.paths import Paths

LEAST, MOST = 1, 4 / 3
"""How many times the bad answers the good ones are to weigh, as KTO's authors found (Ethayarajh et al. 2024)."""
TOLERANCE = 0.01


def require_both(paths: Paths) -> None:
    """Raise ConfigError if all training answers are good, or all are bad."""
    good, bad = _counts(paths)
    if good and bad:
        return
    kind, other = ("good", "false") if good else ("bad", "true")
    instead = ", or learn the answers by `martlet sft` without their labels" if good else ""
    raise ConfigError(
        f"label: all {good + bad:,} training rows have {kind} answers, and kto learns what sets good ones apart from "
        f"bad ones; add rows with the label {other}{instead}"
    )


def balance(params: Params, paths: Paths) -> list[str]:
    """Return a sentence with the weights that would balance good and bad answers, if theirs do not."""
    good, bad = _counts(paths)
    weights = params.preference
    share = weights.desirable_weight * good / (weights.undesirable_weight * bad)
    if LEAST - TOLERANCE <= share <= MOST + TOLERANCE:
        return []
    name = "undesirable_weight" if share > MOST else "desirable_weight"
    bounds = (share / MOST, share / LEAST) if share > MOST else (LEAST / share, MOST / share)
    low, high = (getattr(weights, name) * factor for factor in bounds)
    return [
        f"balance: {good:,} good and {bad:,} bad answers weigh {share:.2f} to 1, and KTO's authors advise 1 to 1 up to "
        f"4 to 3; --{name} {low:.3g} to {high:.3g} gives that"
    ]


def _counts(paths: Paths) -> tuple[int, int]:
    """Return how many training answers are good, and how many are bad."""
    labels = TokenRows(paths.tokens / "train.arrow").judgements()
    return sum(labels), len(labels) - sum(labels)
