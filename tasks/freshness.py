"""Whether the data of a workspace is what its last run fetched: files by their hashes, branches of hubs by the commit
that they stand for today."""

from components import hub
from components.config import Params
from components.files import MANIFEST, read_json
from tasks.stages import fetch
from tasks.stages.paths import Paths


def changes(params: Params, paths: Paths) -> list[str]:
    """Return a line for each dataset, question set or medium that differs from what the last run fetched.

    Raises:
        MartletError: a file is missing, or a hub does not answer.
    """
    if not (paths.raw / MANIFEST).is_file():
        return ["nothing was fetched yet"]
    return fetch.changes(params, paths) + newer_commits(paths)


def newer_commits(paths: Paths) -> list[str]:
    """Return a line for each dataset of a hub whose branch has another commit today than at the last fetch."""
    folders = [folder for folder in (paths.raw, paths.questions) if (folder / MANIFEST).is_file()]
    sources = [source for folder in folders for source in read_json(folder / MANIFEST)["sources"]]
    lines: list[str] = []
    for source in sources:
        if source["hub"] and not hub.is_commit(source["asked"]):
            commit = hub.locate(source["hub"], "dataset", source["name"], source["asked"]).commit
            if commit != source["revision"]:
                lines.append(f"{source['spec']} {source['revision'][:7]} → {commit[:7]}")
    return lines


def forget_commits(paths: Paths) -> None:
    """Let the next fetch look up the commit of every branch anew."""
    for folder in (paths.raw, paths.questions):
        (folder / MANIFEST).unlink(missing_ok=True)
