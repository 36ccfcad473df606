"""Approval of a promotion by a person: the flow run pauses, and its page in Prefect shows the verdict and a form."""

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Timer
from typing import Any
from uuid import UUID

from prefect.exceptions import NotPausedError
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from components.config.groups.gate import Gate
from components.errors import EvaluationGateError
from components.texts import duration
from flows.notify import page_of_run, send
from tasks.supervise import Supervisor
from tasks.watch import Event

POLL_S = 2
"""How often a paused run looks for its answer."""
SPARE_S = 60
"""How much longer Prefect waits than we do, in seconds: the end of its own timeout would leave the run `Failed`."""
NOBODY = "nobody"


class Approval(RunInput):
    """The form on the page of the paused run."""

    approve: bool = Field(False, title="Promote this version", description="without a tick the version is refused")
    by: str = Field(title="Your name", min_length=1, max_length=100)
    why: str = Field("", title="Reason", description="goes into the journal", max_length=1000)


def require_approval(
    verdict: dict[str, Any], gate: Gate, supervisor: Supervisor, watch: Callable[[Event], None]
) -> dict[str, Any] | None:
    """Return who approved the promotion that a verdict allows (`promotion.Approval`), or None if nobody is to be asked.

    The run pauses outside of every task: it holds neither the registry's lock nor a concurrency limit meanwhile.

    Raises:
        EvaluationGateError: a person refused the version, now or before, or nobody answered in time.
    """
    number = verdict["version"]
    if not gate.needs_approval or verdict["settled"] or verdict["champion"] == number:
        return None
    by_hand = f"`martlet registry promote {number}` promotes it all the same"
    if verdict["refusal"]:
        watch(Event("approval", "refused", verdict["refusal"]))
        raise EvaluationGateError(f"version {number} was {verdict['refusal']}; {by_hand}")
    page, until = page_of_run(str(flow_run.id)), _after(gate.approval_timeout)
    watch(Event("approval", "asks", f"promote version {number}? answer at {page} (the button Resume) until {until}"))
    question = f"approval of version {number} until {until}"
    if block := flow_run.parameters.get("notify"):
        lines = (f"{flow_run.name} waits for {question}: {verdict['text']}", "answer on the page (the button Resume)")
        send(block, str(flow_run.id), f"Martlet: version {number} waits for approval", *lines)
    answer = _answer(f"{question}\n\n{verdict['markdown']}", gate.approval_timeout)
    if answer.by == NOBODY:
        message = f"nobody approved version {number} within {duration(gate.approval_timeout)}"
        watch(Event("approval", "refused", message))
        raise EvaluationGateError(f"{message}; {by_hand}")
    person = ": ".join(filter(None, [answer.by, answer.why]))
    if not answer.approve:
        supervisor.run_promotion("refuse", number=number, by=answer.by, why=answer.why)
        watch(Event("approval", "refused", f"by {person}"))
        raise EvaluationGateError(f"version {number} was refused by {person}; {by_hand}")
    watch(Event("approval", "ran", f"approved by {person}"))
    return {"by": answer.by, "why": answer.why, "champion": verdict["champion"]}


def _answer(markdown: str, timeout_s: float) -> Approval:
    """Pause until somebody answers; by NOBODY after `timeout_s` seconds. `martlet status` shows the first line of
    `markdown`.

    A pause that ends by its own timeout would leave the run `Failed`, whatever the flow returns (Prefect 3.8).
    """
    timer = Timer(timeout_s, _give_up, [UUID(flow_run.id)])
    timer.daemon = True
    timer.start()
    try:
        form = Approval.with_initial_data(description=markdown)
        return pause_flow_run(form, timeout=round(timeout_s) + SPARE_S, poll_interval=POLL_S)
    finally:
        timer.cancel()


def _after(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + seconds))


def _give_up(run: UUID) -> None:
    with suppress(NotPausedError):  # somebody has just answered
        resume_flow_run(run, {"approve": False, "by": NOBODY})
