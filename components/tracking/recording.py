"""A run in MLflow for a stage that DVC runs alone."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.tracking.run import begin, current, end
from components.tracking.store import sync


@contextmanager
def recording(root: Path, workspace: Path, params: dict[str, Any]) -> Generator[str]:
    """Yield the id of the MLflow run for the block: the present run below `root`, or a new run.

    A new run includes the stages that the same `dvc` command has run before.
    """
    if current(root):
        yield sync(root, workspace)
        return
    began, command = _parent_command()
    begin(root, params, began=began, command=command)
    identity = sync(root, workspace)
    outcome, message = "done", None
    try:
        yield identity
    except BaseException as error:
        outcome, message = "failed", str(error)
        raise
    finally:
        end(root, outcome, message)
        sync(root, workspace)


def _parent_command() -> tuple[float, str]:
    """Return start time and command line of the `dvc` process above this process, or of this process."""
    import psutil

    here = psutil.Process()
    for process in here.parents():
        words = [Path(word).name for word in _words(process)]
        if "dvc" in words[:3]:
            return process.create_time(), " ".join(words[words.index("dvc") :])
    return here.create_time(), " ".join(Path(word).name for word in _words(here)[-3:])


def _words(process: Any) -> list[str]:
    import psutil

    try:
        return [word for word in process.cmdline() if word]
    except psutil.Error:  # another user's process
        return []
