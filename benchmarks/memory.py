"""The estimate of a training's memory beside what the training then takes, over tuners, lengths and batches.

    python -m benchmarks.memory             all cases, a Qwen3 of 64M parameters with random weights
    python -m benchmarks.memory lora 4 512  one case: tuner (+optimizer, +task), rows in a batch, tokens in a sequence

By default glibc keeps most of what is freed, and a process may hold twice what is in use. Here it gives memory back, so
that the peak is the need. A training runs in a process of its own, through the stage `train`. What it takes is the peak
of the process's resident memory less what the process held before the model was loaded: libraries. On Linux only.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

CASES = (
    ("lora", 2, 256), ("lora", 1, 1024), ("lora", 16, 32), ("lora+checkpointing", 4, 256), ("full", 2, 256),
    ("full", 1, 64), ("full+galore", 2, 256), ("reft", 4, 256), ("dora", 2, 256), ("full+lisa", 2, 256),
    ("adapter", 2, 256), ("llamapro+groups", 2, 256), ("lora+bfloat16", 2, 256), ("lora+bnb", 2, 256),
    ("lora+seq_cls", 4, 256), ("full+seq_cls", 1, 64), ("lora+embedding", 2, 128), ("full+embedding", 2, 64),
    ("lora+dpo", 2, 256), ("full+dpo", 1, 256), ("lora+kto", 4, 256), ("lora+rm", 2, 256),
)  # fmt: skip
WORDS: dict[str, dict[str, dict[str, Any]]] = {
    "galore": {"train": {"optimizer": "galore"}, "galore": {"galore_target_modules": ["q_proj", "o_proj"]}},
    # for so many steps that each layer has learned once, and has its state of the optimizer
    "lisa": {
        "train": {"callbacks": ["lisa"], "max_steps": 40},
        "lisa": {"lisa_activated_layers": 1, "lisa_step_interval": 1},
    },
    "groups": {"llamapro": {"llamapro_num_new_blocks": 2, "llamapro_num_groups": 2}},
    "checkpointing": {"train": {"gradient_checkpointing": True}},
    "bfloat16": {"train": {"torch_dtype": "bfloat16"}},
    "seq_cls": {"method": {"task_type": "seq_cls"}},
    "embedding": {"method": {"task_type": "embedding"}},
    **{name: {"method": {"rlhf_type": name}} for name in ("dpo", "kto", "rm")},
    "bnb": {"quantization": {"quant_method": "bnb"}},
}
GIVES_BACK = {"MALLOC_MMAP_THRESHOLD_": "262144", "OMP_NUM_THREADS": "1"}
"""Variables with which glibc gives freed tensors back to the system."""
SHAPES = {
    "seq_cls": "classification",
    "embedding": "pair",
    "dpo": "preference",
    "kto": "label",
    "rm": "preference",
}
VOCABULARY = 8000
STEPS = 2


class Case(NamedTuple):
    """Bytes that were estimated and measured, and the seconds that the estimate took."""

    estimated: int
    measured: int
    seconds: float

    @property
    def error(self) -> float:
        """How far the estimate is off, as a share of what was measured."""
        return self.estimated / self.measured - 1


def measure(name: str, rows: int, length: int) -> Case:
    """Return a case, measured in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.memory", name, str(rows), str(length), "--here"]
    ended = subprocess.run(words, capture_output=True, text=True, check=True, env={**os.environ, **GIVES_BACK})
    return Case(**json.loads(ended.stdout.splitlines()[-1]))


def here(name: str, rows: int, length: int) -> Case:
    """Train in this process."""
    import time

    from components.files import read_json
    from tasks.stages import estimate, train
    from tasks.stages.setup import set_up

    with TemporaryDirectory() as folder:
        params = _params(name, rows)
        train.run(params, _prepared(Path(folder, "small"), params, 2 * rows, 16, width=64, layers=2))  # imports all
        paths = _prepared(Path(folder, "large"), params, 2 * rows, length, width=640, layers=10)
        setup = set_up(params, paths)
        began = time.perf_counter()
        need = estimate.estimate(setup.params, paths, estimate.rows_of(setup))
        assert need
        seconds = time.perf_counter() - began
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
        before = _status("VmRSS")
        train.run(params, paths)
        assert read_json(paths.reports / "train.json")["steps"] == params.train.max_steps
        return Case(need.peak, _status("VmHWM") - before, seconds)


