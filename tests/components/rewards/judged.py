"""Samples, and what a reward gives for them."""

from typing import Any

from components.config import Params
from components.rewards import Sample, rewards_of, score


def sample(completion: str, tokens: int = 10, messages: list[dict[str, Any]] | None = None, **columns: Any) -> Sample:
    messages = messages or [{"role": "assistant", "content": completion}]
    return Sample([{"role": "user", "content": "Well?"}], completion, messages, tokens, False, columns)


def given(name: str, *samples: Sample, **settings: Any) -> list[float | None]:
    """What the reward `name` gives for `samples`, with `settings` of the groups `reward` and `rollout`."""
    rollout = {key: settings.pop(key) for key in ("max_completion_length",) if key in settings}
    params = Params.model_validate({"reward": {"reward_funcs": [name], **settings}, "rollout": rollout})
    scores = score(rewards_of(params, []), samples, 120)
    assert scores.errors == {name: 0}
    return scores.values[name]
