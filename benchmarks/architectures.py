"""Every causal language model of the installed transformers, tiny and random, through a whole LoRA training.

python -m benchmarks.architectures                # all of them; writes docs/architectures.md
python -m benchmarks.architectures qwen3 gpt2     # these; prints the results
"""

import argparse
import re
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.tiny_models import causal_types, tiny

TABLE = Path(__file__).parents[1] / "docs/architectures.md"
ROWS, TOKENS, STEPS = 2, 12, 3
TOLERANCE = 1e-4
"""How far two logits may differ, relative to the largest."""

HEAD = """\
# Architectures

Of the {types} types of causal language models in {versions}, {passed} go through all of this, tiny, with random
weights, in float32 on a CPU:

1. saved, and loaded strictly;
2. trained by LoRA on `all-linear`: the loss falls, and every kind of adapted layer learns;
3. the adapter saved and loaded, merged into the weights, and the merged folder loaded: the logits stay the same, to
   {tolerance} of the largest;
4. asked for four tokens.

Real checkpoints, their tokenizers and templates, half precision and GPUs are not part of this. A type that does not
pass may train all the same: the reason says how far it came here. The last column says whether the model can recompute
activations (`--gradient_checkpointing`). `python -m benchmarks.architectures` writes this page.
"""


def take_through(model_type: str, folder: Path) -> dict[str, Any]:
    """Return what a tiny model of a type does on its way: `layers` that LoRA adapted, and whether the model can
    recompute activations (`checkpointing`).

    Raises whatever goes wrong; AssertionError says that a number is not what it must be.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    from components.config import Params
    from components.models import load_model
    from components.tuners import lora

    torch.manual_seed(0)
    base, adapter, merged_folder = (folder / name for name in ("base", "adapter", "merged"))
    tiny(model_type).save_pretrained(base)
    ids = torch.randint(5, 150, (ROWS, TOKENS))

    params = Params.model_validate({"lora": {"lora_rank": 4, "lora_dropout": 0.0}})
    plain_model = load_model(base, "float32")
    checkpointing = bool(plain_model.supports_gradient_checkpointing)
    model = lora.wrap(plain_model, params, 1)
    losses = _learn(model, ids)
    assert losses[-1] < losses[0], f"the loss rises: {losses[0]:.4f} to {losses[-1]:.4f}"
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
    learned = {_kind(name) for name, layer in layers.items() if layer.lora_B["default"].weight.any()}
    unlearned = {_kind(name) for name in layers} - learned
    assert not unlearned, f"nothing learned in {', '.join(sorted(unlearned))}"

    trained = _logits(model, ids)
    lora.save(model, adapter)
    loaded = lora.load(load_model(base, "float32"), adapter)
    _compare("the loaded adapter", trained, _logits(loaded, ids))
    merged = lora.merge(loaded)
    _compare("the merged model", trained, _logits(merged, ids))
    merged.save_pretrained(merged_folder)
    read_back = load_model(merged_folder, "float32")
    _compare("the merged folder", trained, _logits(read_back, ids))
    answer = read_back.generate(
        ids[:, :4], attention_mask=torch.ones_like(ids[:, :4]), max_new_tokens=4, min_new_tokens=4, do_sample=False
    )
    assert answer.shape == (ROWS, 8), f"generation gave {list(answer.shape)} tokens"
    return {"layers": sorted({_kind(name).rpartition(".")[2] for name in layers}), "checkpointing": checkpointing}


def _learn(model: Any, ids: Any) -> list[float]:
    """Train three steps on one batch, in training mode; return the losses before each step and after the last."""
    import torch

    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=2e-3)
    losses = []
    for step in range(STEPS + 1):
        torch.manual_seed(7)  # dropout of the base, where it has one
        loss = _loss(model.train(), ids)
        losses.append(float(loss.detach()))
        if step < STEPS:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return losses


def _loss(model: Any, ids: Any) -> Any:
    import torch

    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())


def _logits(model: Any, ids: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits


def _compare(what: str, expected: Any, logits: Any) -> None:
    difference = float((expected - logits).abs().max() / expected.abs().max())
    assert difference <= TOLERANCE, f"{what} answers otherwise, by {difference:.1e} of the largest logit"


def _kind(name: str) -> str:
    """Return a layer's name with a # for each number in it: an expert that no token went to has learned nothing."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "#", name)


def result_of(model_type: str) -> dict[str, Any]:
    """Return what `take_through` does, or the `problem` in one line, with the `seconds` that passed."""
    import logging
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = take_through(model_type, Path(folder))
        except Exception as error:
            text = str(error).replace(folder, "").strip() or type(error).__name__
            result = {"problem": text.splitlines()[0][:200], "error": type(error).__name__}
    return {**result, "seconds": round(time.perf_counter() - start, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", help="model types; by default all, and the table is written")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    types = arguments.types or list(causal_types())
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        results = {}
        for model_type, result in zip(types, pool.map(result_of, types), strict=True):
            results[model_type] = result
            print(f"{model_type:<26} {result['seconds']:5.1f} s  {result.get('problem', 'passes')}", flush=True)
    print(f"{sum('problem' not in result for result in results.values())} of {len(results)} pass", file=sys.stderr)
    if not arguments.types:
        write_table(results)


def write_table(results: dict[str, dict[str, Any]]) -> None:
    """Write docs/architectures.md."""
    import peft
    import transformers

    passed = {name: result for name, result in results.items() if "problem" not in result}
    versions = f"transformers {transformers.__version__} and peft {peft.__version__}"
    lines = [
        HEAD.format(types=len(results), versions=versions, passed=len(passed), tolerance=TOLERANCE),
        "| type | class | layers with LoRA | recomputes |",
        "|---|---|---|---|",
        *(
            f"| {name} | {causal_types()[name]} | {', '.join(result['layers'])} | "
            f"{'yes' if result['checkpointing'] else 'no'} |"
            for name, result in passed.items()
        ),
        "",
        "## What does not pass",
        "",
        "| type | class | reason |",
        "|---|---|---|",
        *(
            f"| {name} | {causal_types()[name]} | {result['problem'].replace('|', '/')} |"
            for name, result in results.items()
            if name not in passed
        ),
    ]
    TABLE.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
