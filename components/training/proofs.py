"""What a saved model has to show: the answers of the model that was trained."""

from collections.abc import Sequence
from typing import Any

from components.errors import MartletError


def check_saved(trained: Any, loaded: Any, rows: Sequence[Any], tolerance: float = 1e-3) -> None:
    """Check that what was saved answers as what was trained, on a few rows of token ids; both then evaluate.

    Raises:
        MartletError: the trained model's logits are no numbers; or some logit differs by more than `tolerance` times
            the largest logit, by more than 3e-2 where one of the two is in half precision.
    """
    import torch

    tolerance = tolerance if trained.dtype == loaded.dtype else 3e-2

    for row in rows:
        ids = torch.tensor(row)[None].long().to(trained.device)
        with torch.no_grad():
            a, b = (m.eval()(input_ids=ids, use_cache=False)[0].float() for m in (trained, loaded))
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
