"""Parameters of learning from preferences. Read by the stage `train`; names and defaults are ms-swift's and TRL's."""

from typing import Literal

from components.config.fields import Group, Numbers, field


class Preference(Group):
    """How answers are compared (--rlhf_type dpo, cpo, simpo, orpo, kto, rm)."""

    beta: float | None = field(
        None,
        "how strongly the model is held to the reference; by default 0.1, with simpo 2, grpo 0.04, gkd 0.5",
        "pref_beta",
        ge=0,
    )
    loss_weights: Numbers = field([], "weight of each loss where --loss_type names several; by default 1")
    label_smoothing: float = field(
        0.0, "share of pairs whose answers are taken to be the wrong way round", ge=0, lt=0.5
    )
    rpo_alpha: float | None = field(None, "weight of the chosen answer's own loss beside dpo's", ge=0)
    ld_alpha: float | None = field(
        None, "weight of the tokens by which the longer answer is longer, in dpo (LD-DPO)", ge=0, le=1
    )
    ref_model: str | None = field(
        None, "reference model, by default the model as it begins: a folder, a checkpoint, or an id on a hub"
    )
    reference_free: bool = field(False, "dpo without a reference model")
    f_divergence_type: Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"] = field(
        "reverse_kl", "distance to the reference model in dpo"
    )
    f_alpha_divergence_coef: float = field(0.5, "alpha of the alpha divergence", gt=0)
    discopop_tau: float = field(0.05, "temperature of the loss discopop", gt=0)
    cpo_alpha: float = field(1.0, "weight of the chosen answer's own loss in cpo and simpo", ge=0)
    simpo_gamma: float = field(1.0, "margin by which simpo prefers the chosen answer", ge=0)
    desirable_weight: float = field(1.0, "weight of good answers in kto", ge=0)
    undesirable_weight: float = field(1.0, "weight of bad answers in kto", ge=0)
    center_rewards_coefficient: float | None = field(
        None, "weight of the square of a pair's rewards in rm, which keeps them around zero", ge=0
    )
