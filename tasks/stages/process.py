"""One of several processes that train together.

It has a session of its own, so that ctrl-C reaches it through its parent alone, and ends with its parent.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import parent_process
from pathlib import Path

from components import plugins, training
from components.config import Params
from components.errors import MartletError, system_problem, without_credentials
from components.parallel import die_with_parent
from components.training import ranks
from tasks.stages import reasons
from tasks.stages.environment import prepare_environment
from tasks.stages.runner import Result, interrupted
from tasks.stages.setup import Setup

LOST = ("gloo", "NCCL", "Broken pipe", "Connection reset")
"""What errors of PyTorch say where another process is gone, or does not come."""
Work = Callable[[Setup, Path | None], Result]


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together.

    Attributes:
        attempt: how many times they were started, from 1.
        local: the process's number on its machine.
        log: the file that gets what the process prints.
        interface: the network interface towards machine 0, or None.
    """

    attempt: int
    local: int
    log: Path
    host: str
    port: int
    interface: str | None


def train_as_one(work: Work, setup: Setup, start: Path | None, place: Place) -> None:
    """Run `work` as one of the processes; leave rank 0's result, or the reason of a failure, at the store."""
    from torch.distributed import PrefixStore, TCPStore

    _belong_to_parent()
    _print_to(place.log)
    _settle_environment(setup.params, place)
    code, world = 0, setup.params.distributed
    store = TCPStore(place.host, place.port, is_master=False, timeout=timedelta(seconds=world.ddp_timeout))
    try:
        ranks.join(PrefixStore(f"ranks/{place.attempt}", store), world)
        result = work(setup, start)
        if ranks.is_writer():
            store.set(f"result/{place.attempt}", json.dumps(result))
        ranks.leave()
    except BaseException as error:
        with suppress(OSError):  # the disk may be full
            print(without_credentials(traceback.format_exc()), file=sys.stderr)
        problem = _as_martlet_error(error, setup, place)
        code = problem.exit_code
        with suppress(RuntimeError, TimeoutError):  # machine 0 is gone
            reasons.tell(store, place.attempt, ranks.rank(), problem)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _belong_to_parent() -> None:
    """Begin a session of this process's own, and end all of it when the parent ends, in whichever way."""
    os.setsid()
    die_with_parent()  # the server that this process was forked from
    parent = parent_process()
    assert parent

    def watch() -> None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _print_to(file: Path) -> None:
    """Let standard output and error go to the end of `file`, those of libraries in C too."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _settle_environment(params: Params, place: Place) -> None:
    """Set the variables that torch, accelerate and DeepSpeed read, and share the cores among the processes."""
    import torch

    world = params.distributed
    count = world.nproc_per_node or 1
    prepare_environment()
    os.environ |= {
        "RANK": str((world.node_rank or 0) * count + place.local),
        "WORLD_SIZE": str(training.world_size(params)),
        "LOCAL_RANK": str(place.local),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": place.host,
        "MASTER_PORT": str(place.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # that of MASTER_ADDR is there already
    }
    if place.interface:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", place.interface)
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(max(1, torch.get_num_threads() // count))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


def _as_martlet_error(error: BaseException, setup: Setup, place: Place) -> MartletError:
    if isinstance(error, MartletError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return interrupted("train", setup.paths)
    if problem := system_problem(error):
        return MartletError(f"train: rank {ranks.rank()}: {problem}")
    line = (str(error).splitlines() or ["no message"])[0]
    if any(words in str(error) for words in LOST):
        others = "the other machines" if (setup.params.distributed.nnodes or 1) > 1 else "the other processes"
        return MartletError(
            f"train: rank {ranks.rank()} lost the connection to another process; the logs of {others} say why, and the "
            f"error is in {place.log}"
        )
    reason = plugins.fault(error) or f"train: rank {ranks.rank()}: {type(error).__name__}: {line}"
    return MartletError(f"{reason} (the traceback is in {place.log})")
