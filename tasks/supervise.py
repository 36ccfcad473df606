"""Runs stages with work as `dvc repro -s STAGE`, each in a process group that never outlives the flow."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from components.errors import ERRORS, InterruptedRunError, MartletError
from components.files import read_json
from tasks import leash
from tasks.plan import Step
from tasks.stages.environment import prepare_environment
from tasks.stages.paths import WORKSPACE, Paths

_DVC_RESTORED = "is cached - skipping run"


class Outcome(NamedTuple):
    """How a stage ended well: `restored` from DVC's run cache or really run, in how many `seconds`."""

    restored: bool
    seconds: float


class Supervisor:
    """The stages of one run that are at work. `lock` is a file descriptor that their processes hold open as well."""

    def __init__(self, paths: Paths, lock: int | None = None) -> None:
        self.paths = paths
        self._inherited = () if lock is None else (lock,)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self.stopping = threading.Event()

    def run(self, step: Step) -> Outcome:
        """Run one stage to its end; its output goes to `logs/<stage>/output.log`.

        Raises:
            MartletError: the stage's own reason with the stage's own exit code, or that it ran out of time, was stopped
                or was killed.
        """
        log = self.paths.log(step.name)
        log.mkdir(parents=True, exist_ok=True)
        for old in ("result.json", "progress.jsonl"):
            (log / old).unlink(missing_ok=True)
        began = time.monotonic()
        with (log / "output.log").open("wb") as output, self._start(step, output) as process:
            try:
                code = process.wait(step.wishes.timeout)
            except subprocess.TimeoutExpired as late:
                _release(process)
                raise MartletError(f"{step.name}: stopped after its timeout of {step.wishes.timeout:g} s") from late
        if self.stopping.is_set():
            raise InterruptedRunError(f"{step.name}: interrupted; the same command goes on from where it stopped")
        if code:
            raise _failure(step.name, log)
        restored = _DVC_RESTORED in (log / "output.log").read_text(errors="replace")
        return Outcome(restored, time.monotonic() - began)

    def stop(self) -> None:
        """Stop every stage, and start no more. Returns when their processes are gone; interrupted, it kills them."""
        self.stopping.set()
        with self._guard:
            running = list(self._running)
        for process in running:
            if process.stdin:
                process.stdin.close()
        try:
            for process in running:
                process.wait()
        except BaseException:
            for process in running:
                _kill(process)
            raise

    @contextmanager
    def _start(self, step: Step, output: IO[bytes]) -> Generator[subprocess.Popen[bytes]]:
        dvc = [sys.executable, "-P", "-m", "dvc", "--wait-for-lock", "repro", "--single-item", step.name]
        with self._guard:
            if self.stopping.is_set():
                raise InterruptedRunError(f"{step.name}: not started, the run was stopped")
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(step.wishes.grace), *dvc],
                cwd=self.paths.root,
                env=environment(self.paths),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._inherited,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            _release(process)
            with self._guard:
                self._running.discard(process)


def environment(paths: Paths) -> dict[str, str]:
    """What a stage finds in its environment: our Python first, nothing that calls home, the workspace's name."""
    prepare_environment()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, WORKSPACE: str(paths.workspace), "PYTHONUNBUFFERED": "1"}


def _release(process: subprocess.Popen[bytes]) -> None:
    """Let go of the leash, and sweep what is left of the group even if somebody killed the leash itself."""
    if process.stdin:
        process.stdin.close()
    process.wait()
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _failure(stage: str, log: Path) -> MartletError:
    """The reason that the stage left; DVC's own exit code says nothing."""
    result = read_json(log / "result.json") if (log / "result.json").is_file() else {}
    if result.get("status") == "failed":
        message = result["message"]
        message = message if message.startswith(f"{stage}:") else f"{stage}: {message}"
        return ERRORS.get(result["exit_code"], MartletError)(message)
    lines = (log / "output.log").read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    dvc = next((line.removeprefix("ERROR: ") for line in reversed(said) if line.startswith("ERROR: ")), "")
    own = [line for line in said if not line.startswith(("ERROR: ", "> ", "Running stage", "WARNING: "))]
    if "exited with" not in dvc:
        return MartletError(f"{stage}: {dvc or 'dvc was killed'} (see {log / 'output.log'})")
    code = int(dvc.rsplit("exited with", 1)[1])
    killer = -code if code < 0 else code - 128  # a shell reports a signal as 128 + its number
    how = f"was killed by {signal.Signals(killer).name}" if killer > 0 else f"exited with {code}"
    if killer > 0 and own and (signal.strsignal(killer) or "") in own[-1]:
        own.pop()  # some shells add the name of the signal to what the stage said
    last = f"; the last line of its log: {own[-1]}" if own else ""
    return MartletError(f"{stage}: {how} and left no reason{last} (see {log / 'output.log'})")
