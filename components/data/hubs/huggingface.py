"""Hugging Face, through `huggingface_hub`."""

import glob
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from components.data.hubs.problems import Problem, of_status
from components.data.hubs.repository import File, Repository

NAME = "Hugging Face"
TOKEN = "HF_TOKEN"
HOME = "HF_HOME"
INSTEAD = "drop --use_hf to look on ModelScope"
TRIES, LONGEST_SECONDS = 5, 60.0

T = TypeVar("T")


def endpoint() -> str:
    """Where the hub is, `HF_ENDPOINT` if that is set."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


def has_token() -> bool:
    """Whether a token is set or was saved by `hf auth login`."""
    from huggingface_hub import get_token

    return bool(get_token())


def switched_off() -> str | None:
    """The variable that says not to ask the hub."""
    from huggingface_hub.constants import is_offline_mode

    return "HF_HUB_OFFLINE" if is_offline_mode() else None


def folder(repo_id: str, commit: str) -> Path:
    """Where a snapshot lies in the cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type="dataset") / "snapshots" / commit


def remembered(repo_id: str, revision: str | None) -> str | None:
    """The commit that a branch or tag was when the hub last answered."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    try:
        return HfApi().resolve_revision(repo_id, repo_type="dataset", revision=revision, local_files_only=True).resolved
    except RevisionResolutionError:
        return None


def look(repo_id: str, revision: str | None) -> Repository:
    """Resolve a revision to its commit, which the client then remembers, and list the files."""
    from huggingface_hub import HfApi, RepoFile

    api = HfApi()
    commit = _patiently(lambda: api.resolve_revision(repo_id, repo_type="dataset", revision=revision)).resolved
    tree = _patiently(lambda: list(api.list_repo_tree(repo_id, recursive=True, revision=commit, repo_type="dataset")))
    files = [
        File(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in tree
        if isinstance(entry, RepoFile)
    ]
    return Repository(commit, files)


def _patiently(call: Callable[[], T]) -> T:
    """Call again when the hub says that it has had too many requests; the client does so for downloads only."""
    from huggingface_hub.errors import HfHubHTTPError

    for attempt in range(1, TRIES):
        try:
            return call()
        except HfHubHTTPError as error:
            wait = _wait(error)
            wait = 2.0**attempt if wait is None else wait
            if error.response.status_code != 429 or wait > LONGEST_SECONDS:
                raise
            time.sleep(wait)
    return call()


def _wait(error: Exception) -> float | None:
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = error.response.headers  # pyright: ignore[reportAttributeAccessIssue]
    limit = parse_ratelimit_headers(headers)
    after = headers.get("Retry-After", "")
    return float(limit.reset_in_seconds) if limit else float(after) if after.isdigit() else None


def fetch(repo_id: str, commit: str, files: Sequence[File], into: Path | None = None) -> None:
    """Download files of a commit into its folder in the cache, or into another; those there are left as they are."""
    from huggingface_hub import hf_hub_download, snapshot_download

    if into:
        for file in files:  # a snapshot would list the whole repository each time
            hf_hub_download(repo_id, file.name, repo_type="dataset", revision=commit, local_dir=into)
        return
    wanted = [glob.escape(file.name) for file in files]
    snapshot_download(repo_id, repo_type="dataset", revision=commit, allow_patterns=wanted)


def errors() -> tuple[type[Exception], ...]:
    """What the client raises."""
    import httpx
    from huggingface_hub.errors import RevisionResolutionError, XetDownloadError

    return (httpx.HTTPError, RevisionResolutionError, XetDownloadError, ValueError)


def problem(error: Exception) -> Problem:
    """Say what kind of thing an exception stands for; the client hides some behind others."""
    import httpx
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    cause: BaseException | None = error
    while cause and not isinstance(cause, HfHubHTTPError | httpx.TransportError):
        cause = cause.__cause__
    words = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(cause, GatedRepoError):
        return Problem("gated")
    if isinstance(cause, RevisionNotFoundError):
        return Problem("revision")
    if isinstance(cause, RepositoryNotFoundError) and cause.response.status_code == 404:
        return Problem("absent")
    if isinstance(cause, RemoteEntryNotFoundError):
        return Problem("other", "a file that it lists is not there (404)")
    if isinstance(cause, HfHubHTTPError):
        if cause.response.status_code == 429:
            return Problem("rate", wait=_wait(cause))
        return of_status(cause.response.status_code, words)
    if isinstance(cause, httpx.TransportError):
        return of_status(None, f"broke the connection ({type(cause).__name__})")
    if "Consistency check failed" in words:
        return Problem("damaged", "a file")
    return Problem("other", words)
