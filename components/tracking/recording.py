"""A run for work that nobody began one for."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.tracking.run import begin, current, end
from components.tracking.store import sync


@contextmanager
def recording(root: Path, workspace: Path, params: dict[str, Any]) -> Generator[str]:
    """Yield the MLflow run that the work inside belongs to: the one going on below `root`, or one made for it.

    For a stage that is run by DVC alone: the run made for it takes in what DVC's earlier stages left in `logs/`.
    """
    if current(root):
        yield sync(root, workspace)
        return
    began, command = _parent_command()
    begin(root, params, command, began)
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
    """When the `dvc` command above this process was started, and what it says; of this process if there is none."""
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
