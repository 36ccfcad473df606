"""Promotions and rollbacks in processes that are forked from one with MLflow imported, and no store open.

    python -m tests.components.registry.forks kills WORKSPACE NAME 50
    python -m tests.components.registry.forks race WORKSPACE NAME 20

Both print JSON about what they have seen. The model needs four versions.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from components.errors import MartletError
from components.registry import champion, history, promote, rollback, verify
from components.registry.store import connected

for module in ("mlflow.tracking", "mlflow.store.model_registry.sqlalchemy_store"):
    import_module(module)
VERSIONS = range(1, 5)


def forked(work: Callable[[], Any]) -> tuple[int, int]:
    """Start a process that works and writes the result as JSON; return its number and the pipe to read from."""
    reader, writer = os.pipe()
    if child := os.fork():
        os.close(writer)
        return child, reader
    os.close(reader)
    try:
        os.write(writer, json.dumps(work()).encode())
    finally:
        os._exit(0)


def result_of(child: int, reader: int) -> Any:
    """Wait for a process, and return what it has written, or None."""
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def move(name: str, workspace: Path, generator: random.Random, why: str) -> str | None:
    """Promote a version over the champion, or roll back; return the move's id, or None where there was none."""
    now = champion(name, workspace)
    number = now.number if now else None
    try:
        if generator.random() < 0.4:
            return rollback(name, workspace, why=why).id
        entry = promote(name, generator.choice(VERSIONS), workspace, why, over=number)
        return entry.id if entry else None
    except MartletError as error:
        assert "has changed from" in str(error) or "nothing to roll back to" in str(error), error
        return None


def state(name: str, workspace: Path) -> dict[str, Any]:
    """The faults before and after the next command, the lines of the journal, and the aliases."""
    before = verify(name, workspace)
    champion(name, workspace)
    with connected(workspace) as client:
        aliases = client.get_registered_model(name).aliases
    lines = [entry.line for entry in history(name, workspace)]
    last = history(name, workspace)[-1]
    wanted = {alias: n for alias, n in (("champion", last.version), ("previous", last.previous)) if n}
    return {
        "before": before,
        "after": verify(name, workspace),
        "lines": lines,
        "half-moved": {alias: int(n) for alias, n in aliases.items()} != wanted,
    }


def kills(name: str, workspace: Path, count: int) -> dict[str, int]:
    """Kill a move at a random time `count` times, and look at the registry with the next command."""
    generator, longest, seen = random.Random(0), 0.5, Counter[str]()
    lines: list[str] = []
    for number in range(count):
        go, ready = os.pipe()

        def work(ready: int = ready, seed: int = number) -> str | None:
            champion(name, workspace)  # opens the store
            os.write(ready, b"!")
            return move(name, workspace, random.Random(seed), f"try {seed}")

        child, reader = forked(work)
        os.read(go, 1)
        began = time.monotonic()
        if number:  # the first is not killed: it tells how long a move takes
            time.sleep(generator.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
        finished = result_of(child, reader)
        longest = longest if number else time.monotonic() - began
        os.close(go)
        os.close(ready)
        seen_state = result_of(*forked(lambda: state(name, workspace)))
        seen["interrupted"] += any("was interrupted" in fault for fault in seen_state["before"])
        seen["finished"] += finished is not None
        seen["half-moved aliases"] += seen_state["half-moved"]
        seen["lost lines"] += seen_state["lines"][: len(lines)] != lines
        seen["faults after the next command"] += len(seen_state["after"])
        lines = seen_state["lines"]
    return {**seen, "kills": count - 1, "lines": len(lines)}


def race(name: str, workspace: Path, count: int) -> dict[str, Any]:
    """Make `count` moves from four processes at once."""

    def work(process: int) -> list[str]:
        generator, made = random.Random(process), list[str]()
        while len(made) < count // 4:
            if identity := move(name, workspace, generator, f"process {process}"):
                made.append(identity)
        return made

    children = [forked(lambda process=process: work(process)) for process in range(4)]
    made = [result_of(*child) for child in children]
    entries = history(name, workspace)
    return {"made": list(chain(*made)), "journal": [entry.id for entry in entries], "faults": verify(name, workspace),
            "changes": [(entry.before, entry.version) for entry in entries]}  # fmt: skip


if __name__ == "__main__":
    program, folder, model, number = sys.argv[1:]
    print(json.dumps({"kills": kills, "race": race}[program](model, Path(folder), int(number))))
