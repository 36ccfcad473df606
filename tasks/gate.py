"""The evaluation gate and the promotion as Prefect tasks. They look at who is champion today, so DVC has no say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed, State

from components.config import Params
from components.errors import EvaluationGateError, MartletError
from components.files import read_json, sha256_of, write_json
from tasks.stages.paths import Paths
from tasks.watch import Event


@task(name="gate", cache_policy=NO_CACHE)
def judge(params: Params, paths: Paths, watch: Callable[[Event], None]) -> State[Any]:
    """Judge the newest candidate against the champion; the same registration is judged once.

    The state carries an `EvaluationGateError` when the gate stays closed.
    """
    from tasks import promotion

    file, key = paths.root / ".martlet/verdict.json", _key(params, paths)
    known = read_json(file) if file.is_file() else {}
    if known.get("key") == key:
        watch(Event("gate", "reused", known["text"]))
        return _state(known["promote"], known["text"], "Cached")
    try:
        verdict = promotion.judge(params, paths)
    except MartletError as error:
        watch(Event("gate", "failed", str(error)))
        return Failed(message=str(error), data=error)
    create_markdown_artifact(verdict.markdown(), key="verdict")
    text = f"{verdict.decision}: {verdict.reason}"
    write_json(file, {"key": key, "promote": verdict.promote, "text": text})
    watch(Event("gate", "ran" if verdict.promote else "failed", text))
    return _state(verdict.promote, text, "Completed")


@task(name="promote", cache_policy=NO_CACHE)
def promote(params: Params, paths: Paths, watch: Callable[[Event], None]) -> State[Any]:
    """Make the candidate champion, once."""
    from tasks import promotion

    file = paths.root / ".martlet/promoted.json"
    done = {"key": _key(params, paths)}
    if file.is_file() and read_json(file) == done:
        watch(Event("promote", "reused"))
        return Completed(name="Cached", message="promoted before")
    try:
        promotion.promote(params, paths)
    except MartletError as error:
        watch(Event("promote", "failed", str(error)))
        return Failed(message=str(error), data=error)
    write_json(file, done)
    watch(Event("promote", "ran", "the candidate is champion"))
    return Completed(message="the candidate is champion")


def registration(paths: Paths) -> Path:
    """What the stage `register` leaves; without it there is nothing to judge."""
    return paths.reports / "registration.json"


def _key(params: Params, paths: Paths) -> str:
    """The same registration under the same rules gets the same verdict."""
    rules = [params.gate.model_dump(mode="json"), params.registry.model_dump(mode="json")]
    return sha256_of([registration(paths).read_text(), rules])


def _state(promote: bool, text: str, name: str) -> State[Any]:
    if promote:
        return Completed(name=name, message=text)
    return Failed(message=text, data=EvaluationGateError(text))
