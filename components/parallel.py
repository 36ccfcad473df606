"""A map over batches in several processes: results in order, only a few batches in memory."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from components.errors import MartletError

KILLED_MESSAGE = (
    "a process that prepares the data was killed, perhaps because memory ran out; run again, with fewer processes "
    "(--dataset_num_proc 1)"
)
Item = TypeVar("Item")
Result = TypeVar("Result")


def processes(count: int | None = None) -> int:
    """Return the number of processes to use: `count`, by default one for each core that this process may use.

    Always 1 where processes cannot be forked safely (macOS, Windows).
    """
    if not sys.platform.startswith("linux"):
        return 1
    return count or len(os.sched_getaffinity(0))


def ordered(work: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[Result]:
    """Yield `work(item)` for each item, in order, from `count` forked processes (1: from this process).

    Forked processes inherit `work`, which need not be picklable. An exception of `work` is raised here. Call this
    function before a library starts threads, which do not survive a fork.
    """
    if count == 1:
        yield from map(work, items)
        return
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    remaining = iter(items)
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(count, get_context("fork"), _start_worker, (work,)) as pool:
        try:
            waiting.extend(pool.submit(_call, item) for item in islice(remaining, 2 * count))
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_call, item) for item in islice(remaining, 1))
        except BrokenProcessPool as error:
            raise MartletError(KILLED_MESSAGE) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def no_garbage() -> Generator[None]:
    """Pause the garbage collector while a batch of rows is in memory.

    The collector would traverse the many objects of the batch again and again, and rows have no reference cycles.
    """
    import gc

    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return `call()`, which may wait for a network in a way that no signal interrupts.

    Raises:
        TimeoutError: there is no result after `seconds`; the thread of the call stays behind, and does not keep the
            process from ending.
    """
    from concurrent.futures import Future

    future: Future[Result] = Future()

    def fulfil() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # is raised by `result`
            future.set_exception(error)

    threading.Thread(target=fulfil, daemon=True).start()
    return future.result(seconds)


def threaded(work: Callable[[Item], Result], items: Sequence[Item], count: int) -> list[Result]:
    """Return `work(item)` for each item, in order, from `count` threads, which do not keep the process from ending.

    The first exception of `work` is raised here, and no further item is begun.
    """
    waiting, results = deque(enumerate(items)), dict[int, Result]()
    failures: list[Exception] = []

    def serve() -> None:
        while not failures:
            try:
                place, item = waiting.popleft()
            except IndexError:
                return
            try:
                results[place] = work(item)
            except Exception as error:  # is raised below
                failures.append(error)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(min(count, len(items)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return [results[place] for place in range(len(items))]


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends (on Linux; a no-op elsewhere)."""
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


_work: Callable[[Any], Any] = print


def _start_worker(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    die_with_parent()
    for variable in ("RAYON_NUM_THREADS", "POLARS_MAX_THREADS"):  # each library would start a thread per core
        os.environ[variable] = "1"


def _call(item: Any) -> Any:
    return _work(item)
