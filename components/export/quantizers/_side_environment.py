"""Quantizers whose tool lives in a side environment: the tool writes weights, and the configuration stays that of the
parent, with what the tool says of its quantization."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import environments
from components.config.groups.quantize import Quantize
from components.files import read_json, write_json
from components.towers import left_plain

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def quantize_in(
    environment: str,
    worker: str,
    source: Path,
    folder: Path,
    rows: Sequence[list[int]],
    settings: Quantize,
    **request: Any,
) -> None:
    """Let the script `worker` quantize the model folder `source` in `environment`, and move the weights to `folder`.

    Raises:
        ConfigError: the environment is not installed.
        MartletError: the tool failed; the message says where its output is.
    """
    import transformers

    with tempfile.TemporaryDirectory(dir=folder) as place:
        request |= {"source": str(source.resolve()), "folder": place, "rows": rows}
        model_class = getattr(transformers, read_json(source / "config.json")["architectures"][0])
        request |= {"class": model_class.__name__, "ignore": left_plain(model_class, source) or ["lm_head"]}
        request |= {"group_size": settings.group_size, "batch_size": settings.quant_batch_size}
        environments.call(environment, Path(__file__).with_name(worker), request)
        for file in (file for kind in WEIGHTS for file in Path(place).glob(kind)):
            file.rename(folder / file.name)
        written, config = read_json(Path(place, "config.json")), read_json(source / "config.json")
    dtype = written.get("dtype") or written.get("torch_dtype")
    config.pop("torch_dtype", None)
    write_json(
        folder / "config.json", {**config, "dtype": dtype, "quantization_config": written["quantization_config"]}
    )
