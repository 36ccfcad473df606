"""Several processes that train together: this one starts those of its machine, waits, and tells why they failed.

On a CPU they are forked from a server that has imported torch and transformers. They meet at the store of `machines`.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from multiprocessing import connection, forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import training
from components.config import Params
from components.errors import ERRORS, ConfigError, MartletError
from components.training.signals import stopping
from components.training.world import accelerators
from tasks.stages import machines, reasons
from tasks.stages.process import Place, Work, train_as_one
from tasks.stages.runner import Result
from tasks.stages.setup import Setup

if TYPE_CHECKING:
    from torch.distributed import Store, TCPStore

POLL_S = 0.2
LINGER_S = 1.0
"""Seconds that the other processes have to end by themselves after the first one failed."""
KILLED = {-signal.SIGKILL: "perhaps because memory ran out: `dmesg` would say so; take a smaller batch, or divide more"}

_ENVIRONMENT = threading.Lock()
"""Held while the environment differs from what it was: stages of two flows may start in threads of one process."""


def warm_up(params: Params) -> None:
    """Start the server that processes are forked from, where the training will need them; importing takes seconds."""
    world = training.settled_world(params.distributed)
    if training.is_launched(params.model_copy(update={"distributed": world})) and not accelerators():
        forkserver.set_forkserver_preload(["components.training.preloaded", "tasks.stages.train"])
        with _ENVIRONMENT:
            before = os.environ.setdefault("PYTHONSAFEPATH", "")
            os.environ["PYTHONSAFEPATH"] = "1"  # the server imports nothing from the current folder
            try:
                forkserver.ensure_running()
            finally:
                os.environ["PYTHONSAFEPATH"] = before  # empty means unset


def launch(work: Work, setup: Setup, start: Path | None, say: machines.Say) -> Result:
    """Run `work` in the processes of all machines, from the checkpoint `start`; this is machine 0.

    After a failure all of them start again from the newest intact checkpoint, up to `max_restarts` times.

    Returns:
        The result of rank 0.

    Raises:
        MartletError: of the process that failed first.
    """
    world = setup.params.distributed
    _clear_logs(setup)
    mark = machines.marked(setup.checkpoints) if world.nnodes != 1 else nullcontext("")
    with machines.served(setup, say) as store, mark as name:
        restarts = 0
        while True:
            attempt = machines.order(store, start=start, checkpoints=setup.checkpoints, mark=name)
            try:
                return _run(work, setup, start, store, attempt)
            except MartletError as error:
                if restarts == world.max_restarts or error.exit_code != MartletError.exit_code:
                    raise
                restarts += 1
                start = training.newest_intact(setup.checkpoints, say) or start
                origin = f"from {start.name}" if start else "from the beginning"
                say(f"{error}; all processes start again {origin}, {restarts} of {world.max_restarts} times")
                if setup.feed:
                    setup.feed.restart()


def follow(work: Work, setup: Setup, say: machines.Say) -> Result:
    """Run `work` in the processes of this machine, as often and from where machine 0 says.

    Returns:
        Where the results are.

    Raises:
        MartletError: machine 0's.
    """
    _clear_logs(setup)
    with machines.joined(setup, say) as store:
        attempt = 1
        while "exit_code" not in (order := machines.next_order(store, attempt)):
            start = Path(order["start"]) if order["start"] else None
            shared = Path(order["checkpoints"])
            is_shared = (shared / order["mark"]).exists()
            if not is_shared and (problem := _need_of_sharing(setup.params, start, shared)):
                reasons.tell(store, attempt, -1, ConfigError(problem))
            else:
                with suppress(MartletError):  # machine 0 knows all reasons
                    _run(work, replace(setup, checkpoints=shared) if is_shared else setup, start, store, attempt)
            attempt += 1
    if order["exit_code"]:
        raise ERRORS.get(order["exit_code"], MartletError)(order["message"])
    return {"results": order["results"]}


def _need_of_sharing(params: Params, start: Path | None, checkpoints: Path) -> str:
    """Return a sentence if every machine must see the folder of checkpoints, or an empty string."""
    world, why = params.distributed, ""
    if start:
        why = f"all machines go on from {start.name}"
    elif world.deepspeed or world.fsdp:
        why = f"--{'deepspeed' if world.deepspeed else 'fsdp'} writes a part of each checkpoint on every machine"
    elif params.train.load_best_model_at_end:
        why = "--load_best_model_at_end reads the best checkpoint on every machine"
    rank = params.distributed.node_rank
    sentence = f"machine {rank} does not see {checkpoints} of machine 0, and {why}; use an --output_dir that all share"
    return sentence if why else ""


def _clear_logs(setup: Setup) -> None:
    for old in setup.paths.log("train").glob("rank-*.log"):
        old.unlink()


def _run(work: Work, setup: Setup, start: Path | None, store: "TCPStore", attempt: int) -> Result:
    """Run `work` in the processes of this machine; return rank 0's result, or nothing where rank 0 is elsewhere."""
    world, log = setup.params.distributed, setup.paths.log("train")
    first, count = (world.node_rank or 0) * (world.nproc_per_node or 1), world.nproc_per_node or 1
    place = Place(attempt, 0, log, store.host, store.port, machines.interface(world))
    places = [replace(place, local=n, log=log / f"rank-{first + n}.log") for n in range(count)]
    # What bitsandbytes does with CUDA when it is imported does not survive a fork.
    context: Any = get_context("spawn" if accelerators() else "forkserver")
    processes = [context.Process(target=train_as_one, args=(work, setup, start, at)) for at in places]
    stop = threading.Event()
    try:
        with stopping(stop):
            _start(processes)
            _wait(processes, stop, lambda: bool(reasons.told(store, attempt)))
        _tell_silent(processes, first, log, store, attempt)
    finally:
        for process in processes:
            _end(process)
    if (world.nnodes or 1) > 1 and any(process.exitcode for process in processes):
        time.sleep(LINGER_S)  # another machine may yet tell of a process that was killed
    if error := reasons.first(store, attempt):
        raise error
    return {} if first else json.loads(store.get(f"result/{attempt}"))


