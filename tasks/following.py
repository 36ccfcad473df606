"""A server of the champion follows the registry: each new champion takes over, is probed, and gives way if it fails."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from components import registry
from components.errors import MartletError
from components.inference.engines import OnReady, Replace
from components.registry import Version
from tasks.probe import Endpoint, ProbeError, probe
from tasks.prompts import trained_with
from tasks.serving import served_name, settings_of
from tasks.target import Target

FOLLOW_S = 3.0
"""How often the registry is asked who is champion."""
PROBE = "probe"
"""Tag of a version: what the last probe of it has shown."""
PASSED = "passed: "


def follower(target: Target, key: str | None, report: Callable[[str], None]) -> OnReady:
    """Return what makes a server of the champion serve its successors, from a thread of its own."""
    champion = registry.champion(target.params.registry.registered_model_name, Path.cwd())

    def follow(exchange: Replace, url: str) -> None:
        endpoint = Endpoint(url, served_name(target.params), key)
        work = Follower(target, champion, exchange, endpoint, report).run
        threading.Thread(target=work, name="champion", daemon=True).start()

    return follow


class Follower:
    """What a server serves, and what is to be served next.

    After a failed probe the alias goes back before the server does: a server that is killed in between starts with the
    model before.
    """

    def __init__(
        self,
        target: Target,
        champion: Version | None,
        exchange: Replace,
        endpoint: Endpoint,
        report: Callable[[str], None],
    ):
        self.name, self.workspace = target.params.registry.registered_model_name, Path.cwd()
        self.target, self.exchange, self.endpoint, self.report = target, exchange, endpoint, report
        self.first = champion
        self.served = champion.number if champion else None
        self.unservable: int | None = None
        """A champion that could not be served; it is tried again when it is promoted again."""
        self.failure: tuple[int, str] | None = None
        """A champion that failed its probe, and why, until its alias has been moved."""

    def run(self) -> None:
        """Look at the registry every FOLLOW_S seconds; what goes wrong is reported, and what is served stays."""
        if self.first and not self.first.tags.get(PROBE, "").startswith(PASSED):  # a server was killed before its probe
            self._probe(self.first)
        while True:
            time.sleep(FOLLOW_S)
            self._reported(self.look)

    def look(self) -> None:
        """Serve the champion, if it is another than the one that is served."""
        champion = registry.champion(self.name, self.workspace)
        if champion is None:
            return
        if self.failure and champion.number == self.failure[0]:
            self._take_back()
            return
        self.failure = None
        if champion.number == self.served:
            self.unservable = None
        elif champion.number != self.unservable:
            self._serve(champion)

    def _serve(self, champion: Version) -> None:
        """Serve a new champion, probe it, and return to the model before if it fails."""
        before = self.target, self.served
        try:
            champion.verify()
            self._exchange(self._target_of(champion), champion.number)
        except Exception as error:
            self.unservable = champion.number
            self.report(f"the champion of '{self.name}' cannot be served, and the model before it stays: {error}")
            return
        if text := self._probe(champion):
            self.report(f"version {champion.number} is champion, and answers now; {text}")
        else:
            self._exchange(*before)
            self.report(f"the model before version {champion.number} answers again")

    def _target_of(self, champion: Version) -> Target:
        params = self.target.params
        template = trained_with(champion.folder, params.template)
        multimodal = trained_with(champion.folder, params.multimodal)
        return Target(champion.folder, None, params.model_copy(update={"template": template, "multimodal": multimodal}))

    def _exchange(self, target: Target, number: int | None) -> None:
        self.exchange(target.model, settings_of(target, [self.endpoint.name]))
        self.target, self.served = target, number

    def _probe(self, version: Version) -> str:
        """Return what the probe of a version that is served has shown; after a failure move the alias back, and return
        nothing."""
        try:
            text = f"probe: {probe(self.endpoint, version, self.target.params.serve)}"
            note = f"{PASSED}{text.removeprefix('probe: ')}"
        except ProbeError as error:
            text, note = "", f"failed: {error}"
            self.failure = version.number, f"version {version.number} failed its probe: {error}"
            self.report(self.failure[1])
            self._reported(self._take_back)
        except MartletError as error:  # nothing is known about the model
            return f"it could not be probed: {error}"
        self._reported(lambda: registry.annotate(version, self.workspace, {PROBE: note}))
        return text

    def _take_back(self) -> None:
        """Make the champion before the one that failed champion again, unless another is by now."""
        assert self.failure
        number, why = self.failure
        entry = registry.rollback(self.name, self.workspace, why=why, over=number)
        self.failure = None
        self.report(f"version {entry.version} is champion again")

    def _reported(self, work: Callable[[], object]) -> None:
        """Do some work, and report what goes wrong."""
        try:
            work()
        except Exception as error:
            self.report(f"the champion of '{self.name}' is not followed for now: {error}")
