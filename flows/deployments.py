"""The deployments that `prefect.yaml` declares, to be served without a work pool."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import ConcurrencyLimitConfig
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.events import DeploymentEventTrigger
from prefect.schedules import Cron, Schedule
from prefect.utilities.templating import apply_values

from components.errors import ConfigError


def declared(workspace: Path) -> list[RunnerDeployment]:
    """Return the deployments of the workspace's `prefect.yaml`, with their schedules, triggers and limits.

    Raises:
        ConfigError: there is no such file, or a deployment in it is not valid.
    """
    from ruamel.yaml import YAML

    file = workspace / "prefect.yaml"
    if not file.is_file():
        raise ConfigError(f"{file}: no such file; `martlet init` writes one")
    entries = YAML(typ="safe").load(file)["deployments"]
    return [_deployment(_filled(entry, workspace), file) for entry in entries]


def _filled(entry: dict[str, Any], workspace: Path) -> dict[str, Any]:
    """Return a declaration with the workspace's path for `{{ $PWD }}`, as `prefect deploy` fills it in there."""
    os.environ["PWD"] = str(workspace)
    return apply_values(entry, {})


def _deployment(entry: dict[str, Any], file: Path) -> RunnerDeployment:
    module, _, name = entry["entrypoint"].rpartition(".")
    try:
        return getattr(import_module(module), name).to_deployment(
            entry["name"],
            entrypoint_type=EntrypointType.MODULE_PATH,  # works in any workspace, not only in a checkout
            description=entry.get("description"),
            parameters=entry.get("parameters"),
            enforce_parameter_schema=entry.get("enforce_parameter_schema", True),
            concurrency_limit=_limit(entry.get("concurrency_limit")),
            schedules=[_schedule(**schedule) for schedule in entry.get("schedules", [])],
            triggers=[DeploymentEventTrigger(**trigger) for trigger in entry.get("triggers", [])],
        )
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{file.name}: deployment {entry['entrypoint']}: {error}") from error


def _limit(entry: int | dict[str, Any] | None) -> int | ConcurrencyLimitConfig | None:
    return ConcurrencyLimitConfig(**entry) if isinstance(entry, dict) else entry


def _schedule(cron: str, **options: Any) -> Schedule:
    return Cron(cron, **options)
