"""Hugging Face, through `huggingface_hub`.

That client compares sizes and resumes within a run; checksums, and the wait for a rate limit before a listing, are left
to its callers (huggingface_hub 1.33: `file_download.http_get`, `utils._pagination.paginate`).
"""

import glob
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from components.hub.listing import File, Listing, Problem, RepoKind
from components.hub.problems import DamagedFileError, first_line, problem_of_status

NAME = "Hugging Face"
TOKEN = "HF_TOKEN"
HOME = "HF_HOME"
OTHER_HUB = "drop --use_hf to look on ModelScope"
RATE_LIMIT_TRIES = 5
RATE_LIMIT_MAX_WAIT_S = 60.0

T = TypeVar("T")


def endpoint() -> str:
    """Return the hub's address, `HF_ENDPOINT` where that is set."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


def has_token() -> bool:
    """Return whether a token is set or was saved by `hf auth login`."""
    from huggingface_hub import get_token

    return bool(get_token())


def offline_switch() -> str | None:
    """Return `HF_HUB_OFFLINE` where that forbids the network."""
    from huggingface_hub.constants import is_offline_mode

    return "HF_HUB_OFFLINE" if is_offline_mode() else None


def folder(kind: RepoKind, repo_id: str, commit: str) -> Path:
    """Return the folder of a commit in the cache."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo_id, repo_type=kind) / "snapshots" / commit


def cached_commit(kind: RepoKind, repo_id: str, revision: str | None) -> str | None:
    """Return the commit of a branch or tag when the hub last answered."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    try:
        return HfApi().resolve_revision(repo_id, repo_type=kind, revision=revision, local_files_only=True).resolved
    except RevisionResolutionError:
        return None


def cached_listing(kind: RepoKind, repo_id: str, commit: str) -> list[File]:
    """Return all files of a commit that another program has put into the cache; none where some may be absent.

    Clients before 1.0 left no listing. A model of theirs is taken as it lies, since loading misses an absent shard; a
    dataset is not, since reading would not.
    """
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        tree = get_cached_repo_tree(repo_id, repo_type=kind, revision=commit)
    except CachedRepoTreeNotFoundError:
        snapshot = folder(kind, repo_id, commit)
        paths = [path for path in snapshot.rglob("*") if path.is_file()] if kind == "model" else []
        return [File(path.relative_to(snapshot).as_posix(), path.stat().st_size) for path in paths]
    return [File(entry.path, entry.size) for entry in tree]


def look(kind: RepoKind, repo_id: str, revision: str | None) -> Listing:
    """Ask the hub for the commit of a revision, which the client's cache then remembers, and for its files."""
    from huggingface_hub import HfApi, RepoFile

    api = HfApi()
    commit = _patiently(lambda: api.resolve_revision(repo_id, repo_type=kind, revision=revision)).resolved
    tree = _patiently(lambda: list(api.list_repo_tree(repo_id, recursive=True, revision=commit, repo_type=kind)))
    files = [
        File(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in tree
        if isinstance(entry, RepoFile)
    ]
    return Listing(commit, files)


def _patiently(call: Callable[[], T]) -> T:
    """Call again, after the wait that the hub asks for, when it has had too many requests."""
    from huggingface_hub.errors import HfHubHTTPError

    for attempt in range(1, RATE_LIMIT_TRIES):
        try:
            return call()
        except HfHubHTTPError as error:
            wait_s = _wait_s(error)
            wait_s = 2.0**attempt if wait_s is None else wait_s
            if error.response.status_code != 429 or wait_s > RATE_LIMIT_MAX_WAIT_S:
                raise
            time.sleep(wait_s)
    return call()


def _wait_s(error: Exception) -> float | None:
    from huggingface_hub.utils import parse_ratelimit_headers

    headers = error.response.headers  # pyright: ignore[reportAttributeAccessIssue]
    limit = parse_ratelimit_headers(headers)
    after = headers.get("Retry-After", "")
    return float(limit.reset_in_seconds) if limit else float(after) if after.isdigit() else None


def download(kind: RepoKind, repo_id: str, commit: str, files: Sequence[File], into: Path | None = None) -> None:
    """Download files into the cache, or into a folder, and verify their sizes and checksums."""
    from huggingface_hub import hf_hub_download, snapshot_download

    target = into or folder(kind, repo_id, commit)
    for file in files:  # the client takes whatever lies there under the right name
        if (target / file.name).exists() and (target / file.name).stat().st_size != file.size:
            _remove(target / file.name)
    if into:
        for file in files:  # `snapshot_download` would list the whole repository each time
            hf_hub_download(repo_id, file.name, repo_type=kind, revision=commit, local_dir=into)
    else:
        patterns = [glob.escape(file.name) for file in files]
        snapshot_download(repo_id, repo_type=kind, revision=commit, allow_patterns=patterns)
    for file in files:
        if not _is_intact(target / file.name, file):
            _remove(target / file.name)
            raise DamagedFileError(file.name)


def _remove(path: Path) -> None:
    """Remove a file, and the file named after its hash that the cache's link points to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _is_intact(path: Path, file: File) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if not (file.sha256 or file.blob):
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == (file.sha256 or file.blob)


def errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of the client."""
    import httpx
    from huggingface_hub.errors import RevisionResolutionError, XetDownloadError

    return (httpx.HTTPError, RevisionResolutionError, XetDownloadError, ValueError)


def problem(error: Exception) -> Problem:
    """Return what an exception stands for; the client hides some behind others."""
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
    detail = first_line(error)
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
            return Problem("rate", wait_s=_wait_s(cause))
        return problem_of_status(cause.response.status_code, detail)
    if isinstance(cause, httpx.TransportError):
        return problem_of_status(None, f"broke the connection ({type(cause).__name__})")
    if "Consistency check failed" in detail:
        return Problem("damaged", "a file")
    return Problem("other", detail)
