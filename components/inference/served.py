"""The engines behind the names that clients ask for; an engine is exchanged without a lost request."""

import threading
import time
from collections import Counter
from collections.abc import Mapping

from components.inference.api import LocalEngine

POLL_S = 0.05
RETIREMENT_S = 600.0
"""How long an engine that was replaced may still answer what it has begun."""


class Served:
    """Names and their engines, and how many requests each engine is answering. Any thread may use it."""

    def __init__(self, engines: Mapping[str, LocalEngine]):
        self._engines = dict(engines)
        self._open: Counter[LocalEngine] = Counter()
        self._retired: set[LocalEngine] = set()
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        return list(self._engines)

    @property
    def engines(self) -> set[LocalEngine]:
        return set(self._engines.values())

    def engine(self, name: str) -> LocalEngine:
        """Return the engine of a name."""
        return self._engines[name]

    def enter(self, engine: LocalEngine) -> bool:
        """Count a request that `engine` answers, up to `leave`; return False for an engine that is retired."""
        with self._lock:
            if engine in self._retired:
                return False
            self._open[engine] += 1
            return True

    def leave(self, engine: LocalEngine) -> None:
        """Count a request as answered."""
        with self._lock:
            self._open[engine] -= 1

    def put(self, name: str, engine: LocalEngine) -> None:
        """Answer further requests for `name` with `engine`."""
        with self._lock:
            self._engines[name] = engine

    def remove(self, name: str) -> None:
        """Answer no further requests for `name`."""
        with self._lock:
            del self._engines[name]

    def retire(self, engine: LocalEngine, timeout_s: float) -> bool:
        """Wait until an engine without a name has answered its requests, and let no more in; return whether it has."""
        deadline = time.monotonic() + timeout_s
        while True:
            with self._lock:
                if not self._open[engine]:
                    self._retired.add(engine)
                    del self._open[engine]
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)
