"""The judge of rewards: a model behind an OpenAI-compatible server, its key, and its replies."""

import os
import re
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError, MartletError
from components.parallel import threaded
from components.rewards._sample import Sample

if TYPE_CHECKING:
    import httpx

_AT_ONCE = 16
_TRIES = 4
_WAIT_S = 1.0
"""Seconds before the second try; each further one waits twice as long, or as long as the server says."""
_LONGEST_WAIT_S = 30.0
_TIMEOUT_S = 120.0


def check_server(params: Params, reward: str) -> None:
    """Refuse to judge without a server and a model."""
    settings = params.reward
    for name in ("judge_base_url", "judge_model"):
        if not getattr(settings, name):
            raise ConfigError(f"{name}: the reward {reward} needs it")
    if not re.match(r"https?://[^/\s]+", settings.judge_base_url or ""):
        raise ConfigError(f"judge_base_url: '{settings.judge_base_url}' is no http:// or https:// address")


def question(template: str, sample: Sample, **values: Any) -> str:
    """Return a prompt for the judge: `{prompt}`, `{completion}`, names of columns and of `values` are replaced, and
    what replaces them is not read for further names."""
    conversation = "\n\n".join(f"{message['role']}: {message['content']}" for message in sample.prompt)
    values = {**sample.columns, "prompt": conversation, "completion": sample.completion, **values}
    return re.sub(r"\{(\w+)\}", lambda name: str(values.get(name[1], name[0])), template)


def replies(questions: Sequence[str], params: Params) -> list[str | None]:
    """Return the judge's reply to each question without its thoughts, or None where there was none.

    Raises:
        ConfigError: the key cannot be one.
        MartletError: there was no reply to any.
    """
    import httpx

    settings = params.reward
    key = os.environ.get("MARTLET_JUDGE_API_KEY") or os.environ.get("OPENAI_API_KEY")
    if key and not re.fullmatch(r"[!-~]+", key):
        raise ConfigError("the judge's API key has a space, a line break or another character that no key has; mend it")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = str(settings.judge_base_url)
    with httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S) as http:
        answers = threaded(partial(_reply, http, str(settings.judge_model)), questions, _AT_ONCE)
    failures = [str(answer) for answer in answers if isinstance(answer, _NoReplyError)]
    if answers and len(failures) == len(answers):
        reason = failures[-1].replace(key, "•••") if key else failures[-1]
        raise MartletError(
            f"judge_base_url: the judge at {url} gave no reply to any of {len(answers)} answers: {reason}; mend the "
            "address, --judge_model or the key in MARTLET_JUDGE_API_KEY"
        )
    return [None if isinstance(answer, _NoReplyError) else answer.rpartition("</think>")[2].strip()
            for answer in answers]  # fmt: skip


class _NoReplyError(Exception):
    """Why the judge gave no reply."""


def _reply(http: "httpx.Client", model: str, question: str) -> "str | _NoReplyError":
    """Return what the judge replies, "" where that is no text, or why there is no reply."""
    import httpx

    body = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    failure = _NoReplyError()
    for attempt in range(_TRIES):
        wait = _WAIT_S * 2**attempt
        try:
            answer = http.post("chat/completions", json=body)
        except httpx.TransportError as error:
            failure = _NoReplyError(f"{type(error).__name__}: {error}")
        else:
            if answer.is_success:
                return _content(answer)
            failure = _NoReplyError(f"{answer.status_code}: {answer.text.strip()[:200]}")
            if answer.status_code != 429 and answer.status_code < 500:
                break
            if (asked := answer.headers.get("retry-after", "")).isdecimal():
                wait = float(asked)
        if attempt < _TRIES - 1:
            time.sleep(min(wait, _LONGEST_WAIT_S))
    return failure


def _content(answer: "httpx.Response") -> str:
    try:
        return str(answer.json()["choices"][0]["message"]["content"])
    except (ValueError, LookupError, TypeError):
        return ""