def _start(processes: Sequence[BaseProcess]) -> None:
    try:
        for process in processes:
            process.start()
    except (EOFError, ConnectionError) as error:
        raise MartletError("train: the server that processes are forked from was killed; run again") from error


def _wait(processes: Sequence[BaseProcess], stop: threading.Event, has_failed: Callable[[], bool]) -> None:
    """Wait until all processes have ended, or a while after the first failure; pass a signal of the user's on once."""
    is_told, deadline = False, float("inf")
    while (running := [process for process in processes if process.exitcode is None]) and time.monotonic() < deadline:
        connection.wait([process.sentinel for process in running], POLL_S)
        if stop.is_set() and not is_told:
            is_told = True
            for process in running:
                os.kill(process.pid or 0, signal.SIGINT)
        if not stop.is_set() and deadline == float("inf") and (any(p.exitcode for p in processes) or has_failed()):
            deadline = time.monotonic() + LINGER_S


def _tell_silent(processes: Sequence[BaseProcess], first: int, log: Path, store: "Store", attempt: int) -> None:
    """Tell why the processes ended that could not say so themselves."""
    reporters = {reason["rank"] for reason in reasons.told(store, attempt)}
    for rank, process in enumerate(processes, first):
        code = process.exitcode or 0
        if code and rank not in reporters:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            hint = f", {KILLED[code]}" if code in KILLED else ""
            error = MartletError(f"train: rank {rank} {how}{hint}; its log is {log / f'rank-{rank}.log'}")
            reasons.tell(store, attempt, rank, error, is_cause=code < 0 and code != -signal.SIGABRT)


def _end(process: BaseProcess) -> None:
    """End a process and those that it started."""
    if process.pid:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
