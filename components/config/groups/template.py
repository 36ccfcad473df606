"""Parameters of the tokens. Read by the stage `template`."""

from typing import Literal

from pydantic import field_validator

from components.config.fields import Group, field


class Template(Group):
    """The prompt text comes from the tokenizer's own chat template only."""

    system: str | None = field(None, "system prompt of rows without one; the flag also takes a .txt file")
    max_length: int = field(2048, "longest row in tokens", "cutoff_len", gt=0)
    truncation_strategy: Literal["delete", "left", "right", "split"] = field(
        "delete", "longer rows are left out (delete), cut on the left or the right, or split into several rows"
    )
    loss_scale: str = field(
        "default",
        "learned turns (default, last_round or all) and weights of parts (hermes, ignore_empty_think, …), or a "
        "plugin's name",
    )
    enable_thinking: bool | None = field(
        None, "passed to the chat template as enable_thinking; the chat_template_kwargs of a row win"
    )
    response_suffix: str | None = field(
        None, "end of every answer whose template writes no end tag: a token at which the model stops (</s>)"
    )
    norm_bbox: Literal["norm1000", "none"] | None = field(
        None, "boxes in thousandths (norm1000) or pixels of the resized picture (none); by the model, unless given"
    )
    qwenvl_bbox_format: Literal["legacy", "new"] = field(
        "legacy", "boxes of Qwen-VL models in special tokens (legacy), or as plain lists (new)"
    )
    use_chat_template: bool = field(True, "false joins the texts of a row without the chat template")

    @field_validator("system")
    @classmethod
    def _refuse_file_name(cls, system: str | None) -> str | None:
        if system and system.endswith(".txt") and not any(character.isspace() for character in system):
            raise ValueError(f"is the text itself; the file {system!r} is read by the flag alone (--system {system})")
        return system
