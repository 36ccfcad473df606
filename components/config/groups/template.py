"""How rows become tokens. Read by the stage `template`."""

from typing import Literal

from components.config.fields import Group, field


class Template(Group):
    """The prompt text comes from the tokenizer's own chat template, and from nowhere else."""

    system: str | None = field(None, "system prompt of rows that bring none of their own")
    max_length: int = field(2048, "longest row in tokens", "cutoff_len", gt=0)
    truncation_strategy: Literal["delete", "left", "right", "split"] = field(
        "delete", "a longer row is left out, loses tokens on the left or the right, or becomes several"
    )
    loss_scale: str = field(
        "default", "what is learned: default, last_round or all, and how parts count (hermes, ignore_empty_think, …)"
    )
    enable_thinking: bool | None = field(None, "told to the chat template; rows may say otherwise for themselves")
    use_chat_template: bool = field(True, "false writes a question and its answer one after the other, as plain text")
