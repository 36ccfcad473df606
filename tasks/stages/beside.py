"""Models that stand beside the one that is trained: found by a folder, a checkpoint, a run or an id on a hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import models
from components.config import Params
from components.config.groups.template import Template
from components.errors import ConfigError
from tasks.checkpoints import Target, checkpoint_of, with_adapter

SAMPLED = ("grpo", "rloo", "ppo")
"""Methods that learn from answers which the model samples, by rewards."""
MEMO = ".martlet/fetch.json"
"""In the workspace: commits of hubs, each looked up once and then remembered."""


def hashes(params: Params, workspace: Path) -> dict[str, str]:
    """Return by name what the models beside are made of: the hash of a folder, or the commit on a hub.

    Raises:
        ConfigError: there is no such model.
    """
    identities = {name: _identity(name, flag, params, workspace) for flag, name in names(params)}
    return {f"model {name}": identity["sha256"] or identity["revision"] for name, identity in identities.items()}


def names(params: Params) -> list[tuple[str, str]]:
    """Return the flags that name the models beside which the method uses, each with the name."""
    method, named = params.method.name, list[tuple[str, str]]()
    if method in SAMPLED:
        named += [("reward_model", name) for name in params.reward.reward_model]
    if method in (*SAMPLED, "dpo", "kto") and (reference := params.preference.ref_model):
        named.append(("ref_model", reference))
    if method == "gkd" and (teacher := params.distillation.teacher_model):
        named.append(("teacher_model", teacher))
    return named


def find(name: str, flag: str, params: Params, workspace: Path, report: Callable[[str], None]) -> Target:
    """Return the model that `--flag name` means; `report` gets a line where a run stands for one of its checkpoints.

    Raises:
        ConfigError: there is no such model, or its base has changed since its training.
    """
    folder = workspace / Path(name).expanduser()
    if not folder.is_dir():
        folder = models.folder(_identity(name, flag, params, workspace), workspace)
    run, folder = folder, checkpoint_of(folder, report, flag)
    if folder == run and not any(folder.glob("*.safetensors")) and (run / "logs").is_dir():
        raise ConfigError(f"{flag}: {name} is a run without a whole checkpoint; name another, or go on with that run")
    if (folder / "config.json").is_file():
        from tasks.prompts import trained_with  # which imports NumPy, and `hashes` need not wait for that

        return Target(folder, None, Params(template=trained_with(folder, Template())))
    return with_adapter(folder, {}, flag)


def _identity(name: str, flag: str, params: Params, workspace: Path) -> dict[str, Any]:
    folder, use_hf = workspace / Path(name).expanduser(), params.data.use_hf
    if folder.is_dir():
        return models.resolve(str(checkpoint_of(folder, lambda _: None, flag)), None, use_hf, workspace)
    models.require_name(name, workspace, flag)
    from components import data  # the same

    return data.cached_value(
        workspace / MEMO, f"beside {name}", [use_hf], lambda: models.resolve(name, None, use_hf, workspace)
    )
