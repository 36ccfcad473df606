"""Parameters of AdaLoRA. Read by the stage `train`."""

from components.config.fields import Group, field


class AdaLora(Group):
    """AdaLoRA: LoRA whose ranks follow what each layer needs (--tuner_type adalora); alpha and dropout are LoRA's."""

    adalora_init_r: int = field(12, "rank of every layer at first", gt=0)
    adalora_target_r: int = field(8, "mean rank of a layer at the end", gt=0)
    adalora_tinit: int = field(0, "optimizer steps before ranks begin to fall", ge=0)
    adalora_tfinal: int = field(0, "optimizer steps at the end in which ranks stay as they are", ge=0)
    adalora_delta_t: int = field(1, "optimizer steps between two changes of ranks", "adalora_deltaT", gt=0)
    adalora_beta1: float = field(0.85, "smoothing of a weight's importance", gt=0.0, lt=1.0)
    adalora_beta2: float = field(0.85, "smoothing of the uncertainty of importance", gt=0.0, lt=1.0)
    adalora_orth_reg_weight: float = field(0.5, "weight of the penalty that keeps the factors orthogonal", ge=0.0)
