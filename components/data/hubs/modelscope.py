"""ModelScope, through `modelscope_hub`, the client inside `modelscope` (which itself takes seconds to import)."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.data.hubs.problems import Problem, of_status
from components.data.hubs.repository import File, Repository
from components.files import write_text

NAME = "ModelScope"
TOKEN = "MODELSCOPE_API_TOKEN"
HOME = "MODELSCOPE_CACHE"
INSTEAD = "add --use_hf to look on Hugging Face"


def _config() -> Any:
    # Read once, by the import; the client's own defaults log every request and every failure.
    os.environ.setdefault("MODELSCOPE_LOG_LEVEL", "CRITICAL")
    from modelscope_hub import HubConfig

    return HubConfig()


def _api() -> Any:
    config = _config()
    from modelscope_hub import HubApi

    return HubApi(config)


def endpoint() -> str:
    """Where the hub is, `MODELSCOPE_ENDPOINT` if that is set."""
    return str(_config().endpoint)


def has_token() -> bool:
    """Whether a token is set or was saved by `modelscope login`."""
    return bool(_config().token)


def switched_off() -> str | None:
    """The variable that says not to ask the hub: the client knows none."""
    return None


def _root(repo_id: str) -> Path:
    return _config().cache_dir / "datasets" / repo_id.replace("/", "--")


def folder(repo_id: str, commit: str) -> Path:
    """Where a snapshot lies in the cache."""
    return _root(repo_id) / "snapshots" / commit


def remembered(repo_id: str, revision: str | None) -> str | None:
    """The commit that a branch or tag was when the hub last answered."""
    reference = _root(repo_id) / "refs" / (revision or "master")
    return reference.read_text().strip() if reference.is_file() else None


def look(repo_id: str, revision: str | None) -> Repository:
    """List the files at a revision and find its commit, which is remembered in the way of Hugging Face's cache.

    The client does not tell the commit of a branch, but the last commit of every file: at the newest of them all
    files are as they are now.
    """
    listing = _api().legacy.list_repo_files(repo_id, "dataset", revision or "master")
    entries = [entry for entry in listing if entry.get("Type") != "tree"]
    files = [File(entry["Path"], int(entry.get("Size") or 0), entry.get("Sha256") or None) for entry in entries]
    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return Repository(revision, files)
    newest: dict[str, Any] = max(entries, key=lambda entry: entry.get("CommittedDate") or 0, default={})
    commit = newest.get("Revision") or revision or "master"
    write_text(_root(repo_id) / "refs" / (revision or "master"), commit)
    return Repository(commit, files)


def fetch(repo_id: str, commit: str, files: Sequence[File], into: Path | None = None) -> None:
    """Download files of a commit into its folder in the cache, or into another; those there are left as they are."""
    listing = [{"Path": file.name, "Type": "blob", "Size": file.size, "Sha256": file.sha256} for file in files]
    local = into or folder(repo_id, commit)
    # A folder of its own: the client would take any cache of its older versions for every revision.
    _api().download_repo(repo_id, "dataset", revision=commit, local_dir=local, file_list=listing)


def errors() -> tuple[type[Exception], ...]:
    """What the client raises."""
    from modelscope_hub.errors import HubError

    return (HubError,)


def problem(error: Exception) -> Problem:
    """Say what kind of thing an exception stands for."""
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
    words = (str(cause).strip() or type(cause).__name__).splitlines()[0]
    if isinstance(cause, RateLimitError):
        return Problem("rate", wait=cause.retry_after)
    if isinstance(cause, NotExistError) and cause is not error:
        return Problem("other", f"{name}, which it lists, is not there (404)")
    if isinstance(cause, APIError):
        return of_status(cause.status_code, words)
    if isinstance(cause, NetworkError):
        return of_status(None, f"broke the connection ({type(cause).__name__})")
    return Problem("damaged", name) if isinstance(cause, FileIntegrityError) else Problem("other", words)
