"""ModelScope, through `modelscope_hub`, the client inside `modelscope` (which itself takes seconds to import).

That client verifies sizes and sha256, resumes, and tries again by itself (modelscope_hub 0.5: `_download.py`,
`DownloadManager.download_file`).
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.files import write_text
from components.hub.listing import File, Listing, Problem, RepoKind, is_commit
from components.hub.problems import first_line, problem_of_status

NAME = "ModelScope"
TOKEN = "MODELSCOPE_API_TOKEN"
HOME = "MODELSCOPE_CACHE"
OTHER_HUB = "add --use_hf to look on Hugging Face"
MAIN_BRANCH = "master"


def _config() -> Any:
    # Read once, by the import; by default the client logs every request and every failure.
    os.environ.setdefault("MODELSCOPE_LOG_LEVEL", "CRITICAL")
    from modelscope_hub import HubConfig

    return HubConfig()


def _api() -> Any:
    config = _config()
    from modelscope_hub import HubApi

    return HubApi(config)


def endpoint() -> str:
    """Return the hub's address, `MODELSCOPE_ENDPOINT` where that is set."""
    return str(_config().endpoint)


def has_token() -> bool:
    """Return whether a token is set or was saved by `modelscope login`."""
    return bool(_config().token)


def offline_switch() -> str | None:
    """Return None: no variable forbids this client the network."""
    return None


def _root(kind: RepoKind, repo_id: str) -> Path:
    return _config().cache_dir / f"{kind}s" / repo_id.replace("/", "--")


def folder(kind: RepoKind, repo_id: str, commit: str) -> Path:
    """Return the folder of a commit in the cache."""
    return _root(kind, repo_id) / "snapshots" / commit


def cached_commit(kind: RepoKind, repo_id: str, revision: str | None) -> str | None:
    """Return the commit of a branch or tag when the hub last answered."""
    reference = _root(kind, repo_id) / "refs" / (revision or MAIN_BRANCH)
    return reference.read_text().strip() if reference.is_file() else None


def cached_listing(kind: RepoKind, repo_id: str, commit: str) -> list[File]:  # noqa: ARG001
    """Return no file: the client keeps no listing, and cannot tell a complete folder from a broken download."""
    return []


def look(kind: RepoKind, repo_id: str, revision: str | None) -> Listing:
    """Ask the hub for the files at a revision, and remember its commit in the layout of Hugging Face's cache.

    The hub gives no commit of a branch, but the last commit of every file: the newest of these has all files as they
    are now.
    """
    # `legacy` is the client's only door to a listing with commits (modelscope_hub 0.5).
    entries = _api().legacy.list_repo_files(repo_id, kind, revision or MAIN_BRANCH) or []
    entries = [entry for entry in entries if entry.get("Type") != "tree"]
    if not entries and kind == "model":  # the hub's answer for a model's revision that does not exist
        from modelscope_hub.errors import NotExistError

        raise NotExistError("no files", status_code=404)
    files = [File(entry["Path"], int(entry.get("Size") or 0), entry.get("Sha256") or None) for entry in entries]
    if is_commit(revision):
        return Listing(revision, files)
    newest: dict[str, Any] = max(entries, key=lambda entry: entry.get("CommittedDate") or 0, default={})
    commit = newest.get("Revision") or revision or MAIN_BRANCH
    write_text(_root(kind, repo_id) / "refs" / (revision or MAIN_BRANCH), commit)
    return Listing(commit, files)


def download(kind: RepoKind, repo_id: str, commit: str, files: Sequence[File], into: Path | None = None) -> None:
    """Download files into the cache, or into a folder; the client verifies their sizes and checksums."""
    listing = [{"Path": file.name, "Type": "blob", "Size": file.size, "Sha256": file.sha256} for file in files]
    # `local_dir`: else the client takes a folder of its versions before 1.38, of whatever revision, for every revision.
    target = into or folder(kind, repo_id, commit)
    _api().download_repo(repo_id, kind, revision=commit, local_dir=target, file_list=listing)


def errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of the client."""
    from modelscope_hub.errors import HubError

    return (HubError,)


def problem(error: Exception) -> Problem:
    """Return what an exception stands for."""
    from modelscope_hub.errors import (
        APIError,
        FileDownloadError,
        FileIntegrityError,
        NetworkError,
        NotExistError,
        RateLimitError,
    )

    name, cause = "a file", error
    if isinstance(error, FileDownloadError) and error.failed_files:
        name, cause = next(iter(error.failed_files.items()))
    detail = first_line(cause)
    if isinstance(cause, RateLimitError):
        return Problem("rate", wait_s=cause.retry_after)
    if isinstance(cause, NotExistError) and cause is not error:
        return Problem("other", f"{name}, which it lists, is not there (404)")
    if isinstance(cause, APIError):
        return problem_of_status(cause.status_code, detail)
    if isinstance(cause, NetworkError):
        return problem_of_status(None, f"broke the connection ({type(cause).__name__})")
    return Problem("damaged", name) if isinstance(cause, FileIntegrityError) else Problem("other", detail)
