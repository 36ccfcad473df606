"""Sampling of one request, with its own settings and its own seed."""

from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from components.inference.api import GenerationConfig


class Sampler:
    """Rewrites the scores of one request so that their argmax is a draw from its distribution.

    Transformers' own processors shape the distribution. The draw is the Gumbel-max trick: the argmax of p / e, with e
    exponential noise from the request's own generator, has distribution p. So greedy and sampled requests share one
    batch, and a seed gives the same draw in any batch.
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
        """Return the new scores [1, vocabulary] for `ids` [1, tokens so far] and `scores` [1, vocabulary]."""
        scores = self.processors(ids, scores)
        if self.generator is None:
            return scores
        noise = torch.empty_like(scores).exponential_(generator=self.generator)
        return scores.log_softmax(-1) - noise.log()
