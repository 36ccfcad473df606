"""Parameters of training on several devices or machines. Read by the stage `train`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

from components.config.fields import Group, Mapping, as_text, field

Text = Annotated[str, BeforeValidator(as_text)]
"""A name, a file, or a mapping, which is kept as JSON."""


class Distributed(Group):
    """The processes of a training, on one machine or several, and how they divide the model among them."""

    nproc_per_node: int | None = field(
        None, "training processes on this machine, by default one per accelerator; the global batch stays", gt=0
    )
    nnodes: int | None = field(None, "machines that train together (1); the same command is given on each", gt=0)
    node_rank: int | None = field(None, "number of this machine, from 0", ge=0)
    master_addr: str | None = field(None, "name or address of machine 0")
    master_port: int | None = field(None, "port of machine 0 at which the others meet it (29500)", gt=0, le=65535)
    max_restarts: int = field(0, "times that a failed run goes on by itself from its last checkpoint", ge=0)
    ddp_timeout: int = field(1800, "seconds after which a process that waits for another one gives up", gt=0)
    ddp_backend: Literal["nccl", "gloo", "xccl", "hccl", "cncl", "mccl"] | None = field(
        None, "how the processes exchange tensors, by default the accelerator's own way"
    )
    ddp_find_unused_parameters: bool | None = field(
        None, "look for weights without a gradient in every step, by default only where a callback freezes layers"
    )
    deepspeed: Text | None = field(
        None, "divide state (zero1), gradients (zero2), weights (zero3), zero2_offload, zero3_offload; or a JSON file"
    )
    fsdp: Text | None = field(
        None, "divide weights, gradients and state by FSDP2: full_shard, hybrid_shard, with offload; or a JSON file"
    )
    sequence_parallel_size: int = field(1, "processes that divide the tokens of each row among them (Ulysses)", gt=0)
    device_map: Text | None = field(
        None, "one process, the layers of a model on several devices: auto, balanced, sequential, or JSON"
    )
    max_memory: Mapping | None = field(None, 'memory of each device for --device_map: {"0": "20GiB", "cpu": "64GiB"}')
