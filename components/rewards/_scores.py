"""What rewards give for a batch of answers, checked and added up."""

import math
import traceback
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

from components.errors import ConfigError, MartletError
from components.parallel import within
from components.plugins import fault
from components.rewards._sample import Reward, Sample


class Scores(NamedTuple):
    """What all rewards say of a batch of answers."""

    totals: list[float]
    """For each sample the weighted sum of its rewards; None counts as 0."""
    values: dict[str, list[float | None]]
    """By reward what it gave for each sample, unweighted."""
    errors: dict[str, int]
    """By reward how many samples it failed on; these have None."""


def score(rewards: Sequence[Reward], samples: Sequence[Sample], timeout_s: float) -> Scores:
    """Return what `rewards` give for `samples`.

    A reward that raises is asked again for each sample alone; the samples that it raises for, and those for which it
    gives NaN or infinity, are its errors.

    Args:
        timeout_s: seconds for one reward. Python cannot kill a function: the thread of one that takes longer stays
            behind until it returns or the process ends.

    Raises:
        ConfigError: a reward gives something else than a number or None for each sample, or takes longer.
        MartletError: a reward fails on every sample.
    """
    values: dict[str, list[float | None]] = {}
    errors: dict[str, int] = {}
    for reward in rewards:
        try:
            outcome = within(timeout_s, lambda reward=reward: _judged(reward, samples)) if samples else ([], 0)
        except TimeoutError:
            raise ConfigError(
                f"reward_funcs: {reward.name} took longer than {timeout_s:g} s for {len(samples)} answers; "
                "raise --reward_timeout, or make it faster"
            ) from None
        values[reward.name], errors[reward.name] = outcome
    weighed = [(reward.weight, values[reward.name]) for reward in rewards]
    totals = [sum(weight * (column[n] or 0.0) for weight, column in weighed) for n in range(len(samples))]
    return Scores(totals, values, errors)


def _judged(reward: Reward, samples: Sequence[Sample]) -> tuple[list[float | None], int]:
    """Return what a reward gives for each sample, and for how many it fails."""
    try:
        values = _numbers(reward, samples)
        last = "it gave nan or inf"
    except MartletError:
        raise
    except (Exception, SystemExit) as error:
        values, last = [], _reason(error)
        for sample in samples:
            try:
                values += _numbers(reward, [sample])
            except MartletError:
                raise
            except (Exception, SystemExit) as error:
                values.append(math.nan)
                last = _reason(error)
    failed = [value is not None and not math.isfinite(value) for value in values]
    if all(failed):
        raise MartletError(f"reward_funcs: {reward.name} failed on all of {len(samples)} answers: {last}")
    return [None if bad else value for value, bad in zip(values, failed, strict=True)], sum(failed)


def _numbers(reward: Reward, samples: Sequence[Sample]) -> list[float | None]:
    """Return what a reward gives for `samples`; NaN and infinity stay.

    Raises:
        ConfigError: that is not one number or None for each.
    """
    expected = f"reward_funcs: {reward.name} gives a list with a number or None for each of {len(samples)} answers"
    values = reward.function(samples)
    if not hasattr(values, "__len__") or isinstance(values, str | bytes | dict):
        raise ConfigError(f"{expected}, not {type(values).__name__}")
    if len(values) != len(samples):
        raise ConfigError(f"{expected}, not {len(values)} numbers")
    for value in values:
        if value is not None and not isinstance(value, Real):
            raise ConfigError(f"{expected}, not {type(value).__name__}")
    return [None if value is None else float(value) for value in values]


def _reason(error: BaseException) -> str:
    """Return `FILE:LINE: Error: message`, of a user's file where the error came out of one."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return fault(error) or f"{frame.filename}:{frame.lineno}: {type(error).__name__}: {error}"
