"""Accuracy: 1 where the answer is the row's, or 0 (verifiable rewards: Lambert et al. 2024, "Tülu 3"; DeepSeek-AI 2025,
"DeepSeek-R1").

Mathematics is compared by math-verify: numbers, fractions, expressions, sets, in LaTeX or plain. The gold may also be
GSM8K's `… #### 42`, and words or a letter, which are compared without case and punctuation. The answer is looked for
behind `</think>` and within `<answer>…</answer>`, in `\\boxed{…}`, behind `####` or `answer is`, or at the end. A row
without gold, or with one that cannot be read, gets None.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from components.config import Params
from components.errors import MartletError
from components.parallel import processes, threaded, within
from components.rewards._sample import Sample
from components.rewards._texts import gold

COLUMNS = ("solution", "answer")
_PROGRAM = Path(__file__).with_name("_math_worker.py")
_START_S = 120.0
_LIMIT_S = 10.0
"""Seconds for one comparison; math-verify's own alarms go off before."""
_WORKERS = 4


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for right answers, 0 for wrong ones, None where there is nothing to compare with."""
    pairs = [(gold(sample.columns), sample.completion) for sample in samples]
    return threaded(_judged, pairs, min(_WORKERS, processes()))


def _judged(pair: tuple[str, str]) -> float | None:
    reference, completion = pair
    if not reference:
        return None
    worker = _waiting() or _Worker()
    same = worker.compare(reference, completion)
    if worker.is_alive():
        _idle.put(worker)
    return None if same is None else float(same)


def _waiting() -> "_Worker | None":
    """Return a worker of an earlier batch that still lives, or None."""
    with contextlib.suppress(Empty):
        while not (worker := _idle.get_nowait()).is_alive():
            pass
        return worker
    return None


class _Worker:
    """A process that compares one pair at a time; it ends when its input closes. Ctrl-C does not reach it, since a
    training judges the answers of its last step to the end."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "HOME")}
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(_PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=environment, text=True, start_new_session=True,
        )  # fmt: skip
        if self._read(_START_S) != "ready\n":
            raise MartletError(f"accuracy: `{sys.executable} -I {_PROGRAM}` does not start; run it to see why")

    def compare(self, gold: str, answer: str) -> bool | None:
        """Return whether an answer is the gold's, None where the gold is unreadable; an answer on which the process
        hangs or dies is not."""
        stream: IO[str] = self._process.stdin  # type: ignore[assignment]
        stream.write(json.dumps({"gold": gold, "answer": answer}) + "\n")
        stream.flush()
        return json.loads(self._read(_LIMIT_S) or "false")

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def _read(self, seconds: float) -> str:
        """Return the next line, or nothing after `seconds` or the process's end, which is dead then."""
        stream: IO[str] = self._process.stdout  # type: ignore[assignment]
        try:
            line = within(seconds, stream.readline)
        except TimeoutError:
            line = ""
        if not line:
            self._process.kill()
            self._process.wait()
        return line


_idle: "SimpleQueue[_Worker]" = SimpleQueue()
"""Workers that wait for a pair; they are kept from batch to batch."""
