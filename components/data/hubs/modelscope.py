"""ModelScope, through `modelscope_hub`, the client inside `modelscope` (which itself takes seconds to import)."""

import os
import sys
from pathlib import Path
from typing import Any

from components.data.hubs import answers, explained, training_files
from components.files import read_json, write_json

NAME = "ModelScope"
TOKEN = "MODELSCOPE_API_TOKEN"
INSTEAD = "add --use_hf to look on Hugging Face"
COMPLETE = ".complete.json"
"""The files of a snapshot, written into its folder last: the client itself cannot tell one from half of one."""


def _api() -> Any:
    # Read once, by the import; the client's own defaults log every request and try for minutes.
    os.environ.setdefault("MODELSCOPE_LOG_LEVEL", "ERROR")
    os.environ.setdefault("MODELSCOPE_API_MAX_RETRIES", "1")
    from modelscope_hub import HubApi, HubConfig

    return HubApi(HubConfig())


def endpoint() -> str:
    """Where the hub is, `MODELSCOPE_ENDPOINT` if that is set."""
    _api()
    from modelscope_hub import HubConfig

    return str(HubConfig().endpoint)


def online() -> bool:
    """Whether the hub answers."""
    return answers(endpoint())


def cached(repo_id: str, revision: str | None) -> Path | None:
    """The folder of a snapshot that was downloaded before, with all that is wanted of it."""
    api = _api()
    from modelscope_hub import CacheNotFound

    try:
        folder: Path = api.download_repo(repo_id, "dataset", revision=revision, local_files_only=True)
        whole = all((folder / name).is_file() for name in read_json(folder / COMPLETE))
    except (CacheNotFound, FileNotFoundError):
        return None
    return folder if whole else None


def download(repo_id: str, revision: str | None) -> Path:
    """Download what is wanted of a repository; the master branch when no revision is given."""
    api = _api()
    from modelscope_hub import AuthenticationError, HubError, NotExistError, PermissionDeniedError

    unknown = (NotExistError, AuthenticationError, PermissionDeniedError)
    with explained(sys.modules[__name__], repo_id, unknown, (HubError,)):
        listing = api.legacy.list_repo_files(repo_id, "dataset", revision or "master")
        entries = {entry["Path"]: entry for entry in listing if entry.get("Type") != "tree"}
        wanted = [name for name in [*training_files(entries), "README.md"] if name in entries]
        chosen = [entries[name] for name in wanted]
        # The hub gives each file's last commit; at the newest of them all files are as they are now.
        newest: dict[str, Any] = max(chosen, key=lambda entry: entry.get("CommittedDate") or 0, default={})
        at = revision or newest.get("Revision") or "master"
        folder: Path = api.download_repo(repo_id, "dataset", revision=at, allow_patterns=wanted, file_list=chosen)
        write_json(folder / COMPLETE, wanted)
        return folder
