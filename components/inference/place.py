"""The place before the clients of a front: which program answers, and how many requests it has open."""

import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from starlette.exceptions import HTTPException

from components.inference.app import Room
from components.inference.served import POLL_S

RETRY_AFTER_S = 5


class Upstream:
    """Where a program listens, `http://127.0.0.1:PORT`, and the key that it demands."""

    def __init__(self, root: str, key: str):
        self.root, self.key = root, key


class Place(Room):
    """Which program answers, if one does, and how many requests each has open. Any thread may use it.

    Args:
        places: requests that may wait.
        at_once: requests that a program computes together.
    """

    def __init__(self, places: int, at_once: int):
        super().__init__(places, self._load)
        self.at_once = at_once
        self.upstream: Upstream | None = None
        self._open: Counter[Upstream] = Counter()
        self._lock = threading.Lock()

    def _load(self) -> tuple[int, int]:
        count = self._open.total()
        return min(count, self.at_once), max(count - self.at_once, 0)

    def require(self) -> None:
        """Raise HTTPException 503 if no program answers now, or 429 if no place is free."""
        if self.upstream is None:
            raise absent()
        super().require()

    @contextmanager
    def entered(self) -> Generator[Upstream]:
        """Enter with the program that answers; the request counts as its own up to the end of the block.

        Raises:
            HTTPException: no program answers now.
        """
        with self._lock:
            upstream = self.upstream
            if upstream is None:
                raise absent()
            self._open[upstream] += 1
        try:
            yield upstream
        finally:
            with self._lock:
                self._open[upstream] -= 1

    def put(self, upstream: Upstream | None) -> None:
        """Let a program, or none, answer further requests."""
        with self._lock:
            self.upstream = upstream

    def remove(self, upstream: Upstream) -> bool:
        """Let a program answer no further requests; return False where it did not answer any more."""
        with self._lock:
            if self.upstream is not upstream:
                return False
            self.upstream = None
            return True

    def wait_until_idle(self, upstream: Upstream, timeout_s: float) -> None:
        """Wait until a program that was put out of its place has answered its open requests."""
        deadline = time.monotonic() + timeout_s
        while self._open[upstream] and time.monotonic() < deadline:
            time.sleep(POLL_S)


def absent() -> HTTPException:
    """Return the refusal of a request while no program answers."""
    return HTTPException(503, "the engine is being started; try again later", {"Retry-After": str(RETRY_AFTER_S)})
