"""Parameters of the merge of an adapter into its base. Read by the stage `merge`."""

import re
from typing import Annotated

from pydantic import AfterValidator

from components.config.fields import Group, field


def _require_size(text: str) -> str:
    if not re.fullmatch(r"\s*(?=.*[1-9])\d+(\.\d+)?\s*[KMGT]B\s*", text, re.ASCII | re.IGNORECASE):
        raise ValueError(f"must be a size such as 5GB or 500MB, not {text!r}")
    return text


class Merge(Group):
    """The merge, checked by comparing logits."""

    merge_tolerance: float = field(
        1e-2, "largest difference allowed between the logits of the merged model and of adapter on base", gt=0
    )
    max_shard_size: Annotated[str, AfterValidator(_require_size)] = field("5GB", "largest file of weights")
