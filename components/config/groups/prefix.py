"""Parameters of prefix tuning. Read by the stage `train`."""

from components.config.fields import Group, field


class Prefix(Group):
    """Prefix tuning: learned keys and values before each text (--tuner_type prefix_tuning)."""

    num_virtual_tokens: int = field(20, "length of the learned prefix in tokens", gt=0)
