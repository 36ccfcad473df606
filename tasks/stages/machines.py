"""Several machines that train together: they meet at a store that machine 0 serves, check that they train the same, and
do what machine 0 orders. One machine alone serves the store to its own processes."""

import json
import socket
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import training
from components.config.groups.distributed import Distributed
from components.errors import ConfigError, InterruptedRunError, MartletError
from components.parallel import within
from tasks.stages.reasons import ANSWER_S
from tasks.stages.setup import Setup

if TYPE_CHECKING:
    from torch.distributed import TCPStore

POLL_S = 0.2
GOODBYE_S = 5
"""Seconds that machine 0 waits until the others have read how the run ended."""
Order = dict[str, Any]
Say = Callable[[str], None]


@contextmanager
def served(setup: Setup, say: Say) -> "Generator[TCPStore]":
    """Serve the store, and wait until every machine is here and trains the same; at the end tell them how it ended.

    Raises:
        ConfigError: a machine trains something else.
        MartletError: a machine did not come, or the port is in use.
    """
    world = setup.params.distributed
    store = _serve(world)
    try:
        _gather(store, setup, say)
        yield store
    except BaseException as error:
        problem = error if isinstance(error, MartletError) else InterruptedRunError("train: machine 0 was stopped")
        _end(store, world, {"exit_code": problem.exit_code, "message": str(problem)})
        raise
    _end(store, world, {"exit_code": 0, "results": f"{socket.gethostname()}:{setup.paths.root}"})


@contextmanager
def joined(setup: Setup, say: Say) -> "Generator[TCPStore]":
    """Go to the store of machine 0, and check that both machines train the same.

    Raises:
        ConfigError: this machine trains something else.
        MartletError: machine 0 does not answer, or is gone.
    """
    world = setup.params.distributed
    say(f"machine {world.node_rank} of {world.nnodes}: going to machine 0 at {_place(world)}")
    store = _connect(world)
    try:
        problem = _difference(json.loads(_value(store, "machine/0")), setup)
        store.set(f"machine/{world.node_rank}", problem)
        if problem:
            raise ConfigError(problem)
        yield store
    except (RuntimeError, TimeoutError) as error:  # what torch raises where the store is gone, and what `within` does
        raise MartletError(f"machine 0 at {_place(world)} is gone or cannot be reached; it may say why") from error
    finally:
        with suppress(RuntimeError, TimeoutError):
            within(GOODBYE_S, lambda: store.set(f"left/{world.node_rank}", ""))


@contextmanager
def marked(folder: Path) -> Generator[str]:
    """Yield the name of a new file in `folder`, by which another machine knows whether it sees the same folder."""
    mark = folder / f".shared-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


def order(store: "TCPStore", **values: Any) -> int:
    """Tell every machine what to do next; return the number of the order."""
    number = store.add("orders", 1)
    store.set(f"order/{number}", json.dumps({name: v if v is None else str(v) for name, v in values.items()}))
    return number


def next_order(store: "TCPStore", number: int) -> Order:
    """Wait for machine 0's order of that number, from 1; the last one has an `exit_code`."""
    return json.loads(_value(store, f"order/{number}"))


def interface(world: Distributed) -> str | None:
    """Return the name of the network interface towards machine 0, or None where one machine trains alone.

    gloo takes the interface of the host's name, which on many machines is that of loopback.
    """
    import psutil

    if world.nnodes == 1:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((world.master_addr, world.master_port))
        address = probe.getsockname()[0]
    names = (name for name, addresses in psutil.net_if_addrs().items() if address in [a.address for a in addresses])
    return next(names, None)


def _serve(world: Distributed) -> "TCPStore":
    from torch.distributed import TCPStore

    if world.nnodes == 1:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        return TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    try:
        return TCPStore(str(world.master_addr), int(world.master_port or 0), is_master=True, wait_for_workers=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise MartletError(f"master_port: machine 0 cannot serve at {_place(world)}: {reason}") from error


def _connect(world: Distributed) -> "TCPStore":
    from torch.distributed import TCPStore

    address = (str(world.master_addr), int(world.master_port or 0))
    deadline = time.monotonic() + world.ddp_timeout
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
            return TCPStore(*address, is_master=False, timeout=timedelta(seconds=world.ddp_timeout))
        except OSError as error:
            if time.monotonic() > deadline:
                raise MartletError(
                    f"machine 0 did not answer at {_place(world)} within {world.ddp_timeout} s "
                    f"({error.strerror or error}); is the same command running there, with --node_rank 0?"
                ) from error
            time.sleep(POLL_S)


def _gather(store: "TCPStore", setup: Setup, say: Say) -> None:
    """Wait until every machine has said that it trains what this one does."""
    world = setup.params.distributed
    others = range(1, world.nnodes or 1)
    if others:
        say(f"machine 0 of {world.nnodes}: waiting for the others at {_place(world)}")
    store.set("machine/0", json.dumps(_identity(setup)))
    deadline = time.monotonic() + world.ddp_timeout
    while missing := [str(rank) for rank in others if not store.check([f"machine/{rank}"])]:
        if time.monotonic() > deadline:
            raise MartletError(
                f"machine {', '.join(missing)} of {world.nnodes} did not come to {_place(world)} within "
                f"{world.ddp_timeout} s; is the same command running there, and does a firewall close the port?"
            )
        time.sleep(POLL_S)
    if problems := [problem for rank in others if (problem := store.get(f"machine/{rank}").decode())]:
        raise ConfigError("\n".join(problems))


def _identity(setup: Setup) -> dict[str, Any]:
    """Return what all machines must have in common; a stream's sources are read by machine 0 alone."""
    identity = setup.made_of | {"distributed": setup.params.distributed.model_dump(exclude={*training.MEETING})}
    if feed := setup.feed:
        identity |= {"data": identity["data"] | {"files": None}, "stream": identity["stream"] | {"revisions": None}}
        identity["val_dataset"] = feed.validation and training.tokens_hash(feed.validation.parent)
    return identity


def _difference(of_machine_0: dict[str, Any], setup: Setup) -> str:
    """Return a sentence if this machine trains something else than machine 0, or an empty string."""
    if not (changes := training.changes(of_machine_0, json.loads(json.dumps(_identity(setup))))):
        return ""
    host = f"machine {setup.params.distributed.node_rank} ({socket.gethostname()})"
    return f"{host} trains something else than machine 0: {training.listed(changes)}; give both the same"


def _value(store: "TCPStore", key: str) -> str:
    while not within(ANSWER_S, lambda: store.check([key])):
        time.sleep(POLL_S)
    return store.get(key).decode()


def _end(store: "TCPStore", world: Distributed, values: dict[str, Any]) -> None:
    """Tell the other machines how the run ended, and wait until they have read it."""
    number = store.add("orders", 1)
    store.set(f"order/{number}", json.dumps(values))
    here = [f"left/{rank}" for rank in range(1, world.nnodes or 1) if store.check([f"machine/{rank}"])]
    deadline = time.monotonic() + GOODBYE_S
    while here and not store.check(here) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _place(world: Distributed) -> str:
    return f"{world.master_addr}:{world.master_port}"
