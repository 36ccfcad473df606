"""Rows that several processes divide among them, token by token: Ulysses (Jacobs et al. 2023, arXiv 2309.14509).

`sequence_parallel_size` neighbouring processes load the same rows, and each computes a part of their tokens. Around
each attention they exchange tokens for heads: a process attends with its share of the heads over whole rows.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError
from components.sharded import readable
from components.tokens import IGNORED, TokenRow
from components.training.collators import PADDING_VALUES, Padded
from components.training.job import Job, transformers_model

if TYPE_CHECKING:
    import torch

PROBE_TOKENS = 32
"""Tokens of each process whose logits are compared before the training."""
ATTENTIONS = ("sdpa", "flash_attention_2")
"""Implementations that see all tokens before a token where no mask is built."""


class Part:
    """One process's part of padded rows, one row per line; all parts of a batch have the same length.

    Returns `input_ids`, `position_ids` and `attention_mask`, which marks the real tokens, [rows, length], and `labels`
    and, for rows with weights, `loss_scale`, [rows, length + 1]: those of the next token stand one place further, as
    everywhere, and the first is not learned here.
    """

    def __init__(self, pad_token_id: int, number: int, parts: int) -> None:
        self.padded, self.number, self.parts = Padded(pad_token_id), number, parts
        self.fill = {**PADDING_VALUES, "input_ids": pad_token_id}

    def __call__(self, rows: list[TokenRow]) -> "dict[str, torch.Tensor]":
        import torch
        from torch.nn.functional import pad

        batch = self.padded(rows)
        lines, longest = batch["input_ids"].shape
        length = math.ceil(longest / self.parts)
        start = self.number * length
        for name, values in batch.items():
            end = start + length + (name in ("labels", "loss_scale"))
            whole = pad(values, (0, self.parts * length + 1 - longest), value=self.fill[name])
            batch[name] = whole[:, start:end].contiguous()
        batch["labels"][:, 0] = IGNORED
        return {**batch, "position_ids": torch.arange(start, start + length).repeat(lines, 1)}


class Repeated:
    """A sampler with the order of another one, of which each batch of `size` items comes `times` times in a row.

    accelerate gives one batch after the other to one process after the other, so neighbours have the same one.
    """

    def __init__(self, order: Any, size: int, times: int) -> None:
        self.order, self.size, self.times = order, size, times

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; accelerate calls this before each pass."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.order) * self.times

    def __iter__(self) -> Iterator[int]:
        items = list(self.order)
        for start in range(0, len(items), self.size):
            yield from items[start : start + self.size] * self.times


@contextmanager
def divided_rows(job: Job) -> Generator[None]:
    """While the block runs, let the attentions of the job's model go over the tokens of all processes that divide a
    row, where `sequence_parallel_size` says so.

    Raises:
        ConfigError: the model computes with an attention that cannot be divided, or mixes tokens in other ways too.
    """
    parts = job.params.distributed.sequence_parallel_size
    if parts == 1:
        yield
        return
    from torch.distributed import new_subgroups
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    config = transformers_model(job.model).config
    name = config._attn_implementation
    if name not in ATTENTIONS:
        raise ConfigError(
            f"sequence_parallel_size: {config.model_type} computes with {name} attention here, and rows are divided "
            f"for {' and '.join(ATTENTIONS)} alone; leave it out"
        )
    group, _ = new_subgroups(parts, timeout=timedelta(seconds=job.params.distributed.ddp_timeout))
    expected = _logits(job, 0, parts)
    ALL_ATTENTION_FUNCTIONS[name] = partial(_attention, ALL_ATTENTION_FUNCTIONS[name], group)
    ALL_MASK_ATTENTION_FUNCTIONS[name] = partial(_mask, ALL_MASK_ATTENTION_FUNCTIONS[name], parts)
    try:
        _require_equal(job, expected.chunk(parts)[job.part], parts)
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[name], ALL_MASK_ATTENTION_FUNCTIONS[name]


def _attention(
    attend: Any, group: Any, module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any
) -> tuple[Any, None]:
    """Return the attention of this process's tokens [rows, length, heads, width] to all tokens of their rows; query,
    key and value are [rows, heads, length, width], with all heads."""
    states = (_exchanged(states, group) for states in (query, key, value))
    options["position_ids"] = None  # a row is one document
    output, _ = attend(module, *states, attention_mask, **options)
    return _exchanged(output, group), None


def _mask(mask: Any, parts: int, *, q_length: int, kv_length: int, **options: Any) -> Any:
    """Return the mask of whole rows, None where a token sees all that stand before it."""
    return mask(q_length=parts * q_length, kv_length=parts * kv_length, **options)


def _exchanged(states: "torch.Tensor", group: Any) -> "torch.Tensor":
    """Give each process its part of the second dimension, and return what all processes have of this one's, joined
    along the third; states are [rows, a, b, width]."""
    from torch.distributed._functional_collectives import all_to_all_single_autograd

    parts = group.size()
    rows, divided, joined, width = states.shape
    outgoing = states.reshape(rows, parts, divided // parts, joined, width).movedim(1, 0).contiguous()
    incoming = all_to_all_single_autograd(outgoing, None, None, group)
    return incoming.movedim(0, 2).reshape(rows, divided // parts, parts * joined, width)


def _require_equal(job: Job, expected: "torch.Tensor", parts: int) -> None:
    """Raise ConfigError if the logits of this process's part of a row are not those of the whole row.

    They may differ by 1e-4 of the largest logit, or 3e-2 in half precision. A model that mixes tokens outside of its
    attention (state spaces, convolutions, positions that it counts itself) is off by far more.
    """
    import torch

    difference = float((_logits(job, job.part, 1) - expected).abs().max() / expected.abs().max())
    if difference > (1e-4 if job.model.dtype == torch.float32 else 3e-2):
        raise ConfigError(
            f"sequence_parallel_size: {transformers_model(job.model).config.model_type} with --tuner_type "
            f"{job.params.tuner.tuner_type} does not give the same logits where {parts} processes divide a row (they "
            f"differ by {difference:.1%}); leave it out"
        )


def _logits(job: Job, first: int, count: int) -> "torch.Tensor":
    """Return the logits [tokens, vocabulary] of `count` parts of a line of the first rows, from part `first`."""
    import numpy as np
    import torch

    rows, size = job.rows, PROBE_TOKENS
    tokens = np.concatenate([rows[i]["input_ids"] for i in range(min(len(rows), size))])
    places = torch.arange(first * size, (first + count) * size, device=job.model.device)
    ids = torch.from_numpy(np.resize(tokens, (first + count) * size)).long().to(job.model.device)[places]
    was_training = job.model.training
    job.model.eval()
    try:
        with torch.no_grad(), readable(job.model):
            return job.model(input_ids=ids[None], position_ids=places[None], use_cache=False).logits[0].float()
    finally:
        job.model.train(was_training)
