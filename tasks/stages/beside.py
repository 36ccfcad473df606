"""Models that stand beside the one that is trained: found by a folder, a checkpoint, a run or an id on a hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import models
from components.config import Params
from components.config.groups.template import Template
from tasks.checkpoints import Target, checkpoint_of, with_adapter
from tasks.prompts import trained_with

MEMO = ".martlet/fetch.json"
"""In the workspace: commits of hubs, each looked up once and then remembered."""


def hashes(params: Params, workspace: Path) -> dict[str, str]:
    """Return by name what the models beside are made of: the hash of a folder, or the commit on a hub.

    Raises:
        ConfigError: there is no such model.
    """
    found = {name: _identity(name, flag, params, workspace) for flag, name in names(params)}
    return {f"beside {name}": identity["sha256"] or identity["revision"] for name, identity in found.items()}


def names(params: Params) -> list[tuple[str, str]]:
    """Return the flags that name the models beside, each with the name."""
    if params.method.name == "gkd":
        teacher = params.distillation.teacher_model
        return [("teacher_model", teacher)] if teacher else []
    return [("reward_model", name) for name in params.reward.reward_model]


def find(name: str, flag: str, params: Params, workspace: Path, report: Callable[[str], None]) -> Target:
    """Return the model that `--flag name` means; `report` gets a line where a run stands for one of its checkpoints.

    Raises:
        ConfigError: there is no such model, or its base has changed since its training.
    """
    folder = workspace / Path(name).expanduser()
    if not folder.is_dir():
        folder = models.folder(_identity(name, flag, params, workspace), workspace)
    folder = checkpoint_of(folder, report, flag)
    if (folder / "config.json").is_file():
        return Target(folder, None, Params(template=trained_with(folder, Template())))
    return with_adapter(folder, {}, flag)


def _identity(name: str, flag: str, params: Params, workspace: Path) -> dict[str, Any]:
    folder, use_hf = workspace / Path(name).expanduser(), params.data.use_hf
    if folder.is_dir():
        return models.resolve(str(checkpoint_of(folder, lambda _: None, flag)), None, use_hf, workspace)
    models.require_name(name, workspace, flag)
    from components import data  # which imports NumPy

    return data.cached_value(
        workspace / MEMO, f"model {name}", [None, use_hf], lambda: models.resolve(name, None, use_hf, workspace)
    )
