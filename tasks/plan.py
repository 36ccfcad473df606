"""What DVC would do, asked in process: the stages in order, which of them have work, and why."""

import logging
import re
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, reduce
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from components.config import LEAVES, load, read_mapping
from components.errors import ConfigError, MartletError
from tasks.stages import methods
from tasks.stages.paths import Paths

METHODS = "data/methods.json"
Changes = Mapping[str, Mapping[str, Any]]
"""Parameters by group and leaf."""


@dataclass(frozen=True)
class Wishes:
    """What a stage asks for in `dvc.yaml` under `meta: {martlet: {…}}`."""

    retries: int = 0
    """how often to try again after a failure"""
    timeout: float | None = None
    """seconds after which the stage is stopped and counts as failed"""
    limit: str | None = None
    """name of a Prefect concurrency limit that the stage holds while it works, such as `gpu`"""
    grace: float = 2.0
    """seconds between asking the stage to stop and killing it"""
    warm: bool = False
    """whether the stage is forked from a process that has imported torch and transformers"""


@dataclass(frozen=True)
class Step:
    """One stage of `dvc.yaml`: its name, those above it, its outputs, why it has work (empty: it has none)."""

    name: str
    upstream: tuple[str, ...]
    outs: tuple[str, ...]
    why: tuple[str, ...]
    wishes: Wishes = Wishes()

    @property
    def changed(self) -> bool:
        return bool(self.why)


def workspace_of(folder: Path) -> Path:
    """The DVC project that `folder` belongs to.

    Raises:
        ConfigError: it belongs to none, or the project has no `dvc.yaml`.
    """
    for candidate in (folder, *folder.parents):
        if (candidate / ".dvc").is_dir():
            if not (candidate / "dvc.yaml").is_file():
                raise ConfigError(
                    f"{candidate} has no dvc.yaml, so no stages; work in a workspace, or make one with `martlet init`"
                )
            return candidate
    raise ConfigError(f"{folder} is not in a workspace; `martlet init` makes one")


class Pipeline:
    """The stages of the project in `root`, as DVC sees them now. May be asked from several threads.

    Raises:
        ConfigError: `dvc.yaml` is not valid; the message is DVC's own.
    """

    def __init__(self, root: Path, workspace: Path | None = None) -> None:
        self.paths = Paths(root, workspace or root)
        self._one_at_a_time = threading.Lock()

    @cached_property
    def _repo(self) -> Any:
        import dvc.logger
        from dvc.repo import Repo

        dvc.logger.setup(logging.CRITICAL)  # at a lower level DVC draws progress bars on a terminal
        return Repo(str(self.paths.root), _wait_for_lock=True)

    @contextmanager
    def _graph(self) -> Generator[Any]:
        """DVC's graph, fresh from the files, under DVC's lock. An edge leads from a stage to the one it needs."""
        from dvc.exceptions import DvcException
        from dvc.repo import lock_repo

        with self._one_at_a_time:
            try:
                with lock_repo(self._repo):
                    yield self._repo.index.graph
            except DvcException as error:
                hint = next((hint for words, hint in _HINTS.items() if words in str(error)), "")
                raise ConfigError(f"dvc: {error}{hint}") from error
            except FileNotFoundError as error:  # a link that leads nowhere
                raise ConfigError(f"{error.filename}: no such file; put it back, or make it anew") from error

    def plan(self, changes: Changes = MappingProxyType({})) -> list[Step]:
        """Every stage, upstream first and otherwise in the order of `dvc.yaml`, with the reasons why it would run.

        Args:
            changes: parameters that differ from `params.yaml`, by group and leaf.
        """
        import networkx

        with self._graph() as graph:
            position = {stage: number for number, stage in enumerate(self._repo.index.stages)}
            steps: dict[str, Step] = {}
            for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=position.__getitem__):
                if not stage.cmd:  # a `.dvc` file: data, not a stage
                    continue
                upstream = tuple(self._name(above) for above in graph.successors(stage) if above.cmd)
                why = self._reasons(stage, changes)
                why += [f"upstream {above} will run" for above in upstream if steps[above].changed]
                outs = tuple(out.def_path for out in stage.outs)
                steps[self._name(stage)] = Step(self._name(stage), upstream, outs, tuple(why), _wishes(stage))
        return list(steps.values())

    def why(self, name: str) -> list[str]:
        """Why the stage `name` has work now, whatever is upstream of it; empty when it has none."""
        with self._graph() as graph:
            return self._reasons(next(stage for stage in graph if stage.cmd and self._name(stage) == name), {})

    def restore(self) -> None:
        """Bring home from the cache the outputs that `dvc.lock` names; what the cache lacks stays missing."""
        from dvc.exceptions import CheckoutError

        with self._one_at_a_time, suppress(CheckoutError):
            self._repo.checkout(allow_missing=True)

    @property
    def cache(self) -> Path:
        """The folder of DVC's cache."""
        return Path(self._repo.cache.local_cache_dir)

    def _name(self, stage: Any) -> str:
        file = Path(stage.path).relative_to(self.paths.root).as_posix()
        return stage.name if file == "dvc.yaml" else f"{file}:{stage.name}"

    def _reasons(self, stage: Any, changes: Changes) -> list[str]:
        if not any(out.hash_info for out in stage.outs) and not any(dep.hash_info for dep in stage.deps):
            return ["first run"]
        reasons = ["its command changed"] if stage.changed_stage() else []
        for dep in [] if stage.frozen else stage.deps:
            if hasattr(dep, "read_params"):
                reasons += self._methods(dep, changes) if dep.def_path == METHODS else _parameters(dep, changes)
            else:
                reasons += [f"{path} {_WORDS[status]}" for path, status in dep.status().items()]
        for out in stage.outs:
            reasons += [f"{path} {_WORDS[status]}" for path, status in out.status().items()]
        if not reasons and stage.always_changed and not self._up_to_date(stage):
            reasons = ["it always looks"]
        return reasons

    def _methods(self, dep: Any, changes: Changes) -> list[str]:
        """Return what of the stage's methods differs from `dvc.lock`: `tuner lora changed`, `lora.lora_rank 8 → 16`.

        The stage `fetch` need not have written them yet.
        """
        now = dep.read_params()
        with suppress(MartletError):  # the stage itself will say what is wrong
            params = load(self.paths.root / "params.yaml", read_mapping(changes, "changes"))
            used = methods.used(params, self.paths.workspace)
            now = {name: reduce(dict.__getitem__, name.split("."), used) for name in dep.params}
        before, after = _leaves(dep.hash_info.value or {}), _leaves(now)
        # Only parameters that are not the defaults are written down.
        defaults = {
            name: LEAVES[name.rpartition(".")[2]].default for name in (*before, *after) if ".parameters." in name
        }
        return _differences(defaults | before, defaults | after, _of_a_method)

    def _up_to_date(self, stage: Any) -> bool:
        """What a stage that always looks says for itself: `up_to_date(params, paths)` beside its `run`."""
        module = f"tasks.stages.{stage.name}"
        try:
            look: Callable[..., bool] | None = getattr(import_module(module), "up_to_date", None)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return False
        try:
            return look is not None and look(load(self.paths.root / "params.yaml"), self.paths)
        except MartletError:
            return False  # the stage itself will say what is wrong


