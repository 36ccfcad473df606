"""Check of llm-compressor: a tiny model is quantized in one shot, and its weights are then packed in 4 bits."""

import tempfile
from pathlib import Path
from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    import llmcompressor
    import torch
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from safetensors import safe_open
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    recipe = QuantizationModifier(targets="Linear", scheme="W4A16", ignore=["lm_head"])
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).save_pretrained(folder)
        model = LlamaForCausalLM.from_pretrained(folder)
        llmcompressor.oneshot(model=model, recipe=recipe)
        model.save_pretrained(folder, save_compressed=True)
        with safe_open(Path(folder, "model.safetensors"), "pt") as tensors:
            packed = [name for name in tensors.keys() if name.endswith("weight_packed")]  # noqa: SIM118
    if len(packed) != 7:
        raise ValueError(f"{len(packed)} of 7 matrices are packed")
    return {"torch": torch.__version__, "llmcompressor": llmcompressor.__version__}
