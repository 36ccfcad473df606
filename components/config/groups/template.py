"""How rows become tokens. Read by the stage `template`."""

from typing import Literal

from components.config.fields import Group, field


class Template(Group):
    """The prompt text comes from the tokenizer's own chat template, and from nowhere else."""

    system: str | None = field(None, "system prompt of rows that bring none of their own")
    max_length: int = field(2048, "longest row in tokens", "cutoff_len", gt=0)
    truncation_strategy: Literal["delete", "left", "right"] = field(
        "delete", "a longer row is left out, or loses tokens on the left or the right"
    )
