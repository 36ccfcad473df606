"""Parameters of weights that do not learn in full training. Read by the stage `train`."""

from components.config.fields import Group, Names, field


class Freezing(Group):
    """Weights that stay as they are in full training (--tuner_type full)."""

    freeze_parameters: Names = field([], "beginnings of names of weights that do not learn")
    freeze_parameters_regex: str | None = field(None, "pattern in names of weights that do not learn", min_length=1)
    freeze_parameters_ratio: float = field(
        0.0, "share of the weights, counted from the input of the model, that does not learn", ge=0.0, lt=1.0
    )
    trainable_parameters: Names = field([], "beginnings of names of weights that learn although they are frozen")
    trainable_parameters_regex: str | None = field(
        None, "pattern in names of weights that learn although frozen", min_length=1
    )
