"""Training progress on the terminal, read from the `progress.jsonl` that also feeds MLflow."""

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def following(file: Path, show: Callable[[dict[str, Any]], None], every: float = 0.05) -> Generator[None]:
    """Call `show` with each line appended to `file` while the block runs, looking every `every` seconds and at the end
    of the block."""
    end = threading.Event()

    def follow() -> None:
        position = 0
        is_last_look = False
        while not is_last_look:
            is_last_look = end.wait(every)
            if file.is_file():
                with file.open("rb") as stream:
                    stream.seek(position)
                    for line in stream:
                        if line.endswith(b"\n"):
                            position += len(line)
                            show(json.loads(line))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(timeout=5)


def describe(entry: dict[str, Any]) -> str | None:
    """Return a line of progress as text, or None for an entry with neither a message nor a step."""
    if "message" in entry:
        return str(entry["message"])
    if "step" not in entry:
        return None
    parts = [f"step {entry['step']}" + (f"/{entry['total_steps']}" if "total_steps" in entry else "")]
    for key, text in (
        ("loss", "loss {:.4f}"),
        ("eval_loss", "eval loss {:.4f}"),
        ("learning_rate", "lr {:.2e}"),
        ("tokens_per_second", "{:,.0f} tok/s"),
        ("eta", "{:.0f} s left"),
    ):
        if entry.get(key) is not None:
            parts.append(text.format(entry[key]))
    return "  ".join(parts)
