"""Parameters of distributed training. Read by the stage `train`."""

from components.config.fields import Group, field


class Distributed(Group):
    """Processes on this machine, started through torchrun when there are several."""

    nproc_per_node: int = field(1, "training processes, each on its own device; the global batch does not grow", gt=0)
