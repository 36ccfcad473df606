"""Errors whose message is for the user, each with an exit code.

Nothing heavy is imported here: every command imports this file first.
"""

import errno
import re
from collections.abc import Iterable

_USER = re.compile(r"(?<=://)[^/?#\s'\"<>]*@")
_SECRET = re.compile(r"(?i)([?&;][^=&;\s]*(?:token|key|secret|passw|pwd|sig)[^=&;\s]*=)[^&;\s'\"<>)]+")


def without_credentials(text: str) -> str:
    """Return a text with user, password and secret parameters of every URL in it masked."""
    return _SECRET.sub(r"\1•••", _USER.sub("•••@", text))


class MartletError(Exception):
    """A failure with one clear message: what was wrong, where, and what to do next. Exit code 1.

    The message goes to screens, logs and reports, so credentials in its URLs are masked.
    """

    exit_code = 1

    def __init__(self, *arguments: object):
        super().__init__(*(without_credentials(text) if isinstance(text, str) else text for text in arguments))


class ConfigError(MartletError):
    """The configuration or the command line is wrong. Exit code 2."""

    exit_code = 2


class DataGateError(MartletError):
    """The data gate closed. Exit code 3."""

    exit_code = 3


class EvaluationGateError(MartletError):
    """The evaluation gate closed: the candidate is not promoted. Exit code 4."""

    exit_code = 4


class InterruptedRunError(MartletError):
    """The user stopped the work; what was finished is kept. Exit code 130."""

    exit_code = 130


ERRORS: dict[int, type[MartletError]] = {
    error.exit_code: error
    for error in (MartletError, ConfigError, DataGateError, EvaluationGateError, InterruptedRunError)
}
"""Error class by exit code."""

_FULL_DISK = "the disk is full; make room, and run again"
_SYSTEM_ERRORS = {
    errno.ENOSPC: _FULL_DISK,
    errno.EDQUOT: "the quota of this disk is used up; make room, and run again",
    errno.EROFS: "the disk is read-only; work in another folder",
    errno.EACCES: "permission denied; work in another folder, or mend its permissions",
    errno.EISDIR: "a folder stands where a file belongs; move it away, and run again",
    errno.ENOTDIR: "a file stands where a folder belongs; move it away, and run again",
    errno.ELOOP: "a link that leads nowhere; remove it, and run again",
}
_FULL_DISK_WORDS = ("No space left", "database or disk is full")
"""What libraries say of a full disk in errors of their own: Arrow, Rust and SQLite."""


def system_problem(error: BaseException) -> str:
    """Return what is wrong with a disk or a path that an error tells of, and what to do, or an empty string."""
    if isinstance(error, OSError) and error.errno in _SYSTEM_ERRORS:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{_SYSTEM_ERRORS[error.errno]}"
    return _FULL_DISK if any(words in str(error) for words in _FULL_DISK_WORDS) else ""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the nearest valid name where `name` differs by slips of the hand alone, or an
    empty string.

    A slip is a character too many, too few, wrong, or exchanged with its neighbour; there may be one in six characters.
    """
    slips = 1 + len(name) // 6
    distances = ((_distance(name.lower(), x.lower()), x) for x in valid if abs(len(x) - len(name)) <= slips)
    distance, nearest = min(distances, key=lambda pair: pair[0], default=(slips + 1, ""))
    return f" (did you mean '{nearest}'?)" if distance <= slips else ""


def _distance(one: str, other: str) -> int:
    """Return the Damerau-Levenshtein distance (optimal string alignment): the number of characters that were inserted,
    deleted, replaced, or exchanged with their neighbour."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]
