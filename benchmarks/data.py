"""Data preparation: rows per second from a file of chats to token files, beside ms-swift; the data gate; memory.

    python benchmarks/data.py --swift /envs/swift/bin/python     ratios of rows/s, cold and warm
    python benchmarks/data.py --memory                           peak memory of all processes, 10k to 1M rows

Rows are generated chats in the columns of alpaca, 84 tokens each on average with a vocabulary of 8,192, one in ten in
Chinese. Imports are not measured. The marginal rate is that of the rows from 10,000 to 52,000. Martlet's time is that
of the stages fetch, validate (checks off, as ms-swift has none; a line of its own has them on) and template. Runs
alternate, so that a change in the machine's speed affects both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
SMALL, LARGE = 10_000, 52_000
"""Rows of the two files, whose difference gives the marginal rate."""

OURS = """
import json, resource, sys, time
from pathlib import Path
from tasks.stages import fetch, reuse, runner, template, validate
from tasks.stages.environment import prepare_environment
from tasks.stages.paths import Paths
from transformers import AutoTokenizer

prepare_environment()
model, data, folder, gate = sys.argv[1:]
from components.config import Params
checks = {} if gate == "on" else {f"on_{c}": "ignore" for c in CHECKS if c != "schema"}
params = Params.model_validate({"model": {"model": model}, "data": {"dataset": [data]}, "validation": checks})
paths = Paths(Path(folder), Path.cwd())
took, began = {}, time.perf_counter()
for name, work in (("fetch", lambda: runner.run("fetch", fetch.run, params, paths)),
                   ("validate", lambda: reuse.run("validate", params, paths)),
                   ("template", lambda: reuse.run("template", params, paths))):
    start = time.perf_counter()
    samples = work()
    took[name] = time.perf_counter() - start
took["whole"] = time.perf_counter() - began
own, child = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
from components.parallel import processes
print("RESULT", json.dumps({"rows": samples["train_samples"], "peak_mb": own + processes() * child, **took}))
"""

SWIFT = """
import json, sys, time
from swift.dataset import EncodePreprocessor, load_dataset
from swift.model import get_processor
from swift.template import get_template

if __name__ == "__main__":
    model, data, folder, processes = sys.argv[1:]
    template = get_template(get_processor(model, model_type="qwen3"), max_length=2048, template_type="qwen3")
    template.set_mode("train")
    began = time.perf_counter()
    rows, _ = load_dataset(data, num_proc=int(processes), load_from_cache_file=False)
    rows = EncodePreprocessor(template=template)(rows, num_proc=int(processes), load_from_cache_file=False)
    print("RESULT", json.dumps({"rows": len(rows), "whole": time.perf_counter() - began}))
