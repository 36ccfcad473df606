"""Train on the machines of a Ray cluster: the same `martlet` command on each, with its number and where they meet.

    python examples/cluster/ray_train.py --nnodes 2 --gpus 8 sft --model … --dataset … --output_dir /shared/output

Prints what machine 0 prints, and ends with its exit code. Ctrl-C ends the training with a checkpoint.
"""

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from components import leash

GRACE_S = 120
"""Seconds that a machine has for its last checkpoint."""


@ray.remote(max_concurrency=2)  # `stop` is answered while `run` goes on
class Machine:
    """One machine of the cluster, on which this actor starts `martlet`."""

    def place(self) -> tuple[str, str]:
        """Return this machine's address and a free port."""
        with socket.create_server(("", 0)) as server:
            return ray.util.get_node_ip_address(), str(server.getsockname()[1])

    def run(self, words: list[str], environment: dict[str, str]) -> Iterator[str | int]:
        """Yield each line that `martlet WORDS` prints, and then its exit code."""
        command = [sys.executable, "-m", "apps.cli.main", *words]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(GRACE_S), *command],
            stdin=subprocess.PIPE,  # closes when this actor ends, in whichever way
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | environment,
        )
        assert self.process.stdout
        for line in self.process.stdout:  # noqa: UP028 - Ray sends values to generators, which a file does not take
            yield line
        yield self.process.wait()

    def stop(self) -> None:
        """End the command with a checkpoint."""
        self.process.stdin.close()


def main() -> int:
    """Start the command on each machine, print machine 0's lines, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nnodes", type=int, required=True, help="machines that train together")
    parser.add_argument("--gpus", type=int, default=0, help="accelerators of each machine")
    parser.add_argument("--cpus", type=int, default=1, help="cores of each machine that Ray reserves")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="a martlet command that trains, and its flags")
    options = parser.parse_args()
    ray.init(address="auto")
    group = placement_group([{"CPU": options.cpus, "GPU": options.gpus}] * options.nnodes, strategy="STRICT_SPREAD")
    ray.get(group.ready())
    machines = [
        Machine.options(
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
        ).remote()
        for rank in range(options.nnodes)
    ]
    return train(machines, options.words)


def train(machines: list["ray.actor.ActorHandle[Machine]"], words: list[str]) -> int:
    """Run `martlet WORDS` on all machines; return the exit code of machine 0."""
    address, port = ray.get(machines[0].place.remote())
    meeting = {"NNODES": str(len(machines)), "MASTER_ADDR": address, "MASTER_PORT": port}
    outputs = [
        machine.run.options(num_returns="streaming").remote(words, meeting | {"NODE_RANK": str(rank)})
        for rank, machine in enumerate(machines)
    ]
    try:
        code = printed(outputs[0])
    except KeyboardInterrupt:
        ray.get([machine.stop.remote() for machine in machines])
        code = printed(outputs[0])
    for output in outputs[1:]:  # until the others have ended, too
        for _ in output:
            pass
    return code


def printed(lines: Iterator[ray.ObjectRef]) -> int:
    """Print the lines of a machine; return the exit code that follows them."""
    for reference in lines:
        line = ray.get(reference)
        if isinstance(line, int):
            return line
        print(line, end="", flush=True)
    raise RuntimeError("machine 0 is gone")


if __name__ == "__main__":
    sys.exit(main())
