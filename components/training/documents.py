"""Attention over several documents on one line, where each document attends to itself alone.

transformers keeps such documents apart with a mask of line x line, which a CPU computes in full: eight documents on a
line cost eight times their own attention. Here PyTorch's attention is called once for each document.
"""

from typing import Any

NAME = "documents"
"""Name of the attention among transformers' implementations."""


def use_documents(model: Any) -> bool:
    """Let `model` attend to each document alone, where it computes with sdpa on a CPU; return whether it now does.

    The caller proves that documents are kept apart (`isolation_problem`): not every model hands `position_ids` down to
    its attention.
    """
    if model.config._attn_implementation == "sdpa" and model.device.type == "cpu":
        _register()
        model.set_attn_implementation(NAME)
    return model.config._attn_implementation == NAME


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(batch_size: int, q_length: int, kv_length: int, **options: Any) -> Any:
    """Return None for one line on which a token sees all that stands before it in its document; else sdpa's mask."""
    from transformers.masking_utils import sdpa_mask

    all_before = not (options.get("local_size") or options.get("use_vmap") or options.get("attention_mask") is not None)
    if batch_size == 1 and q_length == kv_length and all_before:
        return None
    return sdpa_mask(batch_size, q_length, kv_length, **options)


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
    """Return the attention of each document to itself; query, key and value are [rows, heads, length, width]."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    positions, length = options.get("position_ids"), query.shape[2]
    if positions is None or positions.shape != (1, length) or key.shape[2] != length or positions[0, 0]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    starts = (positions[0] == 0).nonzero()[:, 0].tolist()
    lengths = [end - start for start, end in zip(starts, [*starts[1:], length], strict=True)]
    documents = zip(*(states.split(lengths, dim=2) for states in (query, key, value)), starts, lengths, strict=True)
    attended = []
    for q, k, v, start, count in documents:
        own = slice(start, start + count)
        mask = None if attention_mask is None else attention_mask[..., own, own]
        attended.append(sdpa_attention_forward(module, q, k, v, mask, **options)[0])
    return torch.cat(attended, dim=1), None
