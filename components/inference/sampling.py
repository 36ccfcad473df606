"""Sampling with each row's own settings and its own seed, inside one batched `generate`."""

from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from components.inference.engine import GenerationConfig

if TYPE_CHECKING:
    from components.inference.rows import Row


class Sampler:
    """Rewrites one row's scores so that their argmax is a draw from the row's distribution.

    Transformers' own processors shape the distribution. The draw is the Gumbel-max trick: the argmax of p / e, with e
    exponential noise from the row's own generator, has distribution p. So greedy and sampled rows share one batch, and
    a seed gives the same draw in any batch.
    """

    def __init__(self, generation: GenerationConfig, device: torch.device):
        self.processors = LogitsProcessorList()
        self.generator = None
        if generation.repetition_penalty not in (None, 1.0):
            self.processors.append(RepetitionPenaltyLogitsProcessor(generation.repetition_penalty))
        if not generation.temperature:
            return
        self.processors.append(TemperatureLogitsWarper(float(generation.temperature)))
        if generation.top_k and generation.top_k > 0:
            self.processors.append(TopKLogitsWarper(generation.top_k))
        if generation.top_p and generation.top_p < 1:
            self.processors.append(TopPLogitsWarper(generation.top_p))
        self.generator = torch.Generator(device)
        if generation.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(generation.seed)

    def __call__(self, ids: Any, scores: Any) -> torch.Tensor:
        """`ids` (1, tokens so far) and `scores` (1, vocabulary) give new scores of the same shape."""
        scores = self.processors(ids, scores)
        if self.generator is None:
            return scores
        noise = torch.empty_like(scores).exponential_(generator=self.generator)
        return scores.log_softmax(-1) - noise.log()


class RowSampler(LogitsProcessor):
    """Applies each row's sampler to that row; greedy rows and finished ones are left alone."""

    def __init__(self, rows: "list[Row]", padding: list[int]):
        self.rows, self.padding = rows, padding

    def __call__(self, input_ids: Any, scores: Any) -> torch.Tensor:
        for i, (row, pad) in enumerate(zip(self.rows, self.padding, strict=True)):
            if row.sampler and not row.finished:
                scores[i : i + 1] = row.sampler(input_ids[i : i + 1, pad:], scores[i : i + 1])
        return scores
