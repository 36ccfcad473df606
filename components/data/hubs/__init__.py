"""Hubs of datasets: one file each, found by its name.

    found = snapshot("huggingface", "owner/name", "main", ["zh"])        # files, commit, licence
    found = shards("huggingface", "owner/name", "main", ["zh"])          # the same, brought one file after the other

A repository is downloaded into the cache of the hub's own client, at one commit, unless it is to pass by. The clients'
environment variables (`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`, `MODELSCOPE_ENDPOINT`,
`MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`, proxies) hold. A hub's file has `NAME`, `TOKEN` and `HOME` (the variables of
a user's token and of the cache), `INSTEAD` (what else a user can do), and

    endpoint() -> str, has_token() -> bool, switched_off() -> str | None      # the variable that says not to ask
    look(repo_id, revision) -> Repository          fetch(repo_id, commit, files, into)        with the network
    folder(repo_id, commit) -> Path                remembered(repo_id, revision) -> str | None      without
    errors() -> the client's exceptions            problem(error) -> Problem
"""

import importlib
import logging
import re
from collections.abc import Iterable, Sequence
from types import ModuleType

from components.data.hubs.problems import HubAwayError, answers, explained
from components.data.hubs.repository import Repository, Snapshot
from components.data.hubs.shards import Shards, kept, passing
from components.data.hubs.store import cached, download
from components.errors import ConfigError, MartletError

__all__ = ["Shards", "Snapshot", "shards", "snapshot"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]*")

log = logging.getLogger(__name__)


def snapshot(
    hub: str,
    repo_id: str,
    revision: str | None,
    subsets: Sequence[str] = (),
    *,
    split: str = "train",
    known: Iterable[str] = (),
) -> Snapshot:
    """Download the rows of a dataset repository's `subsets` from `hub`, or find them in the cache.

    With a commit that is in the cache the network is not touched. Of a branch, a tag or nothing (the main branch) the
    commit is looked up, and when the hub is away, the commit that it last was serves from the cache.

    Args:
        revision: a branch, a tag or a commit; the snapshot's own `revision` is the commit.
        subsets: by their names; none stands for the default one, or for all training files where none is declared.
        known: ids of the hub that are known, one of which an unknown `repo_id` may be meant to be.

    Raises:
        ConfigError: no such repository, revision or subset, no access to it, a repository without files of rows, with
            a missing shard, or with names that lie outside of it.
        MartletError: the hub does not answer and nothing is cached, or the download failed; run again to go on.
    """
    module, found = _found(hub, repo_id, revision, subsets, split, known)
    return found if isinstance(found, Snapshot) else download(module, repo_id, found, subsets, split)


def shards(
    hub: str,
    repo_id: str,
    revision: str | None,
    subsets: Sequence[str] = (),
    *,
    split: str = "train",
    known: Iterable[str] = (),
) -> Shards:
    """The same files as those of `snapshot`, none of them downloaded yet unless all are in the cache.

    Raises:
        ConfigError, MartletError: as `snapshot`.
    """
    module, found = _found(hub, repo_id, revision, subsets, split, known)
    return kept(found) if isinstance(found, Snapshot) else passing(module, repo_id, found, subsets, split)


def _found(
    hub: str, repo_id: str, revision: str | None, subsets: Sequence[str], split: str, known: Iterable[str]
) -> tuple[ModuleType, Snapshot | Repository]:
    """The hub's module with the copy in the cache, or with what the hub has where that is not all there."""
    if revision and not _REVISION.fullmatch(revision):
        raise ConfigError(f"dataset '{repo_id}': '{revision}' is not the name of a branch, a tag or a commit")
    module = importlib.import_module(f"components.data.hubs.{hub}")
    commit = revision if revision and _COMMIT.fullmatch(revision) else None
    found = commit and cached(module.folder(repo_id, commit), repo_id, subsets, split)
    if found:
        return module, found
    try:
        _reach(module, repo_id)
        with explained(module, repo_id, revision, known):
            repository: Repository = module.look(repo_id, revision)
    except HubAwayError as away:
        commit = commit or module.remembered(repo_id, revision)
        found = commit and cached(module.folder(repo_id, commit), repo_id, subsets, split)
        if found:
            log.warning("dataset '%s': %s; its copy in the cache serves, commit %s", repo_id, away.reason, commit)
            return module, found
        raise MartletError(
            f"dataset '{repo_id}': {away.reason} and no copy is in its cache ({module.HOME}); "
            f"{away.remedy}, or name a local file"
        ) from away
    folder = module.folder(repo_id, repository.commit)
    return module, cached(folder, repo_id, subsets, split) or repository


def _reach(module: ModuleType, repo_id: str) -> None:
    """The clients themselves would try for minutes."""
    if switch := module.switched_off():
        raise HubAwayError(repo_id, f"{switch} is set", "unset it")
    if not answers(module.endpoint()):
        reason = f"{module.NAME} ({module.endpoint()}) does not answer"
        raise HubAwayError(repo_id, reason, f"check the network, {module.INSTEAD}")
