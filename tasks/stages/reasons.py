"""Why the processes of a training ended: each tells its reason at the store where they meet, numbered in the order in
which they came, so that clocks of several machines need not agree."""

import json
from typing import TYPE_CHECKING, Any

from components.errors import ERRORS, MartletError
from components.parallel import within

if TYPE_CHECKING:
    from torch.distributed import Store

ANSWER_S = 30
"""Seconds that a store on another machine has for an answer; a machine that lost its network closes no connection."""


def tell(store: "Store", attempt: int, rank: int, error: MartletError, is_cause: bool = False) -> None:
    """Add the reason why a process failed in an attempt to train.

    Args:
        is_cause: the process was killed, so failures that were told before may be a consequence of this one.

    Raises:
        RuntimeError: the store is gone.
        TimeoutError: it does not answer.
    """
    reason = {"rank": rank, "message": str(error), "exit_code": error.exit_code, "is_cause": is_cause}

    def add() -> None:
        number = store.add(f"reasons/{attempt}", 1)
        store.set(f"reason/{attempt}/{number}", json.dumps(reason))

    within(ANSWER_S, add)


def told(store: "Store", attempt: int) -> list[dict[str, Any]]:
    """Return the reasons of an attempt, in the order in which they came."""

    def read() -> list[dict[str, Any]]:
        keys = (f"reason/{attempt}/{number + 1}" for number in range(store.add(f"reasons/{attempt}", 0)))
        return [json.loads(store.get(key)) for key in keys if store.check([key])]

    return within(ANSWER_S, read)


def first(store: "Store", attempt: int) -> MartletError | None:
    """Return the error that made an attempt fail, or None."""
    reason = min(told(store, attempt), key=lambda reason: not reason["is_cause"], default=None)
    return ERRORS.get(reason["exit_code"], MartletError)(reason["message"]) if reason else None
