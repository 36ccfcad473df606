"""Hubs of models and datasets: a repository at one commit, and its files.

    repository = locate("huggingface", "dataset", "owner/name", "main")
    repository.commit                                           # 40 hex digits
    repository.fetch(["README.md", "data/train.jsonl"])         # paths in the cache of the hub's own client
    repository.stream(["a.jsonl", "b.jsonl"], scratch)          # the same one after the other; none stays

The clients' environment variables (`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE`, `MODELSCOPE_ENDPOINT`,
`MODELSCOPE_CACHE`, `MODELSCOPE_API_TOKEN`, proxies) hold. The modules `huggingface` and `modelscope` fulfil the
Protocol `listing.Client`.
"""

import logging
import re
from collections.abc import Iterable

from components.errors import ConfigError, MartletError
from components.hub.listing import Client, Listing, RepoKind, is_commit
from components.hub.problems import HubAwayError, check_reachable, explained
from components.hub.repository import Repository, client, from_cache, from_listing, has_size

__all__ = ["HubAwayError", "Repository", "is_commit", "locate"]

_REVISION = re.compile(r"(?!.*\.\.)\w[\w./+-]*")
_LOCAL = {
    "dataset": "name a local file",
    "model": "give a local folder as --model, or as --model_revision a commit that was downloaded before",
}

log = logging.getLogger(__name__)


def locate(
    hub: str, kind: RepoKind, repo_id: str, revision: str | None = None, similar: Iterable[str] = ()
) -> Repository:
    """Return a repository at the commit that a revision stands for now.

    A commit that is in the cache needs no network. When the hub does not answer, a branch, a tag or no revision (the
    main branch) stands for the commit that it was last.

    Args:
        hub: `huggingface` or `modelscope`.
        revision: a branch, a tag or a commit.
        similar: ids among which a misspelt `repo_id` is looked for.

    Raises:
        ConfigError: the hub has no such repository or revision, or gives no access to it.
        MartletError: the hub does not answer and nothing is in the cache.
    """
    if revision and not _REVISION.fullmatch(revision):
        raise ConfigError(f"{kind} '{repo_id}': '{revision}' is not the name of a branch, a tag or a commit")
    if is_commit(revision) and (repository := from_cache(hub, kind, repo_id, revision)):
        return repository
    module = client(hub)
    try:
        check_reachable(module, f"{kind} '{repo_id}'")
        with explained(module, kind, repo_id, revision, similar):
            return from_listing(hub, kind, repo_id, module.look(kind, repo_id, revision))
    except HubAwayError as away:
        repository = _offline(hub, module, kind, repo_id, revision)
        if repository is None:
            raise MartletError(
                f"{kind} '{repo_id}': {away.reason} and no copy is in its cache ({module.HOME}); {away.remedy}, or "
                f"{_LOCAL[kind]}"
            ) from away
        commit = repository.commit
        log.warning("%s '%s': %s; its copy in the cache serves, commit %s", kind, repo_id, away.reason, commit)
        return repository


def _offline(hub: str, module: Client, kind: RepoKind, repo_id: str, revision: str | None) -> Repository | None:
    """Return the repository as the cache has it: recorded here, or left complete by another program."""
    commit = revision if is_commit(revision) else module.cached_commit(kind, repo_id, revision)
    if commit is None:
        return None
    if repository := from_cache(hub, kind, repo_id, commit):
        return repository
    files = module.cached_listing(kind, repo_id, commit)
    if not files:
        return None
    repository = from_listing(hub, kind, repo_id, Listing(commit, files))
    repository.record_verified([file.name for file in files if has_size(repository.folder, file)])
    return repository
