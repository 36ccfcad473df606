"""Answers are compared with golds of many forms, and none of them hangs or ends the training."""

import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
import pytest

from components.config import Params
from components.rewards import accuracy
from tests.components.rewards.judged import given, sample

RIGHT = [
    ("\\boxed{42}", "42"),
    ("The answer is 42.", 42),
    ("It costs $1,234.", "1234"),
    ("#### 1,234", "10 * 123.4 = 1,234\n#### 1,234"),
    ("so 5 + 37 = 42\n#### 42", "5 + 37 = <<5+37=42>>42\n#### 42"),
    ("\\boxed{0.5}", "$\\frac{1}{2}$"),
    ("\\boxed{\\frac{1}{2}}", 0.5),
    ("\\boxed{1+x}", "x + 1"),
    ("$$\\boxed{\\frac{\\sqrt3}{2}}$$", "\\dfrac{\\sqrt{3}}{2}"),
    ("\\boxed{(1,2)}", "(1, 2)"),
    ("\\boxed{\\{2, 1\\}}", "$\\{1, 2\\}$"),
    ("\\boxed{50\\%}", "50%"),
    ("It is -3.", "-3"),
    ("\\boxed{4}", "We find that $x = 4$. Thus \\boxed{4}"),
    ("<think>5? no, \\boxed{5}</think>\\boxed{4}", "4"),
    ("<think>5?</think><answer>4</answer>", "4"),
    ("after a </think> tag\n\\boxed{4}", "4"),
    ("\\boxed{Paris}", "Paris"),
    ("The capital is far away.\nAnswer: **paris.**", "Paris"),
    ("The answer is: (B)", "B"),
    ("<think>A or B</think><answer> b </answer>", "B"),
    ("\\boxed{\\text{Yes}}", "yes"),
    ("New  York", "new york"),
    ("\\boxed{3:30}", "3:30"),
    ("\\boxed{7}", ["7"]),
    ("\\boxed{北京}", "北京"),
]
WRONG = [
    ("\\boxed{41}", "42"),
    ("", "42"),
    ("no idea", "42"),
    ("4 is wrong, \\boxed{5}", "4"),
    ("<think>\\boxed{4}, but", "4"),
    ("<think>\\boxed{4}</think>I do not know", "4"),
    ("\\boxed{3:45}", "3:30"),
    ("London", "Paris"),
    ("Paris or London", "Paris"),
    ("\\boxed{x+2}", "x+1"),
    ("\\boxed{", "4"),
    ("$\\frac{$ \x00 \ud800 {{{", "4"),
    ("", "Paris"),
    ("\\boxed{9^{9^{9^{9}}}}", "4"),
    ("\\boxed{" + "(" * 5000 + "}", "4"),
    ("1" * 20000, "4"),
]


def test_right_answers() -> None:
    values = given("accuracy", *(sample(completion, solution=gold) for completion, gold in RIGHT))
    assert [pair for pair, value in zip(RIGHT, values, strict=True) if value != 1] == []


def test_wrong_answers() -> None:
    values = given("accuracy", *(sample(completion, solution=gold) for completion, gold in WRONG))
    assert [pair for pair, value in zip(WRONG, values, strict=True) if value != 0] == []


@pytest.mark.parametrize("gold", [None, "", "  ", "####", "$\\foo{$", "...", "a word " * 30, [], {}])
def test_a_gold_that_says_nothing(gold: Any) -> None:
    assert given("accuracy", sample("\\boxed{4}", solution=gold), sample("\\boxed{4}")) == [None, None]


def test_the_solution_goes_before_the_answer() -> None:
    assert given("accuracy", sample("4", solution="4", answer="5"), sample("5", answer="5")) == [1.0, 1.0]
    assert given("accuracy", sample("5", solution=None, answer="5")) == [1.0]


def workers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "_math_worker.py" in str(child.cmdline())]


def test_an_answer_that_hangs_or_ends_its_process_is_wrong_and_the_next_is_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As sympy does in a power of many digits, which no alarm interrupts."""
    right = sample("\\boxed{4}", solution="4")
    for signum in (signal.SIGSTOP, signal.SIGKILL):
        assert given("accuracy", right, right) == [1.0, 1.0]
        before = workers()
        for worker in before:
            worker.send_signal(signum)
        if signum == signal.SIGSTOP:
            monkeypatch.setattr(accuracy, "_LIMIT_S", 0.5)
            assert given("accuracy", right)[0] == 0.0
            monkeypatch.undo()
            for worker in workers():
                worker.send_signal(signal.SIGCONT)
        else:
            while any(worker.status() != psutil.STATUS_ZOMBIE for worker in before):
                time.sleep(0.01)
        assert given("accuracy", right, right) == [1.0, 1.0]
        assert {*before} - {*workers()}


INTERRUPTED = """
import os, signal
from components.config import Params
from components.rewards import Sample, accuracy
signal.signal(signal.SIGINT, lambda *_: None)
right = Sample([], "\\\\boxed{4}", [], 1, False, {"solution": "4"})
assert accuracy.rewards([right], Params()) == [1.0]
os.killpg(0, signal.SIGINT)
print(accuracy.rewards([right] * 8, Params()))
"""


def test_ctrl_c_does_not_make_right_answers_wrong() -> None:
    """A terminal sends it to all processes of the command, which first judges the answers of its step to the end."""
    command = [sys.executable, "-c", INTERRUPTED]
    ended = subprocess.run(command, capture_output=True, text=True, start_new_session=True, timeout=120)
    assert ended.stdout == f"{[1.0] * 8}\n", ended.stderr


def test_processes_are_kept_and_batches_go_side_by_side() -> None:
    samples = [sample(f"\\boxed{{{n % 3}}}", solution="1") for n in range(60)]
    given("accuracy", *samples)
    begin, results = time.monotonic(), []
    threads = [threading.Thread(target=lambda: results.append(accuracy.rewards(samples, Params()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[float(n % 3 == 1) for n in range(60)]] * 3
    assert time.monotonic() - begin < 60
