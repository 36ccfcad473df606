"""Work on batches in several processes, results in order, only a few batches in memory."""

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from components.errors import MartletError

KILLED = (
    "a process that prepares the data was killed; it may have been for its memory: run again, or with fewer at "
    "once (--dataset_num_proc 1)"
)
Item = TypeVar("Item")
Result = TypeVar("Result")


def processes(wanted: int | None = None) -> int:
    """How many processes to use: `wanted`, or one for each core that this process may use.

    One where processes cannot be forked safely (macOS, Windows).
    """
    if not sys.platform.startswith("linux"):
        return 1
    return wanted or len(os.sched_getaffinity(0))


def ordered(work: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order, worked on in `count` forked processes (1: in this one).

    `work` is not pickled: a forked process already has it, with all that was loaded before. What it raises is raised
    here. Fork before any thread of a library is started.
    """
    if count == 1:
        yield from map(work, items)
        return
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    remaining = iter(items)
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(count, get_context("fork"), _begin, (work,)) as pool:
        try:
            waiting.extend(pool.submit(_work, item) for item in islice(remaining, 2 * count))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_work, item) for item in islice(remaining, 1))
        except BrokenProcessPool as error:
            raise MartletError(KILLED) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def no_garbage() -> Generator[None]:
    """Keep the collector of reference cycles away from a batch of rows.

    It would walk the many objects of a batch again and again, and rows have no cycles.
    """
    import gc

    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def die_with_parent() -> None:
    """End this process when the one that forked it does, however that ends (Linux; elsewhere nothing is done)."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


_job: Callable[[Any], Any] = print


def _begin(work: Callable[[Any], Any]) -> None:
    global _job
    _job = work
    die_with_parent()
    for library in ("RAYON_NUM_THREADS", "POLARS_MAX_THREADS"):  # each would start a thread per core
        os.environ[library] = "1"


def _work(item: Any) -> Any:
    return _job(item)
