"""What a saved model has to show: the answers of the model that was trained."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import MartletError
from components.sharded import readable

if TYPE_CHECKING:
    import torch


def answers(model: Any, rows: Sequence[Any]) -> "list[torch.Tensor]":
    """Return what a model answers to rows of token ids, or to the tensors of a batch, on the CPU in float32; the model
    then evaluates. Processes that divide the weights call this together."""
    import torch

    model.eval()
    with torch.no_grad(), readable(model):
        batches = [row if isinstance(row, dict) else {"input_ids": torch.tensor(row)[None].long()} for row in rows]
        moved = ({name: tensor.to(model.device) for name, tensor in batch.items()} for batch in batches)
        return [model(**batch, use_cache=False)[0].float().cpu() for batch in moved]


def check_saved(
    trained: "list[torch.Tensor]", loaded: Any, rows: Sequence[Any], dtype: Any = None, tolerance: float = 1e-3
) -> None:
    """Check that what was saved answers as what was trained, on a few rows of token ids.

    Args:
        trained: the answers of the trained model, whose weights have the precision `dtype`.
        loaded: the model with what was saved.

    Raises:
        MartletError: the trained model's logits are no numbers; or some logit differs by more than `tolerance` times
            the largest logit, by more than 3e-2 where one of the two is in half precision.
    """
    import torch

    tolerance = tolerance if dtype in (None, loaded.dtype) else 3e-2
    for a, b in zip(trained, answers(loaded, rows), strict=True):
        if not torch.isfinite(a).all():
            raise MartletError(
                "the trained model answers with NaN or infinity, though its weights are numbers; lower "
                "--learning_rate or --weight_decay"
            )
        difference = float((a - b).abs().max() / a.abs().max())
        if not difference <= tolerance:
            raise MartletError(
                f"the saved weights do not answer as the trained ones: logits differ by {difference:.1e}"
            )
