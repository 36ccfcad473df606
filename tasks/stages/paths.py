"""Where a stage reads and writes. The three ways in differ in nothing else."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from components.config import Params

WORKSPACE = "MARTLET_WORKSPACE"
"""Set for stages that run in a work tree of their own: the workspace that relative names and checkpoints belong to."""


def plugin_files(params: Params, workspace: Path) -> list[Path]:
    """Return the user's files of `--external_plugins`, looked up from the workspace."""
    return [(workspace / Path(name).expanduser()).resolve() for name in params.plugins.external_plugins]


@dataclass(frozen=True)
class Paths:
    """The folders of one run, below `root`: a workspace, one of its work trees, or a run folder.

    `workspace` is where relative names in the parameters are looked up, whichever tree the stage runs in.
    `checkpoints` is set by the direct commands, whose run folder holds them.
    """

    root: Path
    workspace: Path
    checkpoints: Path | None = None

    @classmethod
    def here(cls) -> "Paths":
        """The workspace in the current folder, or the work tree of another."""
        root = Path.cwd()
        return cls(root, Path(os.environ.get(WORKSPACE, root)))

    @cached_property
    def raw(self) -> Path:
        return self.root / "data/raw"

    @cached_property
    def media(self) -> Path:
        return self.root / "data/media"

    @cached_property
    def questions(self) -> Path:
        return self.root / "data/eval"

    @cached_property
    def model(self) -> Path:
        return self.root / "data/model.json"

    @cached_property
    def methods(self) -> Path:
        return self.root / "data/methods.json"

    @cached_property
    def clean(self) -> Path:
        return self.root / "data/clean"

    @cached_property
    def tokens(self) -> Path:
        return self.root / "data/tokens"

    @cached_property
    def adapter(self) -> Path:
        return self.root / "models/adapter"

    @cached_property
    def merged(self) -> Path:
        return self.root / "models/merged"

    @cached_property
    def quantized(self) -> Path:
        return self.root / "models/quantized"

    @cached_property
    def reports(self) -> Path:
        return self.root / "reports"

    def log(self, stage: str) -> Path:
        """The folder for `progress.jsonl`, `result.json` and `error.txt` of a stage."""
        return self.root / "logs" / stage
