"""AutoAWQ, run in the environment `awq`, where nothing of Martlet's is installed."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

BLOCK_TOKENS = 512
"""Most tokens of a block of calibration text: AutoAWQ reads the rows one after the other, in blocks of equal length."""


def run(request: dict[str, Any], report: Any) -> dict[str, Any]:  # noqa: ARG001
    """Write `request["source"]` with 4-bit weights into `request["folder"]`."""
    from awq import AutoAWQForCausalLM

    ids = [token for row in request["rows"] for token in row]
    length = min(BLOCK_TOKENS, len(ids))
    blocks = [ids[start : start + length] for start in range(0, len(ids) - length + 1, length)]
    with tempfile.TemporaryDirectory() as place:
        dress(Path(request["source"]), Path(place))
        model = AutoAWQForCausalLM.from_pretrained(place, safetensors=True, use_cache=False, local_files_only=True)
        settings = {"w_bit": 4, "q_group_size": request["group_size"], "zero_point": True, "version": "GEMM"}
        model.quantize(
            None,
            quant_config=settings,
            calib_data=blocks,
            max_calib_samples=len(blocks),
            max_calib_seq_len=length,
            n_parallel_calib_samples=request["batch_size"],
        )
        model.save_quantized(request["folder"])
    return {}


def dress(source: Path, folder: Path) -> None:
    """Write `source` into `folder` as transformers 4 knows models: AutoAWQ 0.2.9, the last, needs transformers 4.51."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    rope = config.pop("rope_parameters", None) or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for file in (*source.glob("*.safetensors"), *source.glob("*.safetensors.index.json")):
        (folder / file.name).symlink_to(file.resolve())
    if (source / "generation_config.json").is_file():
        shutil.copy2(source / "generation_config.json", folder)
