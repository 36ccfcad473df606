"""Hugging Face, through `huggingface_hub`."""

from pathlib import Path

from components.data.hubs import Snapshot, answers, cached_files, licence_of, training_files, unknown, unreachable
from components.errors import MartletError

NAME = "Hugging Face"
OTHER = "drop --use_hf to look on ModelScope"


def snapshot(repo_id: str, revision: str | None) -> Snapshot:
    """See `components.data.hubs.snapshot`."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import ENDPOINT, is_offline_mode
    from huggingface_hub.errors import LocalEntryNotFoundError

    online = not is_offline_mode() and (revision is None or not _is_cached(repo_id, revision)) and answers(ENDPOINT)
    if online:
        return _found(_download(repo_id, revision))
    try:
        return _found(Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, local_files_only=True)))
    except LocalEntryNotFoundError as error:
        raise unreachable(NAME, repo_id, ENDPOINT, OTHER) from error


def _is_cached(repo_id: str, revision: str) -> bool:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot_download(repo_id, repo_type="dataset", revision=revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return False
    return True


def _download(repo_id: str, revision: str | None) -> Path:
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        info = HfApi().dataset_info(repo_id, revision=revision, timeout=10)
        wanted = training_files(file.rfilename for file in info.siblings or [])
        # The name of the branch, not its commit: the cache then knows what the branch is when the hub is away.
        folder = snapshot_download(
            repo_id, repo_type="dataset", revision=revision, allow_patterns=[*wanted, "README.md"]
        )
    except RepositoryNotFoundError as error:
        raise unknown(NAME, repo_id, "HF_TOKEN", OTHER) from error
    except (HfHubHTTPError, httpx.HTTPError) as error:
        raise MartletError(f"dataset '{repo_id}': {NAME} failed: {str(error).splitlines()[0]}; try again") from error
    return Path(folder)


def _found(folder: Path) -> Snapshot:
    return Snapshot(cached_files(folder), folder.name, licence_of(folder))
