"""Parameters of bottleneck adapters. Read by the stage `train`."""

from components.config.fields import Group, field


class Adapter(Group):
    """Bottleneck adapters: two small layers behind each part of a block (--tuner_type adapter)."""

    adapter_length: int = field(128, "width of the bottleneck", gt=0)
    adapter_act: str = field("gelu", "activation between the two layers, by transformers' name")
