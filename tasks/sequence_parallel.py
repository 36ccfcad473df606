"""What does not go with rows that several processes divide among them."""

from components.config import Params
from components.training.sequence_parallel import ATTENTIONS

PROMPT_TUNERS = ("prefix_tuning",)
"""Tuners that put learned tokens before a row."""


def conflicts(params: Params) -> list[str]:
    """Return a sentence for each setting that excludes `sequence_parallel_size`."""
    if params.distributed.sequence_parallel_size == 1:
        return []
    train, tuner = params.train, params.tuner.tuner_type
    sentences: list[str] = []
    if params.method.name not in ("sft", "pt"):
        sentences.append(f"sft and pt divide rows, and {params.method.name} takes them whole; leave it out")
    if tuner in PROMPT_TUNERS:
        sentences.append(f"{tuner} puts learned tokens before each row; use --tuner_type lora")
    if train.attn_impl not in (None, *ATTENTIONS):
        sentences.append(f"rows are divided for {' and '.join(ATTENTIONS)}; leave --attn_impl {train.attn_impl} out")
    reasons = {
        "packing": (train.packing, "a divided row stands alone on its line"),
        "padding_free": (train.padding_free, "a divided row stands alone on its line"),
        "streaming": (params.data.streaming, "the order of rows is known before"),
        "neftune_noise_alpha": (train.neftune_noise_alpha, "its noise depends on the length of a whole row"),
        "torch_compile": (train.torch_compile, "processes exchange tokens within a layer"),
        "predict_with_generate": (train.predict_with_generate, "answers are written by one process"),
    }
    sentences += [f"{reason}; leave --{name} out" for name, (value, reason) in reasons.items() if value]
    return [f"sequence_parallel_size: {sentence}" for sentence in sentences]
