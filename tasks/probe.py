"""The probe of a new champion through the live endpoint, as a client: health, completions, answers as they were stored.

The questions are those of the version's own evaluation that it answered well, without media, asked with the settings of
that evaluation.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx

from components.config.groups.evaluate import Evaluate
from components.config.groups.serve import Serve
from components.errors import MartletError
from components.evaluation import Record, read_records
from components.registry import Version
from components.texts import normalized

SETTINGS = (
    "max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "presence_penalty", "frequency_penalty",
    "repetition_penalty",
)  # fmt: skip
"""Settings of an evaluation that OpenAI's API, or ours, has under the same names."""
BUSY = (429, 503)
RETRY_S = 0.5


class ProbeError(MartletError):
    """The model failed, and not the way to it."""


@dataclass(frozen=True)
class Endpoint:
    """A server as a client sees it.

    Attributes:
        url: the base URL, `http://HOST:PORT/v1`.
        name: the name of the model.
    """

    url: str
    name: str
    key: str | None

    def ask(self, messages: list[dict[str, str]], settings: dict[str, Any], timeout_s: float) -> str:
        """Return the answer to messages; a server that is busy is asked again.

        Raises:
            ProbeError: the answer is an error, or takes longer than `timeout_s` seconds.
            MartletError: the server is gone, or busy all the time.
        """
        body = {**settings, "model": self.name, "messages": messages}
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        deadline = time.monotonic() + timeout_s
        try:
            with httpx.Client(headers=headers, trust_env=False) as client:
                while True:
                    left_s = max(deadline - time.monotonic(), RETRY_S)
                    response = client.post(f"{self.url}/chat/completions", json=body, timeout=left_s)
                    if response.status_code not in BUSY:
                        break
                    if time.monotonic() + RETRY_S > deadline:
                        raise MartletError(f"the server is busy: {response.text[:200]}")
                    time.sleep(RETRY_S)
        except httpx.ReadTimeout:
            raise ProbeError(f"an answer took longer than {timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise MartletError(f"the server at {self.url} does not answer: {error or type(error).__name__}") from error
        if response.is_error:
            raise ProbeError(f"a question was answered with {response.status_code}: {response.text[:200]}")
        return response.json()["choices"][0]["message"]["content"] or ""


def probe(endpoint: Endpoint, version: Version, serve: Serve) -> str:
    """Return in a line what a version that is served now has shown.

    Raises:
        ProbeError: no answers, late answers, or too many that are worse than those that were stored.
        MartletError: the server is gone, or busy all the time: nothing is known about the model.
    """
    endpoint.ask([{"role": "user", "content": "Hello"}], {"max_tokens": 1, "temperature": 0}, serve.probe_timeout)
    records, settings = questions(version, serve.probe_questions), _settings(version)
    lost: list[Record] = []
    began = time.monotonic()
    for record in records:
        messages = [*json.loads(record.get("history", "[]")), {"role": "user", "content": record["query"]}]
        answer = normalized(endpoint.ask(messages, settings, serve.probe_timeout))
        if answer not in (normalized(record["answer"]), normalized(record["reference"])):
            lost.append({**record, "now": answer})
    if not records:
        return "it answers; no stored answers to compare"
    mean_s = (time.monotonic() - began) / len(records)
    text = f"{len(records) - len(lost)} of {len(records)} answers as good as when it was evaluated, {mean_s:.2g} s each"
    if len(lost) > serve.probe_max_lost * len(records):
        first = f"'{lost[0]['query'][:80]}' was answered '{lost[0]['answer'][:80]}', and now '{lost[0]['now'][:80]}'"
        raise ProbeError(f"only {text}: {first}")
    return text


def questions(version: Version, count: int) -> list[Record]:
    """Return up to `count` questions that a version answered well in its evaluation, evenly from all sets."""
    try:
        records = read_records(version.reports / f"{version.tags.get('variant')}.parquet")
    except MartletError:  # a version without an evaluation
        return []
    good = [record for record in records if record["score"] > 0 and not record.get("media")]
    count = min(count, len(good))
    return [good[place * len(good) // count] for place in range(count)]


def _settings(version: Version) -> dict[str, Any]:
    """Return the generation settings with which a version was evaluated, under OpenAI's names."""
    parameters = json.loads(version.tags.get("lineage", "{}")).get("params", {})
    config = parameters.get("evaluate.eval_generation_config") or Evaluate().eval_generation_config
    return {name: config[name] for name in SETTINGS if name in config} | (config.get("extra_body") or {})
