"""Tracking in MLflow: a run of the pipeline with a child run per stage.

    begin(root, params.model_dump(), "identity, rank 8")   # the process that starts the work writes logs/run.json
    sidecar = follow(root, workspace)                      # a process that updates MLflow during the work
    ...
    end(root, "done")
    finish(sidecar, root)

`sync` copies the files that stages write to `logs/` and `reports/` into MLflow. Stages never import MLflow: the import
costs more than most stages, and an unreachable server must not fail or delay a training. `sync` is idempotent, and the
only function that imports MLflow.
"""

from components.tracking.closing import lineage
from components.tracking.page import runs_page
from components.tracking.recording import recording
from components.tracking.run import Outcome, begin, commit, current, end, record
from components.tracking.sidecar import finish, follow, status
from components.tracking.store import sync

__all__ = [
    "Outcome",
    "begin",
    "commit",
    "current",
    "end",
    "finish",
    "follow",
    "lineage",
    "record",
    "recording",
    "runs_page",
    "status",
    "sync",
]
