"""Which weights are trained. Read by the stages `train` and `merge`."""

from components.config.fields import Group, Names, field


class Tuner(Group):
    """The tuner, and the layers that it changes; a tuner's own settings stand in a group of its name."""

    tuner_type: str = field(
        "lora", "how the model is tuned: lora, dora, ia3, full, or a plugin's name", "train_type", "finetuning_type"
    )
    target_modules: Names = field(["all-linear"], "layers that get an adapter: names, or all-linear", "lora_target")
    modules_to_save: Names = field([], "layers that are trained in full beside the adapter, and saved with it")
