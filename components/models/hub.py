"""ModelScope and Hugging Face through their own clients, which are imported only when a hub is really asked."""

import os
import re
import urllib.error
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import ConfigError, MartletError
from components.files import read_json, write_json

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.md"]
"""Weights that cannot run code, tokenizers, templates, licence and card."""
COMPLETE = ".complete.json"
"""Written last into a snapshot of ModelScope, whose client cannot tell a whole one from a broken download."""
PATIENCE = 10.0
"""Seconds for a hub's first answer; the clients themselves would try for minutes."""
UNKNOWN = {"RepositoryNotFoundError", "RevisionNotFoundError", "NotExistError", "HFValidationError"}
CLOSED = {"GatedRepoError", "AuthenticationError", "PermissionDeniedError"}


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
        return _HUBS[source][0](model, revision)


def download(source: str, model: str, revision: str) -> Path:
    """Return the folder of a model at a commit, in the hub client's own cache; no network once it is complete there.

    Raises:
        ConfigError: the hub knows no such model or commit.
        MartletError: the hub does not answer, or the download broke off; what arrived is kept for the next try.
    """
    with _explained(source, model, revision):
        return _HUBS[source][1](model, revision)


def _huggingface_commit(model: str, revision: str | None) -> str:
    from huggingface_hub import HfApi, constants

    if not constants.is_offline_mode():
        _ask(constants.ENDPOINT)
    return str(HfApi().model_info(model, revision=revision, timeout=PATIENCE).sha)


def _huggingface_download(model: str, revision: str) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=WANTED, local_files_only=True))
    except LocalEntryNotFoundError:
        if not constants.is_offline_mode():
            _ask(constants.ENDPOINT)
        return Path(snapshot_download(model, revision=revision, allow_patterns=WANTED))


def _modelscope() -> Any:
    # Read once, by the import; the client would log every request.
    os.environ.setdefault("MODELSCOPE_LOG_LEVEL", "ERROR")
    # The client inside `modelscope`, which itself takes seconds to import.
    from modelscope_hub import HubApi, HubConfig

    return HubApi(HubConfig())


def _modelscope_files(model: str, revision: str) -> list[dict[str, Any]]:
    from modelscope_hub import HubConfig

    _ask(str(HubConfig().endpoint))
    files = _modelscope().legacy.list_repo_files(model, "model", revision=revision)
    if not files:  # how this hub says that there is no such revision
        raise ConfigError(f"model_revision: modelscope has no files of '{model}' at '{revision}'")
    return files


def _modelscope_commit(model: str, revision: str | None) -> str:
    # Of each file the hub gives the last commit that touched it; the newest of them is the head.
    files = _modelscope_files(model, revision or "master")
    return str(max(files, key=lambda file: file.get("CommittedDate") or 0)["Revision"])


def _modelscope_download(model: str, revision: str) -> Path:
    api = _modelscope()
    from modelscope_hub import CacheNotFound

    try:
        folder = Path(api.download_repo(model, "model", revision=revision, local_files_only=True))
        if all((folder / name).is_file() for name in read_json(folder / COMPLETE)):
            return folder
    except (CacheNotFound, FileNotFoundError):
        pass
    files = _modelscope_files(model, revision)
    folder = Path(api.download_repo(model, "model", revision=revision, allow_patterns=WANTED, file_list=files))
    write_json(folder / COMPLETE, sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()))
    return folder


_HUBS = {
    "huggingface": (_huggingface_commit, _huggingface_download),
    "modelscope": (_modelscope_commit, _modelscope_download),
}


def _ask(endpoint: str) -> None:
    """Raise unless something answers at `endpoint`, be it with an error."""
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        pass
    except OSError as error:
        raise ConnectionError(f"{endpoint} does not answer ({getattr(error, 'reason', error)})") from error


@contextmanager
def _explained(source: str, model: str, revision: str | None) -> Generator[None]:
    """Turn what the clients raise, each its own kind of error, into one sentence."""
    try:
        yield
    except MartletError:
        raise
    except Exception as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        where = f"'{model}'" + (f" at '{revision}'" if revision else "")
        if kinds & CLOSED:
            raise ConfigError(f"model: {source} does not show {where} to you; ask for access, then log in") from error
        if kinds & UNKNOWN:
            other = "ModelScope is asked without --use_hf" if source == "huggingface" else "Hugging Face with --use_hf"
            raise ConfigError(f"model: {source} has no {where}; check the name and the revision ({other})") from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MartletError(
            f"model: {source} could not be asked for {where}: {reason}. Without a network, give a local folder as "
            "--model, or as --model_revision a commit that was downloaded before"
        ) from error
