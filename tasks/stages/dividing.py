"""Which tuners and optimizers train weights that several processes divide among them."""

from pathlib import Path

from components import training, tuners
from components.config import Params
from components.training.sharding import Plan


def undividable(params: Params, plan: Plan, files: list[Path]) -> list[str]:
    """Return a sentence for the tuner and the optimizer if they need whole weights where `plan` divides them.

    DeepSpeed hands an optimizer flat parts of all weights in every stage; FSDP leaves an adapter whole.
    """
    tuner, optimizer = params.tuner.tuner_type, params.train.optimizer
    sentences: list[str] = []
    if plan.divides_weights and not tuners.TUNERS.constant(tuner, "SHARDED", False, files):
        sentences.append(
            f"tuner_type: {tuner} needs the whole weights of the base; use --deepspeed zero2, which leaves them whole, "
            "or --tuner_type lora"
        )
    takes_parts = plan.engine == "deepspeed" or (plan.engine == "fsdp" and tuner == "full")
    if takes_parts and not training.OPTIMIZERS.constant(optimizer, "SHARDED", False, files):
        sentences.append(
            f"optimizer: {optimizer} needs whole weights, and --{plan.engine} gives it parts; use adamw, or leave "
            f"--{plan.engine} out"
        )
    return sentences
