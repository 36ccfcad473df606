"""Refusals of a hub, each as one sentence that ends with what to do."""

import errno
import urllib.error
import urllib.request
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from components.errors import ConfigError, MartletError, did_you_mean
from components.hub.listing import Client, Problem, RepoKind

HUB_TIMEOUT_S = 10.0
"""Seconds for a hub's first answer. The clients themselves try for minutes."""


class HubAwayError(MartletError):
    """The hub does not answer, or only with a server error: a copy in the cache will do."""

    def __init__(self, subject: str, reason: str, remedy: str) -> None:
        super().__init__(f"{subject}: {reason}; {remedy}")
        self.subject, self.reason, self.remedy = subject, reason, remedy

    def __reduce__(self) -> tuple[type["HubAwayError"], tuple[str, str, str]]:
        return HubAwayError, (self.subject, self.reason, self.remedy)  # it is sent between processes


class DamagedFileError(Exception):
    """A file arrived with another size or checksum than the hub lists."""


def problem_of_status(status: int | None, detail: str) -> Problem:
    """Return the problem that an HTTP status stands for; None is no answer at all."""
    if status is None or status >= 500:
        return Problem("away", detail if status is None else f"answers with status {status}")
    if status in (401, 403):
        return Problem("denied", str(status))
    return Problem("absent", "either") if status == 404 else Problem("other", detail)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the exception's name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def check_reachable(client: Client, subject: str) -> None:
    """See within seconds that something answers at the hub's address, if only with an error.

    Raises:
        HubAwayError: nothing answers, or an environment variable forbids to ask.
    """
    if switch := client.offline_switch():
        raise HubAwayError(subject, f"{switch} is set", "unset it")
    endpoint = client.endpoint()
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        reason = f"{client.NAME} ({endpoint}) does not answer"
        raise HubAwayError(subject, reason, f"check the network, {client.OTHER_HUB}") from error


@contextmanager
def explained(
    client: Client, kind: RepoKind, repo_id: str, revision: str | None, similar: Iterable[str] = ()
) -> Generator[None]:
    """Turn the exceptions of a hub's client, and of the disk, into one sentence.

    Args:
        similar: ids among which a misspelt `repo_id` is looked for.
    """
    subject = f"{kind} '{repo_id}'"
    try:
        yield
    except DamagedFileError as error:
        raise MartletError(
            f"{subject}: {error} is not what {client.NAME} lists (its size or checksum); the copy was removed, run "
            "again to fetch it anew"
        ) from error
    except (*client.errors(), OSError) as error:
        problem = client.problem(error)
        number = getattr(error, "errno", None)
        if number in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise MartletError(
                f"{subject}: the cache cannot be written ({error}); set {client.HOME} to a folder that is yours"
            ) from error
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in problem.detail:
            raise MartletError(
                f"{subject}: the disk is full; free some of it, or set {client.HOME} to a folder on a larger disk, and "
                "run again"
            ) from error
        if problem.kind in ("absent", "revision", "gated", "denied"):
            raise ConfigError(_refusal(client, kind, repo_id, revision, similar, problem)) from error
        raise _failure(client, subject, problem) from error


def _refusal(
    client: Client, kind: RepoKind, repo_id: str, revision: str | None, similar: Iterable[str], problem: Problem
) -> str:
    """Return the sentence for a repository that the user cannot have under this name or with this token."""
    subject, has_token = f"{kind} '{repo_id}'", client.has_token()
    is_hidden = problem.kind == "denied" and problem.detail == "401" and not has_token
    if problem.kind == "absent" or is_hidden:
        private = f"your token ({client.TOKEN}) may not see it" if has_token else _private(client)
        nearest = did_you_mean(repo_id, [name for name in similar if name != repo_id])
        either = f", or no revision '{revision}' of it" if revision and problem.detail == "either" else ""
        return (
            f"{subject}: no such {kind} on {client.NAME}{nearest}{either}, or {private}; check the id, or "
            f"{client.OTHER_HUB}"
        )
    if problem.kind == "revision":
        without = f"'@{revision}'" if kind == "dataset" else "--model_revision"
        return (
            f"{subject}: has no revision '{revision}' on {client.NAME}; name a branch, a tag or a commit of it, or "
            f"leave {without} out"
        )
    if problem.kind == "gated":
        page = f"{client.endpoint()}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
        return (
            f"{subject}: is gated; accept its conditions on {page}, and set {client.TOKEN} to a token of that account"
        )
    if problem.detail == "401":
        return f"{subject}: {client.NAME} refuses the token ({client.TOKEN}) as invalid or expired; make a new one"
    remedy = f"the token ({client.TOKEN}) has no access to it; ask its owner" if has_token else f"set {client.TOKEN}"
    return f"{subject}: {client.NAME} denies access (403): {remedy}, or {client.OTHER_HUB}"


def _private(client: Client) -> str:
    return f"it is private and {client.TOKEN} is not set"


def _failure(client: Client, subject: str, problem: Problem) -> MartletError:
    """Return the error for a hub that works badly or not at all."""
    if problem.kind == "rate":
        wait = f" and asks to wait {problem.wait_s:.0f} s" if problem.wait_s else ""
        token = "" if client.has_token() else f", or set {client.TOKEN}, which allows more"
        return MartletError(f"{subject}: {client.NAME} had too many requests (429){wait}; run again later{token}")
    if problem.kind == "damaged":
        return MartletError(
            f"{subject}: {problem.detail} arrived from {client.NAME} with another size or checksum than it lists, more "
            "than once; run again later, or name another revision"
        )
    if problem.kind == "away":
        reason = f"{client.NAME} ({client.endpoint()}) {problem.detail}"
        return HubAwayError(subject, reason, "run again to go on: files that are complete are not fetched again")
    return MartletError(f"{subject}: {client.NAME} failed: {problem.detail}; run again to go on")
