"""The identity of a model: from the name that a user gives to a folder's hash or a hub's commit, and to a folder."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from components import hub
from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST, read_json, sha256, sha256_of, write_json
from components.models import code

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.md")
"""Files that are taken from a hub: weights that cannot run code, tokenizers, templates, licence and card."""

CODE_FILES = ("*.py",)
MEMO = ".martlet/hashes.json"
WORTH_REMEMBERING = 1 << 20
"""Bytes; hashing a smaller file costs no more than looking it up."""


def resolve(
    model: str, revision: str | None, use_hf: bool, workspace: Path, trust_remote_code: bool = False
) -> dict[str, Any]:
    """Return the identity of a model: `{"model", "source", "revision", "sha256"}`.

    `source` is `local` (then `sha256` is the hash of the folder, hidden files and manifests aside),
    `modelscope` or `huggingface` (then `revision` is a commit). Where the model's code may run,
    `"trust_remote_code": True` is added.

    Raises:
        ConfigError: there is no such folder, or no such model or revision on the hub; or code may run that no commit
            pins.
        MartletError: the hub does not answer.
    """
    path, trust = workspace / Path(model).expanduser(), {"trust_remote_code": True} if trust_remote_code else {}
    if path.is_dir():
        if revision:
            raise ConfigError(f"model_revision: '{model}' is a local folder, which has no revisions; leave it out")
        identity = {"model": model, "source": "local", "revision": None, "sha256": _tree_hash(path, workspace)}
        return identity | trust
    require_name(model, workspace)
    if problem := unpinned(revision, trust_remote_code):
        raise ConfigError(problem)
    source = "huggingface" if use_hf else "modelscope"
    commit = revision if hub.is_commit(revision) else hub.locate(source, "model", model, revision).commit
    return {"model": model, "source": source, "revision": commit, "sha256": None} | trust


def unpinned(revision: str | None, trust_remote_code: bool) -> str | None:
    """Return what is wrong where code from a hub is to run, in a version that may change."""
    if not trust_remote_code or hub.is_commit(revision):
        return None
    return "trust_remote_code: code from a hub runs at a commit that you have read; name it with --model_revision"


def folder(identity: dict[str, Any], workspace: Path) -> Path:
    """Return the local folder of a resolved model; one from a hub is downloaded unless that commit is there already.

    Raises:
        ConfigError: the folder is gone.
        MartletError: the download failed.
    """
    trusted = identity.get("trust_remote_code", False)
    if identity["source"] != "local":
        repository = hub.locate(identity["source"], "model", identity["model"], identity["revision"])
        wanted = (*MODEL_FILES, *CODE_FILES) if trusted else MODEL_FILES
        repository.fetch(name for name in repository.files if any(fnmatchcase(name, each) for each in wanted))
        path = repository.folder
    else:
        path = workspace / Path(identity["model"]).expanduser()
        if not path.is_dir():
            raise ConfigError(f"model: the folder '{identity['model']}' is gone from {workspace}")
    if trusted:
        code.allow(path)
    return path


def require_name(model: str, workspace: Path, flag: str = "model") -> None:
    """Check that a name is that of a folder, or may be an id on a hub.

    Raises:
        ConfigError: it is neither.
    """
    path = workspace / Path(model).expanduser()
    if not path.is_dir() and not _is_hub_id(model, workspace):
        siblings = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
        raise ConfigError(f"{flag}: no such folder '{model}' in {workspace}{did_you_mean(path.name, siblings)}")


def _is_hub_id(model: str, workspace: Path) -> bool:
    """`owner/name`, unless `owner` is a folder here: then a path was meant."""
    written_so = re.fullmatch(r"\w[\w.-]*/[\w.-]+", model) is not None
    return written_so and not (workspace / model.partition("/")[0]).is_dir()


def _tree_hash(path: Path, workspace: Path) -> str:
    """`files.sha256_tree`, with the hashes of large files remembered by path, size and time of change."""
    memo_file = workspace / MEMO
    try:
        memo: dict[str, list[Any]] = {key: entry for key, entry in read_json(memo_file).items() if len(entry) == 3}
    except (OSError, ValueError, AttributeError, TypeError):  # none yet, or damaged
        memo = {}
    entries, changed = {}, False
    for file in sorted(path.rglob("*")):
        parts = file.relative_to(path).parts
        if not file.is_file() or file.name == MANIFEST or any(part.startswith(".") for part in parts):
            continue
        status = file.stat()
        key, stamp = str(file.resolve()), [status.st_size, status.st_mtime_ns]
        if memo.get(key, [])[:2] != stamp:
            memo[key] = [*stamp, sha256(file)]
            changed |= status.st_size >= WORTH_REMEMBERING
        entries["/".join(parts)] = memo[key][2]
    if changed:
        write_json(memo_file, {key: value for key, value in memo.items() if value[0] >= WORTH_REMEMBERING})
    return sha256_of(entries)
