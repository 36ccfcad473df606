import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.parallel import ordered, processes, threaded


@pytest.mark.parametrize("count", [1, 3])
def test_results_come_in_order_and_from_other_processes(count: int) -> None:
    found = list(ordered(lambda n: (n * n, os.getpid()), range(50), count))
    assert [square for square, _ in found] == [n * n for n in range(50)]
    assert (os.getpid() in {pid for _, pid in found}) == (count == 1)


def test_a_failure_is_raised_and_the_rest_is_not_begun(tmp_path: Path) -> None:
    def work(n: int) -> int:
        (tmp_path / str(n)).touch()
        if n == 3:
            raise ValueError("the third")
        return n

    with pytest.raises(ValueError, match="the third"):
        list(ordered(work, range(1000), 2))
    assert len(list(tmp_path.iterdir())) < 20


def test_only_a_few_items_are_taken_ahead() -> None:
    taken = []
    results = ordered(abs, (taken.append(n) or n for n in range(1000)), 2)
    assert next(results) == 0
    assert len(taken) <= 5
    results.close()


def test_the_number_of_processes_can_be_chosen() -> None:
    assert processes(1) == 1
    assert processes() >= 1


def test_threads_work_side_by_side_and_their_results_come_in_order() -> None:
    meeting = threading.Barrier(3, timeout=20)
    assert threaded(lambda n: meeting.wait() * 0 + n * n, range(6), 3) == [0, 1, 4, 9, 16, 25]
    assert threaded(abs, [], 3) == []


def test_a_failure_of_a_thread_is_raised_and_the_rest_is_not_begun() -> None:
    begun: list[int] = []

    def work(n: int) -> int:
        begun.append(n)
        if n == 3:
            raise ValueError("the third")
        return n

    with pytest.raises(ValueError, match="the third"):
        threaded(work, range(1000), 1)
    assert begun == [0, 1, 2, 3]


def test_threads_do_not_keep_a_process_from_ending() -> None:
    program = (
        "import time; from components.parallel import threaded, within\n"
        "try: within(0.2, lambda: threaded(time.sleep, [60] * 9, 2))\nexcept TimeoutError: print('too long')"
    )
    start = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert ended.stdout == "too long\n"
    assert time.monotonic() - start < 30
