"""Every model of the installed transformers that sees or hears, tiny and random, through the product's own path.

python -m benchmarks.multimodal_types                 # all of them; writes docs/multimodal-types.md
python -m benchmarks.multimodal_types qwen3_vl llava  # these; prints the results
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.multimodal.build import Modalities, build, multimodal_types
from benchmarks.multimodal.check import TOLERANCE, take_through
from benchmarks.multimodal.hints import BATCHES, PARTS, STILL

__all__ = ["Modalities", "build", "multimodal_types", "result_of", "take_through"]

TABLE = Path(__file__).parents[1] / "docs/multimodal-types.md"
MEDIA = Modalities._fields

HEAD = """\
# Models that see and hear

Of the {types} types of multimodal language models in {versions},
{passed} go through all of this with every kind of media they take
({counts}), tiny, with random weights, in float32 on a CPU:

1. a folder with configuration, weights, tokenizer, processor and chat template is written, and Martlet loads it;
2. rows about files (a PNG, an MP4, a WAV) become tokens: what is learned decodes to the answers and their end tags, and
   the ids, and the logits, are those of the processor's own `apply_chat_template`;
3. another picture (video, sound) changes the logits of the answer;
4. two rows about different media, and one beside a row without a medium, have in a batch the losses of each alone;
5. LoRA on the language model: the loss falls; on towers and aligner (`--freeze_vit false --freeze_aligner false`):
   gradients reach them, and are finite;
6. the adapter saved and loaded, merged into the weights, and the merged folder loaded by plain transformers: the logits
   stay the same, to {tolerance} of the largest;
7. four tokens are generated.

{exceptions}

Real checkpoints, their processors and templates, half precision and GPUs are not part of this. A type that does not
pass may train all the same: the reason says how far it came here. `python -m benchmarks.multimodal_types` writes this
page.
"""


def result_of(model_type: str) -> dict[str, Any]:
    """Return for each kind of media that a type takes the `problem` in one line, or None where all is well; or the
    `problem` of the whole type; with the `seconds` that passed."""
    import logging
    import warnings

    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "base")
        try:
            kinds = [kind for kind, is_taken in build(model_type, base)._asdict().items() if is_taken]
        except Exception as error:
            return {"problem": _line(error, folder), "media": {}, "seconds": time.perf_counter() - start}
        media = {
            kind: PARTS.get((model_type, kind)) or _problem(model_type, base, kind, Path(folder, kind))
            for kind in kinds
        }
    return {"media": media, "seconds": time.perf_counter() - start}


def _problem(model_type: str, base: Path, kind: str, work: Path) -> str | None:
    try:
        take_through(base, kind, work, model_type)
    except Exception as error:
        return _line(error, str(base.parent))
    return None


def _line(error: Exception, folder: str) -> str:
    text = str(error).replace(folder, "").strip() or type(error).__name__
    return text.splitlines()[0][:200]


def passes(result: Mapping[str, Any]) -> bool:
    """Return whether a type passes with every kind of media it takes."""
    return "problem" not in result and not any(result["media"].values())


def _exceptions() -> str:
    """Return which types some check is not made of, and why."""
    lines = [f"{name} is not held to 4 for two media: {reason}." for name, reason in BATCHES.items()]
    lines += [f"{name} ({kind}) is not held to 5 for towers: {reason}." for (name, kind), reason in STILL.items()]
    return "\n".join(f"- {line}" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("types", nargs="*", help="model types; by default all, and the table is written")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    types = arguments.types or list(multimodal_types())
    results = {}
    with ProcessPoolExecutor(arguments.workers, get_context("spawn")) as pool:
        for model_type, result in zip(types, pool.map(result_of, types), strict=True):
            results[model_type] = result
            told = result.get("problem") or ", ".join(
                f"{kind} {problem or 'passes'}" for kind, problem in result["media"].items()
            )
            print(f"{model_type:<24} {result['seconds']:5.1f} s  {told}", flush=True)
    print(f"{sum(map(passes, results.values()))} of {len(results)} pass; {counts(results)}")
    if not arguments.types:
        write_table(results)


def counts(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many types pass with each kind of media, of those that take it."""
    told = []
    for kind in MEDIA:
        problems = [result["media"][kind] for result in results.values() if kind in result["media"]]
        told.append(f"{kind} {problems.count(None)} of {len(problems)}")
    return ", ".join(told)


def write_table(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write docs/multimodal-types.md."""
    import peft
    import transformers

    head = HEAD.format(
        types=len(results),
        versions=f"transformers {transformers.__version__} and peft {peft.__version__}",
        passed=sum(map(passes, results.values())),
        counts=counts(results),
        tolerance=TOLERANCE,
        exceptions=_exceptions(),
    )
    rows = []
    for name, result in results.items():
        kinds = [kind for kind, problem in result["media"].items() if problem is None]
        if kinds:
            rows.append(f"| {name} | {multimodal_types()[name]} | {', '.join(kinds)} |")
    problems = []
    for name, result in results.items():
        found = {"": result["problem"]} if "problem" in result else result["media"]
        problems += [
            f"| {name} | {multimodal_types()[name]} | {kind} | {problem.replace('|', '/')} |"
            for kind, problem in found.items()
            if problem
        ]
    tables = (
        ["| type | class | takes |", "|---|---|---|", *rows],
        ["## What does not pass", "", "| type | class | with | reason |", "|---|---|---|---|", *problems],
    )
    TABLE.write_text("\n\n".join([head.rstrip(), *("\n".join(table) for table in tables)]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
