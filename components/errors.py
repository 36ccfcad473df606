"""Errors whose message is for the user, each with an exit code.

Nothing heavy is imported here: every command imports this file first.
"""

import difflib
from collections.abc import Iterable


class MartletError(Exception):
    """A failure with one clear message: what was wrong, where, and what to do next. Exit code 1."""

    exit_code = 1


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


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return `" (did you mean 'x'?)"` for the nearest valid name, or an empty string."""
    nearest = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""
