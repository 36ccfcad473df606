from pathlib import Path
from typing import Any

from components.inference import LocalEngine
from tasks.loading import load


def local_engine(folder: Path, adapter: Path | None = None, **settings: Any) -> LocalEngine:
    """The built-in engine over a model folder."""
    from components.inference.transformers_engine import TransformersEngine

    return TransformersEngine(*load(folder, adapter), **settings)


def user(text: Any) -> list[dict[str, Any]]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]
