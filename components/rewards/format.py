"""Format: 1 where the answer is `<think>…</think><answer>…</answer>` and nothing else, or 0 (DeepSeek-AI 2025,
"DeepSeek-R1: Incentivizing Reasoning Capability in LLMs via Reinforcement Learning").

The first `<think>` may be missing: many templates end the prompt with it.
"""

import re
from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample

_FORM = re.compile(r"\s*(?:<think>)?(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)
_TAG = re.compile(r"</?(?:think|answer)>")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for answers of the form, 0 for others."""
    return [float(_has_form(sample.completion)) for sample in samples]


def _has_form(completion: str) -> bool:
    form = _FORM.fullmatch(completion)
    return form is not None and not any(_TAG.search(part) for part in form.groups())
