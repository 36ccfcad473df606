"""ModelScope and Hugging Face through their own clients, which are imported only when a hub is really asked."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from components.errors import ConfigError, MartletError
from components.files import read_json, write_json

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.md"]
"""Weights that cannot run code, tokenizers, templates, licence and card."""
TIMEOUT = 10
"""Seconds to wait for a hub's first answer."""


def commit(source: str, model: str, revision: str | None) -> str:
    """Return the commit that `revision` (a branch, tag or commit; by default the main branch) stands for now.

    A full commit is returned as it is, without asking the hub.

    Raises:
        ConfigError: the hub knows no such model or revision.
        MartletError: the hub does not answer.
    """
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    with _explained(source, model, revision):
        return {"huggingface": _huggingface_commit, "modelscope": _modelscope_commit}[source](model, revision)


def download(source: str, model: str, revision: str, workspace: Path) -> Path:
    """Return the folder of a model at a commit, in the hub client's own cache; no network once it is complete there.

    Raises:
        ConfigError: the hub knows no such model or commit.
        MartletError: the hub does not answer, or the download broke off; what arrived is kept for the next try.
    """
    # Neither client can tell a complete snapshot from the rest of a broken download without asking its hub.
    marker = workspace / ".martlet/hub" / f"{source}--{model.replace('/', '--')}--{revision}.json"
    if marker.is_file() and Path(read_json(marker)).is_dir():
        return Path(read_json(marker))
    with _explained(source, model, revision):
        if source == "huggingface":
            from huggingface_hub import snapshot_download

            folder = snapshot_download(model, revision=revision, allow_patterns=WANTED, etag_timeout=TIMEOUT)
        else:
            folder = _modelscope().download_repo(model, "model", revision=revision, allow_patterns=WANTED)
    write_json(marker, str(folder))
    return Path(folder)


def _huggingface_commit(model: str, revision: str | None) -> str:
    from huggingface_hub import HfApi

    return str(HfApi().model_info(model, revision=revision, timeout=TIMEOUT).sha)


def _modelscope():
    # The client's defaults wait for minutes when there is no network. They are read when it is imported.
    os.environ.setdefault("MODELSCOPE_API_MAX_RETRIES", "1")
    os.environ.setdefault("MODELSCOPE_API_CONNECT_TIMEOUT", str(TIMEOUT))
    from modelscope_hub import HubApi

    return HubApi()


def _modelscope_commit(model: str, revision: str | None) -> str:
    # The hub's list of files names, for each file, the last commit that touched it; the newest is the head.
    files = _modelscope().legacy.list_repo_files(model, "model", revision=revision or "master")
    dated = [(file.get("CommittedDate") or 0, file["Revision"]) for file in files if file.get("Revision")]
    if not dated:
        raise ConfigError(f"model_revision: modelscope has no files of '{model}' at '{revision or 'master'}'")
    return max(dated)[1]


@contextmanager
def _explained(source: str, model: str, revision: str | None) -> Generator[None]:
    """Turn what the clients raise into one sentence. Both mark an unknown name with their own class of error."""
    try:
        yield
    except MartletError:
        raise
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        where = f"'{model}'" + (f" at '{revision}'" if revision else "")
        if kinds & {"GatedRepoError", "AuthenticationError", "PermissionDeniedError"}:
            raise ConfigError(f"model: {source} does not show {where} to you; ask for access, then log in") from error
        if kinds & {"RepositoryNotFoundError", "RevisionNotFoundError", "NotExistError", "HFValidationError"}:
            other = "without --use_hf it is ModelScope that is asked" if source == "huggingface" else "or give --use_hf"
            raise ConfigError(f"model: {source} has no {where}; check the name and revision ({other})") from error
        raise MartletError(
            f"model: {source} could not be asked for {where}: {str(error).strip().splitlines()[0] or kinds}. Without a "
            "network, give a local folder as --model, or a commit that was downloaded before as --model_revision"
        ) from error
