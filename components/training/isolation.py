"""Whether a model keeps documents apart that share a line, and the batches that follow from that."""

from collections.abc import Sequence
from typing import Any

from components.errors import ConfigError
from components.media import first_with_media
from components.sharded import readable
from components.tokens import TokenRow, TokenRows
from components.training import ranks
from components.training.collators import Isolated, Padded, joining_pays
from components.training.datasets import sample_rows
from components.training.documents import use_documents
from components.training.features import Features, features_folder
from components.training.job import Job
from components.training.media import WithMedia, table
from components.training.sequence_parallel import Part
from components.training.stream import Stream

PROBE_TOKENS = 32
"""Tokens of each document that are compared, counted from its end: beginnings are often the same."""
SAMPLED_ROWS = 4096
"""Rows whose lengths decide whether joining pays."""


def padded(job: Job) -> Padded | WithMedia:
    """Return what makes batches of one row per line, with the media of rows that have some."""
    own = Padded(job.pad_token_id)
    if job.processor is None:
        return own
    features = Features(job.processor, job.model.dtype, features_folder(job))
    return WithMedia(own, features, first_with_media(table(job)) if ranks.world_size() > 1 else None)


def collator(job: Job, *beside: Any) -> Isolated | Padded | WithMedia | Part:
    """Return what makes batches: padded rows where some have media; joined rows where packing or padding-free batches
    are asked for, or where nothing is asked, the model keeps documents apart and joining costs less than padding; this
    process's part of padded rows where processes divide rows.

    Args:
        beside: models that read the same batches.

    Raises:
        ConfigError: joined rows are asked for, and the model lets one document see the other.
    """
    train = job.train
    if job.processor is not None:
        return padded(job)
    if (parts := job.params.distributed.sequence_parallel_size) > 1:
        return Part(job.pad_token_id, job.part, parts)
    required = train.packing or train.padding_free
    if not required and (train.padding_free is False or train.torch_compile):
        return Padded(job.pad_token_id)
    problem, alone = None, True
    for model in dict.fromkeys((job.model, *beside)):
        own_problem, is_alone = _joined(model, job.rows)
        problem, alone = problem or own_problem, alone and is_alone
    if problem and required:
        raise ConfigError(
            f"packing, padding_free: {problem}; use --group_by_length true instead, or another --attn_impl"
        )
    joins = not problem and (required or alone or _pays(job))
    return Isolated(job.pad_token_id, one_line=alone) if joins else Padded(job.pad_token_id)


def _joined(model: Any, every_row: Any) -> tuple[str | None, bool]:
    """Return how a model mixes documents, or None, and whether its attention sees each document alone.

    The attention of `documents` is used where it keeps documents apart.
    """
    rows = sample_rows(every_row, 2)
    if use_documents(model):
        if not isolation_problem(model, rows):
            return None, True
        model.set_attn_implementation("sdpa")
    return isolation_problem(model, rows), "flash" in (model.config._attn_implementation or "")


def _pays(job: Job) -> bool:
    import numpy as np

    if isinstance(job.rows, Stream):
        return False
    sample = np.random.default_rng(0).permutation(len(job.rows))[:SAMPLED_ROWS]
    lengths, count = job.rows.lengths[sample], 1
    if getattr(job.rows, "shape", "") == "preference":  # two answers, each with its prompt
        lengths, count = np.repeat(job.rows.sequences()[1][sample], 2), 2
    size = count * job.train.per_device_train_batch_size
    return joining_pays(lengths, size, job.model.config.get_text_config().hidden_size)


def isolation_problem(model: Any, rows: Sequence[TokenRow] | TokenRows) -> str | None:
    """Return how the model mixes documents that share a line, in words, or None where it keeps them apart.

    The logits of two rows on one line, told apart by `position_ids`, are compared with those of each row alone. They
    may differ by 1e-3 of the largest logit, or 3e-2 in half precision. A model that mixes the two (linear attention,
    state spaces, positions that it counts itself) is off by far more.
    """
    import torch

    ids = [torch.tensor(rows[i % len(rows)]["input_ids"][-PROBE_TOKENS:]).long().to(model.device) for i in range(2)]
    positions = [torch.arange(len(document), device=model.device) for document in ids]

    def logits(first: int, last: int) -> torch.Tensor:
        line, places = torch.cat(ids[first:last])[None], torch.cat(positions[first:last])[None]
        return model(input_ids=line, position_ids=places, use_cache=False).logits[0, -line.shape[1] :].float()

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), readable(model):
            joined, alone = logits(0, 2), torch.cat([logits(0, 1), logits(1, 2)])
    except TypeError:
        return f"{model.config.model_type} takes no position_ids, by which documents on a line are told apart"
    finally:
        model.train(was_training)
    difference = float((joined - alone).abs().max() / alone.abs().max())
    if difference <= (1e-3 if model.dtype == torch.float32 else 3e-2):
        return None
    return (
        f"{model.config.model_type} with {model.config._attn_implementation} attention does not keep documents apart "
        f"(logits of a row change by {difference:.1%} when they share a line)"
    )
