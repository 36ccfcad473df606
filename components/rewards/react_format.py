"""Format of ReAct: 1 where the answer is `<think>…</think> Action: … Action Input: …`, or 0 (Yao et al. 2023, "ReAct:
Synergizing Reasoning and Acting in Language Models").

The first `<think>` may be missing: many templates end the prompt with it.
"""

import re
from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample

_FORM = re.compile(r"\s*(?:<think>)?.*?</think>\s*Action:.*?\S.*?\s*Action Input:.*\S.*", re.DOTALL)


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for answers of the form, 0 for others."""
    return [float(_FORM.fullmatch(sample.completion) is not None) for sample in samples]
