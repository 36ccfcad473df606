"""Guards: limits that a candidate must keep, whatever its scores; one file each.

A guard looks at the answers of candidate and baseline to the same questions, and gives a verdict, or None where it has
nothing to look at or its limit is not set. A user's guard is a file of `external_plugins`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from components.config.groups.gate import Gate
from components.evaluation.verdict import GuardVerdict
from components.plugins import Kind

Record = dict[str, Any]
Pair = tuple[Record, Record]
"""The candidate's and the baseline's record of one question."""


class Guard(Protocol):
    """What the file of a guard defines."""

    def guard(self, pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
        """Return the verdict on the answers, or None."""
        ...


GUARDS = Kind("guard", "external_plugins", __name__, Guard)


def verdicts(pairs: Sequence[Pair], gate: Gate, external: Sequence[Path] = ()) -> tuple[GuardVerdict, ...]:
    """Return the verdicts of all guards that have one, by the guards' names."""
    outcomes = [GUARDS.load(name, external).guard(pairs, gate) for name in GUARDS.names(external)]
    return tuple(outcome for outcome in outcomes if outcome)


def shares(pairs: Sequence[Pair], holds: Callable[[Record], bool]) -> tuple[float, float]:
    """Return the shares of the candidate's and of the baseline's records for which `holds`."""
    return tuple(sum(holds(pair[side]) for pair in pairs) / len(pairs) for side in (0, 1))  # type: ignore[return-value]


def at_most(name: str, value: float, limit: float) -> GuardVerdict:
    """Return the verdict on a value that has an upper limit."""
    return GuardVerdict(name, value <= limit, round(value, 6), round(limit, 6))
