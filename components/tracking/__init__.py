"""Runs, remembered in MLflow: a run of the pipeline with a child run per stage.

    begin(root, params.model_dump(), "identity, rank 8")   # whoever starts the work writes logs/run.json
    sidecar = follow(root, workspace)                      # a process of its own tells MLflow while the work goes on
    ...
    end(root, "done")
    finish(sidecar, root)

MLflow is told from the files that stages leave in `logs/` and `reports/`, never by a stage: its import costs more than
most stages, and a server that is away must not fail or delay a training. `sync` may be called at any time and any
number of times; what MLflow then holds is the same. Only `sync` imports MLflow.
"""

from components.tracking.closing import lineage
from components.tracking.recording import recording
from components.tracking.run import begin, commit, current, end
from components.tracking.sidecar import finish, follow, status
from components.tracking.store import sync

__all__ = ["begin", "commit", "current", "end", "finish", "follow", "lineage", "recording", "status", "sync"]
