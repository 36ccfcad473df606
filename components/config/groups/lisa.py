"""Parameters of the callback LISA. Read by the stage `train`."""

from components.config.fields import Group, field


class Lisa(Group):
    """LISA: full training of a few layers at a time (--tuner_type full --callbacks lisa)."""

    lisa_activated_layers: int = field(2, "layers that are trained at a time, beside embeddings and head", gt=0)
    lisa_step_interval: int = field(20, "optimizer steps between two draws of layers", gt=0)
