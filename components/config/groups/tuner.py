"""Which weights are trained. Read by the stage `train`."""

from components.config.fields import Group, Names, field


class Tuner(Group):
    """LoRA or full training."""

    train_type: str = field("lora", "how the model is tuned: lora, full", "tuner_type", "finetuning_type")
    lora_rank: int = field(8, "rank of the LoRA matrices", "lora_r", gt=0)
    lora_alpha: float = field(32, "LoRA scaling: the update is multiplied by alpha / rank", gt=0)
    lora_dropout: float = field(0.05, "dropout on the input of LoRA", ge=0.0, lt=1.0)
    target_modules: Names = field(["all-linear"], "layers that get LoRA: names, or all-linear", "lora_target")
    modules_to_save: Names = field([], "layers that are trained in full beside LoRA, and saved with it")
    use_rslora: bool = field(False, "scale by alpha / sqrt(rank) (arXiv 2312.03732)")
