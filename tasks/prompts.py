"""What a model is asked with: as it was trained, for `infer`, the server and the evaluation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from components import templates
from components.config.groups.multimodal import Multimodal
from components.config.groups.template import Template
from components.data.exact_json import loads
from components.data.normalize.calls import tools as canonical_tools
from components.data.normalize.messages import messages_of
from components.files import read_json
from components.inference import Prompts
from components.media import MediaProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Settings = TypeVar("Settings", Template, Multimodal)


def prompts(settings: Template, media: MediaProcessor | None = None) -> "Callable[[PreTrainedTokenizerBase], Prompts]":
    """Return a function from a tokenizer to one from a request's messages to token ids.

    Messages, tools and calls are read as those of a row are, and rendered as for training with these settings; media
    are parts of a message, whose addresses are paths or data URIs.

    Args:
        media: the model's processor, None for a model of texts alone.
    """

    def of(tokenizer: "PreTrainedTokenizerBase") -> Prompts:
        template = templates.Prompts(
            tokenizer, settings.system, settings.enable_thinking, settings.use_chat_template, media=media
        )

        def ids(
            messages: list[dict[str, Any]],
            tools: list[dict[str, Any]] | None,
            variables: dict[str, Any],
            add_generation_prompt: bool,
        ) -> list[int]:
            columns: dict[str, list[Any]] = {}
            row: dict[str, Any] = {"messages": messages_of(loads(json.dumps(messages)), "messages", columns)} | columns
            row |= {"tools": canonical_tools(tools)} if tools else {}
            row |= {"chat_template_kwargs": variables} if variables else {}
            return (template.with_media if columns else template.ids)(row, add_generation_prompt)

        return ids

    return of


def trained_with(folder: Path, settings: Settings) -> Settings:
    """Return the settings of the template, or of media, with which the model in a folder was trained, or `settings`
    where the folder does not say."""
    file = folder / "args.json"
    saved = read_json(file).get(type(settings).__name__.lower()) if file.is_file() else None
    # Other tools write a file of this name, too, in which `template` is a name.
    return type(settings).model_validate(saved) if isinstance(saved, dict) else settings
