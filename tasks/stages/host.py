"""The host of a run: a process that has imported torch, transformers and the like, from which stages are forked.

    host = start(root, environment)       in the background
    host.end()

Importing them takes a stage most of its first seconds. The host only imports, and runs nothing: a stage begins as a new
process would, in the state of its client (`warm.py`). Each stage has a parent of its own, which ends the stage when the
client is gone. The host ends with its flow, when standard input closes.
"""

import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tasks.stages import warm

MODULES = (
    "components.training.preloaded",
    "deepspeed",  # which transformers imports where it saves a model
    "matplotlib.pyplot",
    "mlflow.tracking",
    *(f"tasks.stages.{name}" for name in ("template", "train", "merge", "quantize", "evaluate", "register")),
    "tasks.promotion_process",
)
"""What is imported, where it is installed. EvalScope is not: its import changes the root logger."""
OWN_PACKAGES = ("tasks", "components")
NEUTRAL = ("DVC_", "_", "OLDPWD", "PWD", "SHLVL")
"""Beginnings of the variables that DVC and shells set for a stage; no library reads them."""


class Host(NamedTuple):
    """A host, and the path of its socket."""

    process: subprocess.Popen[bytes]
    address: str

    def end(self) -> None:
        """End the host. A stage that still runs ends with its client."""
        self.process.kill()
        self.process.communicate()
        shutil.rmtree(Path(self.address).parent, ignore_errors=True)


def start(root: Path, environment: Mapping[str, str]) -> Host:
    """Start a host for stages that run in the folder `root`; its socket takes requests at once."""
    address = f"{tempfile.mkdtemp(prefix='martlet-host-')}/socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.stages.host", str(listener.fileno())],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[listener.fileno()],
            cwd=root, env=environment, start_new_session=True,
        )  # fmt: skip
    return Host(process, address)


def main() -> None:
    """Import, then fork a process for each request until standard input closes.

    Beside an accelerator, whose driver may not survive a fork, the host ends at once.
    """
    began, environment = time.time_ns(), dict(os.environ)
    from components.training.world import accelerators

    listener = socket.socket(fileno=int(sys.argv[1]))
    if accelerators():
        return
    for name in MODULES:
        if find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    gc.freeze()  # what was imported is no garbage, and stays in memory that the processes share
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the stages' parents are not waited for
    while sys.stdin not in select.select([sys.stdin, listener], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            runpy.run_module(_begin(connection, began, environment), run_name="__main__", alter_sys=True)
            return
        connection.close()
    shutil.rmtree(Path(listener.getsockname()).parent)


def _begin(connection: socket.socket, began: int, environment: Mapping[str, str]) -> str:
    """Fork the process that a client asks for; return the module to run in that process, and never in its parent."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    request = json.loads(connection.makefile().readline())
    if not _is_current(request, began, environment):
        os._exit(0)
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if child := os.fork():
        _watch(child, connection)
    connection.close()
    _enter(request, streams, environment)
    return request["module"]


def _is_current(request: Mapping[str, Any], began: int, environment: Mapping[str, str]) -> bool:
    """Return whether the client would import what the host has imported: from the same files, which have not changed
    since, and with the same variables."""
    names = {name for name, _ in request["environment"].items() ^ environment.items()}
    files = (module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] in OWN_PACKAGES)
    return (
        request["code"] == warm.__file__
        and all(name.startswith(NEUTRAL) for name in names)
        and all(Path(file).stat().st_ctime_ns < began for file in files if file)
    )


def _watch(child: int, connection: socket.socket) -> None:
    """Tell the client the process group, wait for the end of the child or of the client, tell the child's wait status,
    and end the group: whatever the child started, and this process."""
    with suppress(OSError):  # the client is gone
        connection.sendall(b"%d\n" % os.getpgrp())
        ended, _, _ = select.select([connection, os.pidfd_open(child)], [], [])
        if connection not in ended:
            connection.sendall(b"%d\n" % os.waitpid(child, 0)[1])
    os.killpg(0, signal.SIGKILL)


def _enter(request: Mapping[str, Any], streams: list[int], environment: Mapping[str, str]) -> None:
    """Give this process the state of the client, default signals as in a new process, and random numbers of its own."""
    import numpy
    import torch

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.update(dict(request["environment"].items() - environment.items()))
    sys.argv, sys.path[:] = request["argv"], request["path"]
    sys.modules.pop(request["module"], None)
    numpy.random.seed()  # `random` does so itself
    torch.default_generator.seed()


if __name__ == "__main__":
    main()
