"""What a run saves: the weights in the tuner's format, the tokenizer and the arguments; weights that are divided among
processes are made whole one after the other.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.files import write_json
from components.sharded import is_any_divided, shape, whole
from components.training import ranks
from components.training.job import Job

if TYPE_CHECKING:
    import torch

FILE_SIZE = "5GB"
"""Most that one file of weights holds."""
DTYPES = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16", "int64": "I64", "int32": "I32",
          "uint8": "U8", "bool": "BOOL"}  # fmt: skip
"""Names that safetensors has for precisions."""


def write_model(job: Job, folder: Path, save: Callable[..., None]) -> None:
    """Write the job's model into `folder`, by the tuner's `save`; all processes call this together."""
    weights = DividedWeights.of(job)
    if ranks.is_writer():
        folder.mkdir(parents=True, exist_ok=True)
        save(job.model, folder, **({"weights": weights} if weights else {}))
        job.tokenizer.save_pretrained(str(folder))
        write_json(folder / "args.json", job.arguments)
    elif weights:
        for _ in weights:  # this process gives its parts
            pass


class DividedWeights:
    """The weights that a checkpoint holds, while each process has only a part of them.

    All processes iterate together. The process that writes gets the name and a whole copy, in the CPU's memory, of one
    weight after the other; the others get nothing.
    """

    def __init__(self, weights: "dict[str, torch.Tensor]") -> None:
        import torch
        from huggingface_hub import split_torch_state_dict_into_shards

        # Readers want each value at a multiple of its size.
        wide_first = sorted(weights.items(), key=lambda item: -item[1].element_size())
        self.empty = {name: torch.empty(shape(w), dtype=w.dtype, device="meta") for name, w in wide_first}
        self.plan = split_torch_state_dict_into_shards(self.empty, max_shard_size=FILE_SIZE)
        self.weights = {name: weights[name] for names in self.plan.filename_to_tensors.values() for name in names}

    @classmethod
    def of(cls, job: Job) -> "DividedWeights | None":
        """Return the weights that a checkpoint of `job` holds, or None where every process has them whole."""
        if not is_any_divided(job.model):
            return None
        tensors = job.model.state_dict(keep_vars=True)
        if job.params.tuner.tuner_type != "full":
            tensors = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
        once = {id(tensor): name for name, tensor in reversed(tensors.items())}  # of tied weights the first
        return cls({name: tensors[name] for name in reversed(once.values())})

    def __iter__(self) -> "Iterator[tuple[str, torch.Tensor]]":
        for name, weight in self.weights.items():
            with whole(weight) as values:
                copy = values.detach().to("cpu", copy=True) if ranks.is_writer() else None
            if copy is not None:
                yield name, copy

    def write(self, folder: Path) -> None:
        """Write model.safetensors, or several files and their index, as transformers does, with one whole weight in
        memory at a time."""
        weights = iter(self)
        for file, names in self.plan.filename_to_tensors.items():
            with (folder / file).open("wb") as stream:
                stream.write(_header({name: self.empty[name] for name in names}))
                for _ in names:
                    stream.write(_bytes(next(weights)[1]))
        if self.plan.is_sharded:
            index = {"metadata": self.plan.metadata, "weight_map": self.plan.tensor_to_filename}
            write_json(folder / "model.safetensors.index.json", index)


def _header(tensors: "dict[str, torch.Tensor]") -> bytes:
    """Return the beginning of a file in the format of safetensors, whose library writes no tensors one by one."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in tensors.items():
        dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
        entries[name] = {"dtype": dtype, "shape": [*tensor.shape], "data_offsets": [end, end + tensor.nbytes]}
        end += tensor.nbytes
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: "torch.Tensor") -> Any:
    import torch

    return tensor.contiguous().flatten().view(torch.uint8).numpy()
