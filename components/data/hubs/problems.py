"""What goes wrong at a hub, in one sentence that says what to do."""

import errno
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import ModuleType
from typing import Literal, NamedTuple

from components.errors import ConfigError, MartletError, did_you_mean

CONNECT_SECONDS = 5.0


class HubAwayError(MartletError):
    """The hub does not answer, or answers that it is out of order: a copy in the cache will do."""

    def __init__(self, repo_id: str, reason: str, remedy: str) -> None:
        super().__init__(f"dataset '{repo_id}': {reason}; {remedy}")
        self.repo_id, self.reason, self.remedy = repo_id, reason, remedy

    def __reduce__(self) -> tuple[type["HubAwayError"], tuple[str, str, str]]:
        return HubAwayError, (self.repo_id, self.reason, self.remedy)  # it goes between processes


class Problem(NamedTuple):
    """An exception of a hub's client: its kind, more about it, and the seconds that the hub asks to wait.

    `words` is the status when access is denied, and "either" when it may be the revision that is absent.
    """

    kind: Literal["absent", "revision", "gated", "denied", "rate", "away", "damaged", "other"]
    words: str = ""
    wait: float | None = None


def of_status(status: int | None, words: str) -> Problem:
    """The problem that an HTTP status stands for; None is no answer at all."""
    if status is None or status >= 500:
        return Problem("away", words if status is None else f"answers with status {status}")
    if status in (401, 403):
        return Problem("denied", str(status))
    return Problem("absent", "either") if status == 404 else Problem("other", words)


def answers(endpoint: str) -> bool:
    """Whether anything answers at `endpoint` within seconds."""
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=CONNECT_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


@contextmanager
def explained(hub: ModuleType, repo_id: str, revision: str | None, known: Iterable[str] = ()) -> Generator[None]:
    """Turn the exceptions of a hub's client, and of the disk, into one sentence."""
    try:
        yield
    except (*hub.errors(), OSError) as error:
        problem = hub.problem(error)
        number = getattr(error, "errno", None)
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise MartletError(
                f"dataset '{repo_id}': the cache cannot be written ({error}); set {hub.HOME} to a folder that is yours"
            ) from error
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in problem.words:
            raise MartletError(
                f"dataset '{repo_id}': the disk is full; free some of it, or set {hub.HOME} to a folder on a larger "
                f"disk, and run again"
            ) from error
        raise _told(hub, repo_id, revision, known, problem) from error


def _told(hub: ModuleType, repo_id: str, revision: str | None, known: Iterable[str], problem: Problem) -> MartletError:
    subject, has_token = f"dataset '{repo_id}'", hub.has_token()
    denied = problem.kind == "denied"
    if problem.kind == "absent" or (denied and problem.words == "401" and not has_token):
        private = (
            f"your token ({hub.TOKEN}) may not see it" if has_token else f"it is private and {hub.TOKEN} is not set"
        )
        meant = did_you_mean(repo_id, [name for name in known if name != repo_id])
        either = f", or no revision '{revision}' of it" if revision and problem.words == "either" else ""
        return ConfigError(
            f"{subject}: no such dataset on {hub.NAME}{meant}{either}, or {private}; check the id, or {hub.INSTEAD}"
        )
    if problem.kind == "revision":
        return ConfigError(
            f"{subject}: has no revision '{revision}' on {hub.NAME}; name a branch, a tag or a commit of it, or leave "
            f"'@{revision}' out"
        )
    if problem.kind == "gated":
        return ConfigError(
            f"{subject}: is gated; accept its conditions on {hub.endpoint()}/datasets/{repo_id}, and set "
            f"{hub.TOKEN} to a token of that account"
        )
    if denied and problem.words == "401":
        return ConfigError(
            f"{subject}: {hub.NAME} refuses the token ({hub.TOKEN}) as invalid or expired; make a new one"
        )
    if denied:
        needed = f"the token ({hub.TOKEN}) has no access to it; ask its owner" if has_token else f"set {hub.TOKEN}"
        return ConfigError(f"{subject}: {hub.NAME} denies access (403): {needed}, or {hub.INSTEAD}")
    if problem.kind == "rate":
        wait = f" and asks to wait {problem.wait:.0f} s" if problem.wait else ""
        more = "" if has_token else f", or set {hub.TOKEN}, which allows more"
        return MartletError(f"{subject}: {hub.NAME} had too many requests (429){wait}; run again later{more}")
    if problem.kind == "damaged":
        return MartletError(
            f"{subject}: {problem.words} arrived from {hub.NAME} with another size or checksum than it lists, more "
            f"than once; run again later, or name another revision"
        )
    if problem.kind == "away":
        reason = f"{hub.NAME} ({hub.endpoint()}) {problem.words}"
        return HubAwayError(repo_id, reason, "run again to go on: what is there is not fetched again")
    return MartletError(f"{subject}: {hub.NAME} failed: {problem.words}; run again to go on")