def _prepared(root: Path, params: Any, count: int, length: int, **shape: int) -> Any:
    """Return the paths of a run whose base and tokens are there."""
    from components import models
    from components.files import write_json
    from tasks.stages import methods
    from tasks.stages.paths import Paths

    paths = Paths(root, root, checkpoints=root)
    _write_base(root / "base", **shape)
    _write_tokens(paths.tokens, SHAPES.get(params.method.name, "sft"), count, length)
    write_json(paths.model, models.resolve("base", None, use_hf=False, workspace=root))
    write_json(paths.methods, methods.used(params, root))
    return paths


def _params(name: str, rows: int) -> Any:
    from components.config import Params

    tuner, *words = name.split("+")
    train = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 1, "max_steps": STEPS}
    groups: dict[str, dict[str, Any]] = {"train": train, "tuner": {"tuner_type": tuner}}
    for word in words:
        for group, values in WORDS[word].items():
            groups[group] = {**groups.get(group, {}), **values}
    return Params.model_validate(groups)


def _write_base(folder: Path, width: int, layers: int) -> None:
    """Write a random Qwen3, with a tokenizer of single bytes."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

    alphabet = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="!").save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, num_key_value_heads=width // 64, head_dim=64, max_position_embeddings=4096,
        tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)


def _write_tokens(folder: Path, shape: str, count: int, length: int) -> None:
    """Write rows of random tokens: for sft the second half of each is learned, of classes there are two, a pair has two
    sequences of that length and two negatives, and an answer is the second half of a sequence."""
    import numpy as np

    from components.tokens import IGNORED, Ragged, schema, to_batch, tokens_writer

    def ragged(values: np.ndarray, size: int) -> Ragged:
        return Ragged(values.ravel(), np.arange(0, values.size + 1, size))

    def random(size: int) -> Ragged:
        return ragged(np.random.default_rng(0).integers(3, VOCABULARY, (count, size)), size)

    beside: dict[str, list[Any]] = {}
    ids = random(length)
    if shape == "pair":
        columns = {"anchor_ids": ids, "positive_ids": ids, "negative_ids": random(2 * length)}
        columns["negative_lengths"] = ragged(np.full((count, 2), length), 2)
        beside = {"score": ["null"] * count}
    elif shape == "classification":
        columns, beside = {"input_ids": ids}, {"target": [str(n % 2) for n in range(count)]}
    elif shape in ("preference", "label"):
        half, names = random(length // 2), ("chosen", "rejected") if shape == "preference" else ("completion",)
        others = ragged(half.values[::-1], length // 2)
        answers = dict(zip(names, (half, others), strict=False))
        columns = {"prompt_ids": half}
        columns |= {f"{name}_{part}": ids for name, ids in answers.items() for part in ("ids", "labels")}
        beside = (
            {"margin": ["null"] * count} if shape == "preference" else {"label": [n % 2 == 0 for n in range(count)]}
        )
    else:
        labels = ids.values.reshape(count, length).copy()
        labels[:, : length // 2] = IGNORED
        columns = {"input_ids": ids, "labels": ragged(labels, length)}
    folder.mkdir(parents=True)
    with tokens_writer(folder / "train.arrow", schema(shape)) as writer:
        writer.write_batch(to_batch(shape, columns, ["random"] * count, range(1, count + 1), beside))


def _status(name: str) -> int:
    """Return bytes of an entry of this process's status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Print a table of cases, or one case as JSON."""
    if len(sys.argv) > 4:
        print(json.dumps(here(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))._asdict()))
        return
    chosen = [(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))] if len(sys.argv) > 1 else CASES
    print("| tuner | rows × tokens | estimated | measured | off by |\n|---|---|---|---|---|")
    for name, rows, length in chosen:
        case = measure(name, rows, length)
        figures = f"{case.estimated / 1e6:,.0f} MB | {case.measured / 1e6:,.0f} MB | {case.error:+.0%}"
        print(f"| {name} | {rows} × {length} | {figures} |", flush=True)
        print(f"estimated in {case.seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
