"""The evaluation gate and the promotion as Prefect tasks; no DVC stages, because they depend on today's champion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import State

from components.config import Params
from components.errors import EvaluationGateError, MartletError
from components.files import read_json, sha256_of, write_json
from tasks import outcomes
from tasks.stages.paths import Paths
from tasks.watch import Event


@task(name="gate", cache_policy=NO_CACHE)
def judge(params: Params, paths: Paths, watch: Callable[[Event], None]) -> State[Any]:
    """Return the state `Passed` if the newest candidate passes the gate, else `Refused` with an
    `EvaluationGateError`. A verdict on the same registration under the same rules is used again."""
    from tasks import promotion

    file, key = paths.root / ".martlet/verdict.json", _key(params, paths)
    earlier = read_json(file) if file.is_file() else {}
    if earlier.get("key") == key:
        watch(Event("gate", "reused", earlier["text"]))
        return _state(earlier["promote"], earlier["text"], "Reused")
    try:
        verdict = promotion.judge(params, paths)
    except MartletError as error:
        watch(Event("gate", outcomes.word(error), str(error)))
        return outcomes.state_of(error)
    create_markdown_artifact(verdict.markdown(), key="verdict")
    text = f"{verdict.decision}: {verdict.reason}"
    write_json(file, {"key": key, "promote": verdict.promote, "text": text})
    watch(Event("gate", "ran" if verdict.promote else "refused", text))
    return _state(verdict.promote, text, "Passed")


@task(name="promote", cache_policy=NO_CACHE)
def promote(params: Params, paths: Paths, watch: Callable[[Event], None]) -> State[Any]:
    """Make the candidate champion; a registration is promoted once."""
    from tasks import promotion

    file = paths.root / ".martlet/promoted.json"
    marker = {"key": _key(params, paths)}
    if file.is_file() and read_json(file) == marker:
        watch(Event("promote", "reused"))
        return outcomes.ended("Reused", "promoted before")
    try:
        promotion.promote(params, paths)
    except MartletError as error:
        watch(Event("promote", outcomes.word(error), str(error)))
        return outcomes.state_of(error)
    write_json(file, marker)
    watch(Event("promote", "ran", "the candidate is champion"))
    return outcomes.ended("Promoted", "the candidate is champion")


def registration(paths: Paths) -> Path:
    """Return the file that the stage `register` writes; without the file there is no candidate to judge."""
    return paths.reports / "registration.json"


def _key(params: Params, paths: Paths) -> str:
    """Return a hash of the registration and the rules of the gate, on which the verdict depends."""
    rules = [params.gate.model_dump(mode="json"), params.registry.model_dump(mode="json")]
    return sha256_of([registration(paths).read_text(), rules])


def _state(promote: bool, text: str, name: str) -> State[Any]:
    return outcomes.ended(name, text) if promote else outcomes.state_of(EvaluationGateError(text))