_HINTS = {
    "Could not find '": "; give it a value in params.yaml",
    "dvc.lock' ": "; remove it: `martlet run` writes it anew, from the cache where nothing has changed",
    "is not a git repository": "; make it one with `git init`, or do without: `dvc config core.no_scm true`",
}
"""What to do about what DVC says, by some of its words."""

_WORDS = {
    "modified": "changed",
    "new": "is new",
    "deleted": "is missing",
    "not in cache": "is not in DVC's cache",
    "incomplete": "is incomplete",
}


def _parameters(dep: Any, changes: Changes) -> list[str]:
    """`params.yaml: tuner.lora_rank 8 → 16` for each parameter that differs from what `dvc.lock` holds."""
    before, now = _leaves(dep.hash_info.value or {}), _leaves(dep.read_params())
    for group, values in changes.items():
        if not dep.params or group in dep.params:
            now |= {f"{group}.{leaf}": value for leaf, value in values.items()}
    return _differences(before, now, lambda name: f"{dep}: {name}")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], label: Callable[[str], str]) -> list[str]:
    return [
        f"{label(name)} changed" if ".files." in name else f"{label(name)} {_shown(before, name)} → {_shown(now, name)}"
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]


def _of_a_method(name: str) -> str:
    """Return `tuner lora` of `train.files.tuner lora`, and `lora.lora_rank` of `train.parameters.lora.lora_rank`."""
    return re.split(r"\.(?:files|parameters)\.", name, maxsplit=1)[-1]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _shown(values: Mapping[str, Any], name: str) -> str:
    return str(values[name]) if name in values else "default"


def _wishes(stage: Any) -> Wishes:
    asked = (stage.meta or {}).get("martlet", {}) if isinstance(stage.meta, Mapping) else {}
    try:
        return Wishes(**asked)
    except TypeError as error:
        names = ", ".join(Wishes.__dataclass_fields__)
        raise ConfigError(f"dvc.yaml: meta.martlet of stage {stage.name}: {asked}; it knows {names}") from error
