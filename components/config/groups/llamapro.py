"""Parameters of LLaMA Pro. Read by the stage `train`."""

from components.config.fields import Group, field


class LlamaPro(Group):
    """LLaMA Pro: new blocks between frozen ones (--tuner_type llamapro)."""

    llamapro_num_new_blocks: int = field(4, "blocks that are added", gt=0)
    llamapro_num_groups: int | None = field(
        None, "groups of blocks, behind each of which blocks are added; by default one for each new block", gt=0
    )