"""


def words(random: Random) -> list[str]:
    """Return the 4,000 words of a generated language, one to four syllables each."""
    syllables = [c + v + e for c in "bdfgklmnprstvz" for v in "aeiou" for e in ("", "n", "r", "s")]
    return ["".join(random.choices(syllables, k=random.choice((1, 2, 2, 3, 4)))) for _ in range(4000)]


def rows(count: int):
    """Yield chats of a question and an answer, log-normal in length."""
    random = Random(1)
    language = words(random)
    frequent = [1 / (rank + 10) for rank in range(len(language))]
    chinese = [chr(0x4E00 + n) for n in range(1500)]
    sentence = [random.choices(language, frequent, k=4000) for _ in range(40)]
    for n in range(count):
        some = sentence[n % 40]
        sizes = [max(4, int(random.lognormvariate(mean, 0.6))) for mean in (2.6, 3.75)]
        if n % 10 == 9:
            texts = ["".join(random.choices(chinese, k=size)) for size in sizes]
        else:
            starts = [random.randrange(0, 4000 - min(size, 3000)) for size in sizes]
            texts = [" ".join(some[at : at + size]) for at, size in zip(starts, sizes, strict=True)]
        yield {"instruction": f"{texts[0]} {n}?", "input": "", "output": f"{texts[1]}."}


def write_rows(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for row in rows(count):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def write_model(folder: Path) -> Path:
    """Write a byte-level BPE tokenizer with a ChatML template, and a model config; return `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=8192, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    raw.train_from_iterator((text for row in rows(6000) for text in (row["instruction"], row["output"])), trainer)
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=template
    ).save_pretrained(folder)
    Qwen3Config(
        vocab_size=8192, hidden_size=64, num_hidden_layers=1, architectures=["Qwen3ForCausalLM"]
    ).save_pretrained(folder)
    return folder


def measured(python: str, code: str, *arguments: object, cache: Path) -> dict[str, float]:
    """Run `code` in its own process and return the figures that it printed."""
    env = os.environ | {"HF_HUB_OFFLINE": "1", "MARTLET_CACHE": str(cache), "HF_DATASETS_CACHE": str(cache / "hf")}
    script = cache.parent / "run.py"
    script.write_text(code)
    process = subprocess.run(
        [python, str(script), *map(str, arguments)], env=env | {"PYTHONPATH": str(ROOT)}, cwd=cache.parent,
        capture_output=True, text=True,
    )  # fmt: skip
    lines = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(process.stdout[-2000:] + process.stderr[-2000:])
    return json.loads(lines[-1].removeprefix("RESULT "))


def ours(model: Path, data: Path, folder: Path, gate: str = "off", cache: str = "cold") -> dict[str, float]:
    from components.config.groups.validation import Validation

    checks = [name.removeprefix("on_") for name in Validation.model_fields if name.startswith("on_")]
    run = Path(tempfile.mkdtemp(dir=folder))
    cache_folder = folder / "warm" if cache == "warm" else run / "cache"
    return measured(sys.executable, f"CHECKS = {checks!r}\n{OURS}", model, data, run, gate, cache=cache_folder)


def compare(swift: str | None, folder: Path, runs: int, processes: int) -> None:
    model = write_model(folder / "model")
    files = [write_rows(folder / f"{count}.jsonl", count) for count in (SMALL, LARGE)]
    runs_by_tool: dict[str, list[list[dict[str, float]]]] = {"martlet": [], "ms-swift": []}
    for _ in range(runs):
        runs_by_tool["martlet"].append([ours(model, file, folder) for file in files])
        if swift:
            runs_by_tool["ms-swift"].append(
                [measured(swift, SWIFT, model, file, folder, processes, cache=folder / "swift") for file in files]
            )
    rates = {}
    for name, results in runs_by_tool.items():
        if not results:
            continue
        slopes = [(LARGE - SMALL) / (large["whole"] - small["whole"]) for small, large in results]
        wholes = [LARGE / large["whole"] for _, large in results]
        rates[name] = statistics.median(slopes), statistics.median(wholes)
        print(f"{name:<9} {rates[name][0]:9,.0f} rows/s marginal, {rates[name][1]:9,.0f} rows/s for all {LARGE:,}")
    if swift:
        ratios = [ours_ / theirs for ours_, theirs in zip(rates["martlet"], rates["ms-swift"], strict=True)]
        print(f"ratio     {ratios[0]:.1f} marginal, {ratios[1]:.1f} for all")
    cold = ours(model, files[1], folder, "on", "warm")
    warm = ours(model, files[1], folder, "on", "warm")
    print("with the gate: " + ", ".join(f"{k} {cold[k]:.2f} s" for k in ("fetch", "validate", "template", "whole")))
    print(f"warm cache:    {warm['whole']:.2f} s")


def memory(folder: Path) -> None:
    model = write_model(folder / "model")
    for count in (SMALL, 100_000, 1_000_000):
        data = write_rows(folder / "rows.jsonl", count)
        for gate in ("off", "on"):
            run = ours(model, data, folder, gate)
            print(f"{count:>9,} rows, gate {gate:<3} {run['peak_mb']:7,.0f} MB  {run['whole']:7.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swift", help="python of an environment with ms-swift")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="of ms-swift's dataset map")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.memory:
            memory(Path(folder))
        else:
            compare(options.swift, Path(folder), options.runs, options.processes)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
