"""Hugging Face, through `huggingface_hub`."""

import glob
import sys
from collections.abc import Iterable
from pathlib import Path

from components.data.hubs import answers, explained, training_files

NAME = "Hugging Face"
TOKEN = "HF_TOKEN"
INSTEAD = "drop --use_hf to look on ModelScope"


def endpoint() -> str:
    """Where the hub is, `HF_ENDPOINT` if that is set."""
    from huggingface_hub.constants import ENDPOINT

    return ENDPOINT


def online() -> bool:
    """Whether the hub answers; no when `HF_HUB_OFFLINE` says not to ask."""
    from huggingface_hub.constants import is_offline_mode

    return not is_offline_mode() and answers(endpoint())


def cached(repo_id: str, revision: str | None) -> Path | None:
    """The folder of a snapshot that was downloaded before, with all that is wanted of it."""
    from huggingface_hub import get_cached_repo_tree, snapshot_download
    from huggingface_hub.errors import CachedRepoTreeNotFoundError, LocalEntryNotFoundError

    try:
        tree = get_cached_repo_tree(repo_id, repo_type="dataset", revision=revision)
        wanted = _patterns(entry.path for entry in tree)
        return Path(
            snapshot_download(
                repo_id, repo_type="dataset", revision=revision, allow_patterns=wanted, local_files_only=True
            )
        )
    except (CachedRepoTreeNotFoundError, LocalEntryNotFoundError):
        return None


def download(repo_id: str, revision: str | None) -> Path:
    """Download what is wanted of a repository; the main branch when no revision is given."""
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    with explained(sys.modules[__name__], repo_id, (RepositoryNotFoundError,), (HfHubHTTPError, httpx.HTTPError)):
        info = HfApi().dataset_info(repo_id, revision=revision, timeout=10)
        wanted = _patterns(file.rfilename for file in info.siblings or [])
        # By the branch's name, not its commit: the cache then knows what the branch is when the hub is away.
        return Path(snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=wanted))


def _patterns(names: Iterable[str]) -> list[str]:
    return [glob.escape(name) for name in training_files(names)] + ["README.md"]
