"""What a hub lists: the files of a repository at one commit, and the Protocol of a hub's client."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypeGuard

RepoKind = Literal["dataset", "model"]


class File(NamedTuple):
    """A file of a repository: its size in bytes, and the sha256 of its bytes or else their SHA-1 as a git blob."""

    name: str
    size: int
    sha256: str | None = None
    blob: str | None = None


class Listing(NamedTuple):
    """All files of a repository at one commit."""

    commit: str
    files: list[File]


class Problem(NamedTuple):
    """What an exception of a hub's client stands for.

    Attributes:
        detail: the HTTP status where access is denied; "either" where the repository or its revision may be absent.
        wait_s: seconds that the hub asks to wait.
    """

    kind: Literal["absent", "revision", "gated", "denied", "rate", "away", "damaged", "other"]
    detail: str = ""
    wait_s: float | None = None


class Client(Protocol):
    """A hub's module. The functions down to `is_offline` and those that return what the cache holds use no network.

    Attributes:
        NAME: the hub's name for people.
        TOKEN, HOME: the environment variables of a user's token and of the cache.
        OTHER_HUB: how to ask the other hub.
    """

    NAME: str
    TOKEN: str
    HOME: str
    OTHER_HUB: str

    def endpoint(self) -> str:
        """Return the hub's address."""
        ...

    def has_token(self) -> bool:
        """Return whether a token is set or was saved by a login."""
        ...

    def offline_switch(self) -> str | None:
        """Return the environment variable that forbids the network, or None where none is set."""
        ...

    def folder(self, kind: RepoKind, repo_id: str, commit: str) -> Path:
        """Return the folder of a commit in the cache."""
        ...

    def cached_commit(self, kind: RepoKind, repo_id: str, revision: str | None) -> str | None:
        """Return the commit of a branch or tag when the hub last answered."""
        ...

    def cached_listing(self, kind: RepoKind, repo_id: str, commit: str) -> list[File]:
        """Return all files of a commit that another program has put into the cache; none where some may be absent."""
        ...

    def look(self, kind: RepoKind, repo_id: str, revision: str | None) -> Listing:
        """Ask the hub for the commit of a revision and for its files."""
        ...

    def download(
        self, kind: RepoKind, repo_id: str, commit: str, files: Sequence[File], into: Path | None = None
    ) -> None:
        """Download files into the cache, or into a folder, and verify their sizes and checksums."""
        ...

    def errors(self) -> tuple[type[Exception], ...]:
        """Return the exceptions of the client."""
        ...

    def problem(self, error: Exception) -> Problem:
        """Return what an exception stands for."""
        ...


_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_commit(revision: str | None) -> TypeGuard[str]:
    """Return whether a revision is a full commit, which never stands for other files."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None
