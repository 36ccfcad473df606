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
    if plan.divides_weights:
        sentences += _whole_only(params)
    takes_parts = plan.engine == "deepspeed" or (plan.engine == "fsdp" and tuner == "full")
    if takes_parts and not training.OPTIMIZERS.constant(optimizer, "SHARDED", False, files):
        sentences.append(
            f"optimizer: {optimizer} needs whole weights, and --{plan.engine} gives it parts; use adamw, or leave "
            f"--{plan.engine} out"
        )
    return sentences


VALUES_OF_BASE = ("pissa", "olora", "eva", "loftq")
"""First values of LoRA that are worked out from the weights of the base."""


def _whole_only(params: Params) -> list[str]:
    """Return a sentence for each setting that needs the whole weights of the base in each process."""
    sentences: list[str] = []
    first, answer = params.lora.init_weights, "use --deepspeed zero2, which leaves the weights whole, or"
    without = f"leave --{'deepspeed' if params.distributed.deepspeed else 'fsdp'} out"
    if params.tuner.tuner_type == "lora" and first in VALUES_OF_BASE:
        sentences.append(f"init_weights: {first} needs whole weights; {answer} --init_weights true")
    if params.tuner.modules_to_save:
        sentences.append(f"modules_to_save: copies of divided layers are not made; {answer} leave it out")
    if params.train.predict_with_generate:
        sentences.append(f"predict_with_generate: answers are not written by divided weights; {answer} leave it out")
    if params.quantization.quant_method:
        sentences.append(f"quant_method: quantized weights are not divided; {answer} leave it out")
    if params.method.rlhf_type:
        sentences.append(f"rlhf_type: {params.method.rlhf_type} learns with whole weights; {answer} {without}")
    elif params.method.task_type != "causal_lm":
        sentences.append(f"task_type: {params.method.task_type} trains with whole weights; {answer} {without}")
    return sentences
