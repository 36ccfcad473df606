"""What is asked of the very model that is trained: before the first step, and when it has been saved."""

from collections.abc import Sequence
from typing import Any

from components.errors import ConfigError, MartletError
from components.training.rows import Row, Rows

TOKENS = 32
"""Of each row, counted from its end: beginnings are often the same."""


def check_isolation(model: Any, rows: Rows | Sequence[Row]) -> None:
    """Compare the logits of two rows on one line, told apart by `position_ids`, with those of each row alone.

    The difference that is allowed is 1e-3 of the largest logit, or 3e-2 in half precision. A model that mixes the two
    (linear attention, state spaces, positions that it counts itself, a cache) is off by far more.

    Raises:
        ConfigError: the model lets one document see the other.
    """
    import torch

    ids = [torch.tensor(rows[i % len(rows)]["input_ids"][-TOKENS:]).long().to(model.device) for i in range(2)]
    positions = [torch.arange(len(document), device=model.device) for document in ids]

    def logits(first: int, last: int) -> torch.Tensor:
        line, places = torch.cat(ids[first:last])[None], torch.cat(positions[first:last])[None]
        return model(input_ids=line, position_ids=places).logits[0, -line.shape[1] :].float()

    was_training = model.training
    model.eval()
    with torch.no_grad():
        packed, alone = logits(0, 2), torch.cat([logits(0, 1), logits(1, 2)])
    model.train(was_training)
    difference = float((packed - alone).abs().max() / alone.abs().max())
    if not difference <= (1e-3 if model.dtype == torch.float32 else 3e-2):
        config = model.config
        raise ConfigError(
            f"packing, padding_free: {config.model_type} with {config._attn_implementation} attention does not keep "
            f"documents apart (logits of a row change by {difference:.1%} when they share a line); use "
            "--group_by_length true instead, or another --attn_impl"
        )


def check_saved(trained: Any, loaded: Any, rows: Rows | Sequence[Row], count: int = 4, tolerance: float = 1e-3) -> None:
    """Check that what was saved answers as what was trained, on the first `count` rows; both then evaluate.

    Raises:
        MartletError: some logit differs by more than `tolerance` times the largest logit.
    """
    import torch

    for i in range(min(count, len(rows))):
        ids = torch.tensor(rows[i]["input_ids"])[None].long().to(trained.device)
        with torch.no_grad():
            a, b = (m.eval()(input_ids=ids, use_cache=False).logits.float() for m in (trained, loaded))
        difference = float((a - b).abs().max() / a.abs().max())
        if not difference <= tolerance:
            raise MartletError(
                f"the saved weights do not answer as the trained ones: logits differ by {difference:.1e}"
            )
