"""How many processes train. Read by the stage `train`."""

from components.config.fields import Group, field


class Distributed(Group):
    """Processes on this machine, started through torchrun when there are several."""

    nproc_per_node: int = field(1, "processes that train, each on a device of its own; the global batch stays", gt=0)
