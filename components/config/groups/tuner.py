"""The tuner: which weights are trained. Read by the stages `train` and `merge`."""

from components.config.fields import Group, Names, field


class Tuner(Group):
    """The tuner and its layers; the parameters of one tuner are in a group of its own, such as `lora`."""

    tuner_type: str = field(
        "lora",
        "tuner: lora, dora, full, or another of docs/training.md, or a plugin's name",
        "train_type",
        "finetuning_type",
    )
    target_modules: Names = field(["all-linear"], "layers with an adapter: names, or all-linear", "lora_target")
    modules_to_save: Names = field([], "layers that are trained in full and saved with the adapter")
