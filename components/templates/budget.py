"""The budget of a chat template: who wrote a model folder may have written a template that never ends, or fills memory.

Jinja's sandbox forbids access, and limits neither time nor memory. So a template is compiled and rendered in a process
of its own first, which ends when the budget is spent; rows and requests then cost no more than rendering does.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from components.errors import ConfigError

MAX_SECONDS = 5
"""Of computing for all the short conversations of a trial, which take a hundredth of a second."""
MAX_WAIT_SECONDS = 30
"""Until the process is ended where its cores are busy."""
MAX_BYTES = 1 << 30
MAX_CHARACTERS = 10_000_000
"""Of the rendering of a short conversation."""
CALL = {"type": "function", "id": "000000000", "function": {"name": "f", "arguments": {"x": "1"}}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "f", "parameters": {"type": "object"}}}]
TURNS: list[dict[str, Any]] = [
    {"role": "system", "content": "a"},
    {"role": "user", "content": "b"},
    {"role": "assistant", "content": "c", "reasoning_content": "d"},
    {"role": "user", "content": "e"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "f", "name": "f", "tool_call_id": "000000000"},
    {"role": "assistant", "content": "g"},
    {"role": "user", "content": "h"},
    {"role": "assistant", "content": "i"},
]


@cache
def require_bounded(source: str) -> None:
    """Compile and render a template on short conversations, in a process that is ended when the budget is spent.

    Raises:
        ConfigError: the template takes more time or memory than any honest one.
    """
    if not sys.platform.startswith("linux"):  # elsewhere a process with threads cannot be forked safely
        return
    from components.templates._transformers_jinja import compile_template

    compile_template("")  # what compiling imports is imported before the clock runs
    if not _ends_well(lambda: _try(source)):
        raise ConfigError(
            f"the model's chat template spends more than {MAX_SECONDS} seconds or {MAX_BYTES >> 30} GiB on a short "
            "conversation: do not use it; put another chat_template.jinja into the model's folder"
        )


def _ends_well(work: Callable[[], bool]) -> bool:
    """Return what `work` does in a forked process, or False where its time or memory was not enough."""
    child = os.fork()
    if not child:
        try:
            _limit()
            is_good = work()
        except BaseException:
            is_good = False
        os._exit(0 if is_good else 1)
    until = time.monotonic() + MAX_WAIT_SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _limit() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    memory = pages * resource.getpagesize() + MAX_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))


def _try(source: str) -> bool:
    """Return whether the template stays within the budget; what it raises otherwise is no matter here."""
    from components.templates._transformers_jinja import compile_template

    try:
        template = compile_template(source)
        if not _folds(template.environment.parse(source)):
            return False
    except MemoryError:
        return False
    except Exception:  # no valid template, which is said where it is used
        return True
    names = {"documents": None, "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<p>", "unk_token": "<u>"}
    for start, parts, tools in product((0, 1), (False, True), (None, TOOLS)):
        for stop in range(start + 1, len(TURNS) + 1):
            messages = [_in_parts(turn) if parts else turn for turn in TURNS[start:stop]]
            asks = messages[-1]["role"] != "assistant"
            try:
                text = template.render(messages=messages, tools=tools, add_generation_prompt=asks, **names)
            except MemoryError:
                return False
            except Exception:  # a template refuses what it likes
                continue
            if len(text) > MAX_CHARACTERS:
                return False
    return True


def _in_parts(turn: dict[str, Any]) -> dict[str, Any]:
    return {**turn, "content": [{"type": "text", "text": turn["content"]}]}


def _folds(tree: Any) -> bool:
    """Return whether the products and powers of constants have values: Jinja's compiler computes these, even where they
    are never rendered, and keeps quiet where memory is not enough."""
    from jinja2 import nodes

    for node in tree.find_all((nodes.Mul, nodes.Pow)):
        if node.find((nodes.Name, nodes.Call, nodes.Filter)) is None:
            try:
                node.as_const()
            except nodes.Impossible:
                return False
    return True
