"""What a stage tells while it runs, read from its log folder: for the terminal and for Prefect's log."""

import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components import figures
from components.by_dataset import losses
from components.texts import duration, size

STEP_LOG_INTERVAL_S = 10.0
"""Least time between two steps of a training in Prefect's log."""


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
                            if entry := _entry(line):
                                show(entry)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(timeout=5)


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return a line of progress, or None for one that is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


@contextmanager
def telling(log: Path, say: Callable[[str], None]) -> Generator[None]:
    """Call `say` with the progress of the stage that logs to the folder `log` while the block runs, steps every
    `STEP_LOG_INTERVAL_S`, and after the block with the last step and the stage's own output."""
    last_time, untold = 0.0, ""

    def show(entry: dict[str, Any]) -> None:
        nonlocal last_time, untold
        if "rollouts" in entry:  # which the page shows
            return
        text = describe(entry) or ""
        is_due = "message" in entry or time.monotonic() - last_time >= STEP_LOG_INTERVAL_S
        if text and is_due:
            say(text)
            last_time = time.monotonic()
        untold = "" if is_due else text

    try:
        with following(log / "progress.jsonl", show, every=0.5):
            yield
    finally:
        for line in filter(None, [untold, *own_lines((log / "output.log").read_text(errors="replace"))]):
            say(line)


def own_lines(output: str) -> list[str]:
    """Return the lines of a stage's `output.log` that the stage wrote itself, without those of DVC around them."""
    lines = [line.strip() for line in output.split("\n")]
    end = next((n for n, line in enumerate(lines) if line.endswith(" lock file 'dvc.lock'")), len(lines))
    return [line for line in lines[:end] if line and not line.startswith(_DVC_LINES)]


_DVC_LINES = ("ERROR: ", "> ", "Running stage", "WARNING: ", "Stage '")


def describe(entry: dict[str, Any]) -> str | None:
    """Return a line of progress as text, of rollouts a line for each, or None for an entry with neither a message nor a
    step."""
    if "message" in entry:
        return str(entry["message"])
    if "rollouts" in entry:
        return "\n".join(f"step {entry['step']}  {_rollout(rollout)}" for rollout in entry["rollouts"])
    if "step" not in entry:
        return None
    subject = f"{entry['candidate']}: " if "candidate" in entry else ""
    parts = [f"{subject}step {entry['step']}" + (f"/{entry['total_steps']}" if "total_steps" in entry else "")]
    for key, text in (
        ("loss", "loss {:.4f}"),
        ("token_acc", "token acc {:.3f}"),
        *figures.SHORT.items(),
        ("eval_loss", "eval loss {:.4f}"),
        *((f"eval_{name}", f"eval {text}") for name, text in figures.SHORT.items()),
        ("eval_token_acc", "eval token acc {:.3f}"),
        ("eval_acc", "eval acc {:.3f}"),
        ("eval_f1", "eval f1 {:.3f}"),
        ("eval_mae", "eval mae {:.4g}"),
        ("eval_recall_at_1", "eval recall at 1 {:.3f}"),
        ("eval_spearman", "eval spearman {:.3f}"),
        ("learning_rate", "lr {:.2e}"),
        ("grad_norm", "grad norm {:.3g}"),
        ("tokens_per_second", "{:,.0f} tok/s"),
        ("mfu", "MFU {:.0%}"),
        ("checkpoint", "{} written"),
    ):
        if entry.get(key) is not None:
            parts.append(text.format(entry[key]))
        if key == "eval_loss" and (of_each := losses(entry)):
            parts.append(f"({', '.join(f'{name} {loss:.4f}' for name, loss in of_each.items())})")
    if "memory" in entry and "eta" in entry:
        parts += [size(entry["memory"]), f"{duration(entry['eta'])} left"]
    return "  ".join(parts)


ROLLOUT_CHARS = 60
"""Characters of a prompt's end, and of a completion's beginning, in the line of a rollout."""


def _rollout(rollout: dict[str, Any]) -> str:
    """Return the end of a prompt, the beginning of its completion, and the reward."""
    prompt, completion = (
        " ".join("".join(c if c.isprintable() else " " for c in rollout[name]).split())
        for name in ("prompt", "completion")
    )
    start = "…" * (len(prompt) > ROLLOUT_CHARS) + prompt[-ROLLOUT_CHARS:]
    answer = completion[:ROLLOUT_CHARS] + "…" * (len(completion) > ROLLOUT_CHARS)
    return f"{start} → {answer}  reward {rollout['reward']:.4g}"
