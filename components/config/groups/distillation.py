"""Parameters of distillation, in which a model learns from another one. Names and defaults are ms-swift's and TRL's."""

from components.config.fields import Group, field


class Distillation(Group):
    """The teacher, and on whose answers the model learns from it (--rlhf_type gkd)."""

    teacher_model: str | None = field(None, "model that is learned from: a folder, a checkpoint, or an id on a hub")
    lmbda: float = field(0.5, "share of the steps that learn on the model's own answers to the prompts", ge=0, le=1)
    seq_kd: bool = field(False, "the other steps learn on the teacher's answers, not on those of the data")
    sft_alpha: float = field(0.0, "weight of the tokens' own loss, where answers are not the model's", ge=0)
