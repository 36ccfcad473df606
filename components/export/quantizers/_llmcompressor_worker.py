"""llm-compressor, run in the environment `llmcompressor`, where nothing of Martlet's is installed."""

import re
from typing import Any


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    """Write `request["source"]` into `request["folder"]`: by GPTQ with `bits` and `group_size`, or in FP8."""
    import transformers
    from llmcompressor import oneshot

    model_class = getattr(transformers, request["class"])
    model = model_class.from_pretrained(request["source"], dtype="auto", local_files_only=True)
    oneshot(model=model, recipe=recipe(request), **calibration(request))
    model.save_pretrained(request["folder"], save_compressed=True)
    return {}


def recipe(request: dict[str, Any]) -> Any:
    """Return the modifier for all linear layers but those in the modules `ignore`."""
    from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier

    ignore = [pattern for name in request["ignore"] for pattern in (name, rf"re:{re.escape(name)}\..*")]
    if request["method"] == "fp8":
        return QuantizationModifier(targets="Linear", scheme="FP8_DYNAMIC", ignore=ignore)
    size = request["group_size"]
    groups = {"strategy": "channel"} if size == -1 else {"strategy": "group", "group_size": size}
    weights = {"num_bits": request["bits"], "type": "int", "symmetric": True, **groups}
    return GPTQModifier(ignore=ignore, config_groups={"group_0": {"targets": ["Linear"], "weights": weights}})


def calibration(request: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `oneshot` for the rows of token ids, if there are some."""
    rows = request["rows"]
    if not rows:
        return {}
    from datasets import Dataset

    columns = {"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}
    return {
        "dataset": Dataset.from_dict(columns),
        "num_calibration_samples": len(rows),
        "max_seq_length": max(map(len, rows)),
        "batch_size": request["batch_size"],
        "shuffle_calibration_samples": False,
    }
