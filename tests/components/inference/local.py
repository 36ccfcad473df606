from pathlib import Path
from typing import Any

from components.config.groups.template import Template
from components.inference import LocalEngine
from tasks.loading import load
from tasks.prompts import prompts


def local_engine(folder: Path, adapter: Path | None = None, **settings: Any) -> LocalEngine:
    """The built-in engine over a model folder."""
    from components.inference.transformers_engine import TransformersEngine

    model, tokenizer = load(folder, adapter)
    return TransformersEngine(model, tokenizer, prompts(Template())(tokenizer), **settings)


def user(text: Any) -> list[dict[str, Any]]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]
