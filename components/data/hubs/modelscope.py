"""ModelScope, through `modelscope_hub`, the client inside `modelscope` (which itself takes seconds to import)."""

from pathlib import Path
from typing import Any

from components.data.hubs import Snapshot, answers, cached_files, licence_of, training_files, unknown, unreachable
from components.errors import MartletError

NAME = "ModelScope"
OTHER = "add --use_hf to look on Hugging Face"


def snapshot(repo_id: str, revision: str | None) -> Snapshot:
    """See `components.data.hubs.snapshot`."""
    from modelscope_hub import CacheNotFound, HubApi, HubConfig

    api = HubApi(HubConfig())
    endpoint = str(api.downloader._config.endpoint)
    cached = _cached(api, repo_id, revision) if revision else None
    if cached is None and answers(endpoint):
        return _found(_download(api, repo_id, revision or "master"))
    try:
        return _found(cached or api.download_repo(repo_id, "dataset", revision=revision, local_files_only=True))
    except CacheNotFound as error:
        raise unreachable(NAME, repo_id, endpoint, OTHER) from error


def _cached(api: Any, repo_id: str, revision: str) -> Path | None:
    from modelscope_hub import CacheNotFound

    try:
        return api.download_repo(repo_id, "dataset", revision=revision, local_files_only=True)
    except CacheNotFound:
        return None


def _download(api: Any, repo_id: str, revision: str) -> Path:
    from modelscope_hub import AuthenticationError, HubError, NotExistError, PermissionDeniedError

    try:
        listing = api.legacy.list_repo_files(repo_id, "dataset", revision)
        entries = {entry["Path"]: entry for entry in listing if entry.get("Type") != "tree"}
        wanted = [name for name in [*training_files(entries), "README.md"] if name in entries]
        chosen = [entries[name] for name in wanted]
        # The hub gives each file's last commit; the newest of them holds all of them as they are now.
        newest = max(chosen, key=lambda entry: entry.get("CommittedDate") or 0, default={})
        return api.download_repo(
            repo_id, "dataset", revision=newest.get("Revision") or revision, allow_patterns=wanted, file_list=chosen
        )
    except (NotExistError, AuthenticationError, PermissionDeniedError) as error:
        raise unknown(NAME, repo_id, "MODELSCOPE_API_TOKEN", OTHER) from error
    except HubError as error:
        raise MartletError(f"dataset '{repo_id}': {NAME} failed: {str(error).splitlines()[0]}; try again") from error


def _found(folder: Path) -> Snapshot:
    return Snapshot(cached_files(folder), folder.name, licence_of(folder))
