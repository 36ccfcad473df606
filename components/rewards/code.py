"""Code: the share of its tests that the answer's program passes (Le et al. 2022, "CodeRL: Mastering Code Generation
through Pretrained Models and Deep Reinforcement Learning").

The program is the last block of the answer between ```` ```python ```` and ```` ``` ````; an answer without one gets 0.
The row has one of

- `tests`: a script that raises where the program is wrong (`assert add(1, 2) == 3`, functions `test_…`), or a list of
  scripts, each a test. The script sees the names of the program. It runs in the program's process, so a model can learn
  to deceive it, by a class that equals everything for instance; inputs and outputs cannot be deceived.
- `input_output`: `{"inputs": […], "outputs": […]}`, the texts of standard input and of the output that is expected.
- `test_cases`: a list of `{"input": …, "output": …}`.

Each of the last two may stand as JSON. Every test is a process in a cage (`_cage.py`): no network, no files but an
empty /tmp, no environment. On a system that lets no cage be made nothing is run, and the reward is refused.
"""

import ast
import json
import os
import re
import secrets
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.config import Params
from components.errors import ConfigError
from components.parallel import processes, threaded
from components.rewards._sample import Sample

COLUMNS = ("tests", "input_output", "test_cases")
_CAGE = Path(__file__).with_name("_cage.py")
_BLOCK = re.compile(r"^[ \t]*```[ \t]*(?:python3?|py)[ \t]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_GRACE_S = 30.0
"""Seconds beyond a program's own for making and leaving the cage."""
_SCRIPT = """\
import json, os, sys, types

def main():
    job = json.load(sys.stdin)
    os.dup2(os.open("/dev/null", 0), 0)
    answer = sys.modules["answer"] = types.ModuleType("answer")
    exec(compile(job["program"], "answer.py", "exec"), answer.__dict__)
    before = set(answer.__dict__)
    exec(compile(job["tests"], "tests.py", "exec"), answer.__dict__)
    for name, value in list(answer.__dict__.items()):
        if name.startswith("test_") and name not in before and callable(value):
            value()
    print("\\n" + job["proof"], flush=True)
    os._exit(0)

main()
"""
"""The program that tests by a script. It ends with a secret word, so to end the process passes nothing."""


class _Case(NamedTuple):
    """A script, or else an input and what is to be printed."""

    script: str | None
    input: str = ""
    output: str = ""


def check(params: Params) -> None:
    """Refuse where no cage can be made."""
    if not sys.platform.startswith("linux"):
        raise ConfigError("reward_funcs: code runs programs in a cage that only Linux has; leave it out here")
    try:
        output = _output("print('ok')", "", params.reward.code_timeout, params.reward.code_memory_gb)
    except RuntimeError as error:
        raise ConfigError(
            f"reward_funcs: code is refused, because this system lets no cage be made ({error}); allow user "
            "namespaces, as docs/rewards.md says, or leave code out"
        ) from None
    if output != "ok\n":
        raise ConfigError("code_timeout, code_memory_gb: Python does not start within these limits; raise them")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:
    """Return the share of tests passed, None where the row has none.

    Raises:
        ValueError: a row's tests cannot be read.
    """
    cases = [_cases(sample.columns) for sample in samples]
    seconds, memory = params.reward.code_timeout, params.reward.code_memory_gb
    answers = [(sample.completion, tests) for sample, tests in zip(samples, cases, strict=True)]
    return threaded(lambda answer: _share(*answer, seconds, memory), answers, processes())


def check_row(columns: dict[str, Any]) -> None:
    """Raise ValueError if the tests of a row cannot be read."""
    _cases(columns)


def _cases(columns: dict[str, Any]) -> list[_Case]:
    name = next((name for name in COLUMNS if columns.get(name)), None)
    if name is None:
        return []
    value = columns[name]
    if name == "tests":
        scripts = [value] if isinstance(value, str) else value
        if not isinstance(scripts, list) or not all(isinstance(script, str) for script in scripts):
            raise ValueError(f"column tests: a script or a list of scripts, not {str(value)[:80]}")
        for script in scripts:
            _require_python(script)
        return [_Case(script) for script in scripts]
    value = json.loads(value) if isinstance(value, str) else value
    try:
        if name == "test_cases":
            pairs = [(case["input"], case["output"]) for case in value]
        else:
            pairs = list(zip(value["inputs"], value["outputs"], strict=True))
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"column {name}: not inputs and their outputs: {str(value)[:80]}") from None
    if "fn_name" in value:
        raise ValueError("column input_output: calls of a function (fn_name) are not run; write them as `tests`")
    return [_Case(None, _text(given), _text(wanted)) for given, wanted in pairs]


def _require_python(script: str) -> None:
    try:
        ast.parse(script)
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise ValueError(f"column tests: no Python: {getattr(error, 'msg', None) or error}{line}") from None


def _text(value: Any) -> str:
    """Return a text as it is, a list as its lines."""
    return "\n".join(map(str, value)) if isinstance(value, list) else str(value)


def _share(completion: str, cases: list[_Case], seconds: float, memory: float) -> float | None:
    """Return the share of cases passed; `seconds` are for all together."""
    if not cases:
        return None
    blocks = _BLOCK.findall(completion.replace("\r\n", "\n"))
    if not blocks:
        return 0.0
    deadline, passed = time.monotonic() + seconds, 0
    for case in cases:
        left = deadline - time.monotonic()
        passed += left > 0 and _passes(blocks[-1], case, left, memory)
    return passed / len(cases)


def _passes(program: str, case: _Case, seconds: float, memory: float) -> bool:
    if case.script is None:
        output = _output(program, case.input, seconds, memory)
        return output is not None and _lines(output) == _lines(case.output)
    proof = secrets.token_hex(16)
    job = json.dumps({"program": program, "tests": case.script, "proof": proof})
    return (_output(_SCRIPT, job, seconds, memory) or "").endswith(f"\n{proof}\n")


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _output(program: str, given: str, seconds: float, memory: float) -> str | None:
    """Return what a program prints in a cage, or None where it fails or passes a limit.

    Raises:
        RuntimeError: no cage could be made; the program was not run.
    """
    packages = sorted({os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib")})
    job = {"program": program, "input": given, "packages": packages, "seconds": seconds, "memory": int(memory * 2**30)}
    command = [sys.executable, "-I", "-S", str(_CAGE)]
    try:
        ended = subprocess.run(
            command, input=json.dumps(job), capture_output=True, text=True, env={}, timeout=seconds + _GRACE_S
        )
    except subprocess.TimeoutExpired:
        return None
    if not ended.stdout:
        raise RuntimeError((ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"])[-1])
    outcome = json.loads(ended.stdout)
    if "fault" in outcome:
        raise RuntimeError(outcome["fault"])
    return outcome["output"] if outcome["status"] == 0 else None
