"""Models that write text beside the one that is trained: a teacher, and a reference model. Their tokens are its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import models
from components.config import Params
from components.errors import ConfigError
from tasks.checkpoints import Target
from tasks.loading import load, task_of, tokenizer_of
from tasks.stages import beside
from tasks.stages.paths import plugin_files


def text_model(
    flag: str, name: str, params: Params, workspace: Path, tokenizer: Any, report: Callable[[str], None]
) -> Any:
    """Return the model that `--flag name` means, which does not learn, on the device of this process.

    Args:
        tokenizer: of the model that is trained.
        report: gets a line where a run stands for one of its checkpoints.

    Raises:
        ConfigError: there is no such model, it writes no text, or it has another vocabulary.
        MartletError: its weights cannot be loaded.
    """
    target = beside.find(name, flag, params, workspace, report)
    _require_same_tokens(target, tokenizer, flag, name)
    precision, files = params.train.torch_dtype or models.native_dtype(), plugin_files(params, workspace)
    own = target.params.quantization
    model, _ = load(target.model, target.adapter, precision, params.train.attn_impl, own, files, placement={})
    return model.eval().requires_grad_(False)


def problems(flag: str, name: str, params: Params, workspace: Path) -> list[str]:
    """Return a sentence if `--flag name` means no such model; one on a hub is looked at when it is loaded."""
    base = workspace / Path(params.model.model or "").expanduser()
    try:
        if not (workspace / Path(name).expanduser()).is_dir():
            models.require_name(name, workspace, flag)
            return []
        target = beside.find(name, flag, params, workspace, lambda _: None)
        if (base / "config.json").is_file():
            _require_same_tokens(target, models.load_tokenizer(base), flag, name)
    except ConfigError as error:
        return [str(error)]
    return []


def _require_same_tokens(target: Target, tokenizer: Any, flag: str, name: str) -> None:
    """Raise ConfigError if a model writes no text, or its tokens or their numbers are others than the tokenizer's."""
    if task_of(target.model, target.adapter):
        raise ConfigError(f"{flag}: {name} writes no text; name a model that does")
    own, others = tokenizer.get_vocab(), tokenizer_of(target.model, target.adapter).get_vocab()
    if own != others:
        token = min(token for token in {*own, *others} if own.get(token) != others.get(token))
        numbers = (str(vocabulary.get(token, "not there")) for vocabulary in (others, own))
        raise ConfigError(
            f"{flag}: {name} has another vocabulary ({token!r} is {', and here '.join(numbers)}), so the two cannot be "
            "compared; name a model of the same family"
        )
