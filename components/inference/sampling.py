"""Sampling of one request, with its own settings and its own seed."""

from typing import Any

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from components.inference.api import GenerationConfig
from components.inference.grammar import Matcher


def needs_sampler(generation: GenerationConfig) -> bool:
    """Return whether an answer is anything but the likeliest token at each place."""
    changed = (generation.frequency_penalty, generation.presence_penalty, generation.logit_bias, generation.grammar)
    return generation.is_sampled or generation.repetition_penalty not in (None, 1) or any(changed)


class Sampler:
    """Rewrites the scores of one request so that their argmax is a draw from its distribution.

    Transformers' own processors shape the distribution. The draw is the Gumbel-max trick: the argmax of p / e, with e
    exponential noise from the request's own generator, has distribution p. So greedy and sampled requests share one
    batch, and a seed gives the same draw in any batch.

    Args:
        prompt_tokens: length of the prompt; the tokens after it are the answer's.
        matcher: the grammar of the answer, or None.
    """

    def __init__(
        self,
        generation: GenerationConfig,
        device: torch.device,
        prompt_tokens: int = 0,
        matcher: Matcher | None = None,
    ):
        self.processors = LogitsProcessorList()
        self.generator, self.matcher, self.prompt_tokens = None, matcher, prompt_tokens
        self.frequency = generation.frequency_penalty or 0.0
        self.presence = generation.presence_penalty or 0.0
        self.bias = generation.logit_bias or {}
        if generation.repetition_penalty not in (None, 1.0):
            self.processors.append(RepetitionPenaltyLogitsProcessor(generation.repetition_penalty))
        if not generation.is_sampled:
            return
        self.processors.append(TemperatureLogitsWarper(float(generation.temperature or 0)))
        if generation.top_k and generation.top_k > 0:
            self.processors.append(TopKLogitsWarper(generation.top_k))
        if generation.top_p and generation.top_p < 1:
            self.processors.append(TopPLogitsWarper(generation.top_p))
        if generation.min_p:
            self.processors.append(MinPLogitsWarper(generation.min_p))
        self.generator = torch.Generator(device)
        if generation.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(generation.seed)

    def __call__(self, ids: Any, scores: Any) -> torch.Tensor:
        """Return the new scores [1, vocabulary] for `ids` [1, tokens so far] and `scores` [1, vocabulary]."""
        if self.frequency or self.presence:
            tokens, counts = ids[0, self.prompt_tokens :].unique(return_counts=True)
            scores[0, tokens] -= self.frequency * counts + self.presence
        for token, value in self.bias.items():
            scores[0, token] += value
        if self.matcher:
            scores = self.matcher.restrict(scores)
        scores = self.processors(ids, scores)
        if self.generator is None:
            return scores
        noise = torch.empty_like(scores).exponential_(generator=self.generator)
        return scores.log_softmax(-1) - noise.log()
