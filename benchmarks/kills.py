"""Trainings that are killed (SIGKILL) and started again must end as if nothing had happened.

    python benchmarks/kills.py [--runs 100] [--tuners lora full …] [--seed 0]

Every tuner, optimizer and callback is trained for a few steps on the tiny base, packed and not, with 0 and 2 loader
workers. Each run is killed once or twice: while it loads, at a step, in an evaluation, in a save, at its end. Then it
is started once more and runs to its end, and all of its files must be bit-equal to those of a run that nothing happened
to. A run is the stage `train` of `martlet sft`, in a process forked from this one, which has imported everything.
Prints a line for each run and a table; the exit code is 1 if any run differs. Needs `make base`.
"""

import argparse
import gc
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

from components.config import Params, read_mapping, resolve  # noqa: E402
from components.files import remove_leftovers, sha256, write_json  # noqa: E402
from components.training import CALLBACKS, OPTIMIZERS, preload  # noqa: E402
from components.tuners import TUNERS  # noqa: E402
from tasks.stages import fetch, methods, template, train, validate  # noqa: E402
from tasks.stages.paths import Paths  # noqa: E402

STEPS, SAVE_STEPS, EVAL_STEPS, LIMIT_S = 8, 3, 2, 300
COMMON: dict[str, Any] = {
    "max_steps": STEPS, "save_steps": SAVE_STEPS, "eval_steps": EVAL_STEPS, "logging_steps": 1, "learning_rate": 1e-3,
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "warmup_ratio": 0.2, "max_length": 64,
    "split_dataset_ratio": 0.2, "dataset_num_proc": 1, "model": str(ROOT / "models/base"), "dataset": ["rows.jsonl"],
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {
    "llamapro": {"llamapro_num_new_blocks": 3},
    "galore": {"galore_rank": 8, "galore_update_proj_gap": 3},
    "lisa": {"lisa_activated_layers": 1, "lisa_step_interval": 2},
}
"""What a method needs on so small a base."""
LORA_WAYS: dict[str, dict[str, Any]] = {
    "bnb": {"quant_method": "bnb"},
    "grouped": {"group_by_length": True, "save_total_limit": 1},
}
PHASES = ("load", "step", "evaluation", "save", "end")
FORKS = get_context("fork")


def cases(tuners: list[str]) -> dict[str, dict[str, Any]]:
    """Return the parameters of each way to train, by name: every tuner, then every optimizer and callback."""
    ways = {name: {"tuner_type": name, **OWN.get(name, {})} for name in tuners}
    for kind in (OPTIMIZERS, CALLBACKS):
        for name in kind.names():
            partners = [tuner for tuner in kind.constant(name, "TUNERS", ("lora",)) if tuner in tuners]
            if partners and name != "adamw":
                value = name if kind is OPTIMIZERS else [name]
                tuner = {"tuner_type": partners[0], **OWN.get(partners[0], {})}
                ways[f"{partners[0]} {name}"] = {**tuner, kind.parameter: value, **OWN.get(name, {})}
    return ways | ({f"lora {name}": way for name, way in LORA_WAYS.items()} if "lora" in tuners else {})


def with_packs(ways: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the ways without packing, and where they go together with packing."""
    packs = {"packing": True, "packing_length": 64}
    packed = {
        f"{name} packed": {**way, **packs}
        for name, way in ways.items()
        if "group_by_length" not in way
        and "packing" not in TUNERS.constant(way.get("tuner_type", "lora"), "EXCLUDES", ())
    }
    return ways | packed


def settings(way: dict[str, Any], workers: int) -> Params:
    return resolve(read_mapping({**COMMON, **way, "dataloader_num_workers": workers}, "kills"))


def start(body: Callable[..., Any], folder: Path, *arguments: Any) -> Any:
    """Run `body` in a process of its own, which writes what it prints into `folder`."""

    def run() -> None:
        printed = os.open(folder / "printed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(printed, descriptor)
        body(folder, *arguments)

    process = FORKS.Process(target=run)
    process.start()
    return process


def prepare(folder: Path) -> None:
    """Write the rows, and what the stages before the training make of them."""
    rows = [{"query": f"what is {n}?", "response": f"it is {n} and {n * 7 % 13}"} for n in range(30)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for stage in (fetch, validate, template):
        stage.run(settings({}, 0), Paths(folder, folder))


def learn(folder: Path, params: Params) -> None:
    """Train in `folder`, from where a run there has come to, as `martlet sft` does once it holds the folder."""
    remove_leftovers(folder)
    paths = Paths(folder, folder, folder / "run")
    write_json(paths.methods, methods.used(params, folder))
    train.run(params, paths)


def files_of(folder: Path) -> dict[str, str]:
    """Return a hash of each file that a run left, the logs aside."""
    files = [file for name in ("run", "models", "reports") for file in (folder / name).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): hash_of(file) for file in files}


def hash_of(file: Path) -> str:
    """Return the sha256 of a file; of an optimizer's state, whose entries lie in the order in which they were made,
    that of its values in one order; of a file that says how many loader workers there are, or how fast the steps were,
    nothing."""
    if file.name in ("args.json", "manifest.json", "train.html"):
        return ""
    if file.name != "optimizer.pt":
        return sha256(file)
    import torch

    state, digest = torch.load(file, weights_only=True), hashlib.sha256(b"")
    for weight, values in sorted(state["state"].items()):
        for name, value in sorted(values.items()):
            is_tensor = isinstance(value, torch.Tensor)
            digest.update(f"{weight} {name} {None if is_tensor else value}".encode())
            digest.update(value.numpy().tobytes() if is_tensor else b"")
    return digest.hexdigest()


def moment(phase: str, folder: Path, step: int) -> Callable[[], bool]:
    """Return a function that says whether a run has come to `phase`, at or after `step` where the phase has one."""
    progress = folder / "logs/train/progress.jsonl"

    def is_at(number: int) -> bool:
        return progress.is_file() and f'"step": {number},' in progress.read_text()

    def next_of(every: int) -> int:
        return min(-(-step // every) * every, STEPS)

    return {
        "load": lambda: True,
        "step": lambda: is_at(step),
        "evaluation": lambda: is_at(next_of(EVAL_STEPS)),
        "save": lambda: (folder / f"run/checkpoint-{next_of(SAVE_STEPS)}").exists(),
        "end": lambda: is_at(STEPS),
    }[phase]


def killed(folder: Path, params: Params, phase: str, draw: random.Random) -> str:
    """Start a run and kill it in `phase`; return where that was, or "" for a run that ended before."""
    (folder / "logs/train/progress.jsonl").unlink(missing_ok=True)
    process, step = start(learn, folder, params), draw.randint(1, STEPS)
    has_come, until = moment(phase, folder, step), time.monotonic() + LIMIT_S
    while process.is_alive() and not has_come() and time.monotonic() < until:
        time.sleep(0.0005)
    time.sleep(draw.random() * {"load": 0.5, "end": 0.3}.get(phase, 0.02))
    process.kill()
    process.join()
    return f"{phase} {step}" if process.exitcode == -signal.SIGKILL else ""


def disturbed(folder: Path, params: Params, whole: dict[str, str], draw: random.Random) -> tuple[list[str], list[str]]:
    """Kill a run once or twice, and let it go on to its end; return where it was killed, and the files that differ."""
    deaths = [killed(folder, params, draw.choice(PHASES), draw) for _ in range(draw.choice((1, 1, 2)))]
    last = start(learn, folder, params)
    last.join(LIMIT_S)
    now = files_of(folder)
    different = [file for file in sorted({*now, *whole}) if now.get(file) != whole.get(file)]
    wrong = [f"exit code {last.exitcode}, see {folder}/printed.txt"] if last.exitcode else []
    return [death for death in deaths if death], wrong + different


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--tuners", nargs="+", default=TUNERS.names())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    home, began, draw = Path(tempfile.mkdtemp(prefix="martlet-kills-")), time.monotonic(), random.Random(options.seed)
    os.environ["MARTLET_CACHE"] = str(home / "cache")
    preload().join()
    gc.freeze()  # each training looks for garbage, which among all that was imported takes longer than its steps
    data = home / "data"
    data.mkdir()
    start(prepare, data).join()
    ways = list(with_packs(cases(options.tuners)).items())
    draw.shuffle(ways)
    kills, unequal, wholes = Counter[str](), 0, dict[str, dict[str, str]]()
    for number in range(options.runs):
        name, way = ways[number % len(ways)]
        workers = number // len(ways) % 2 * 2
        folder = home / f"{number} {name}".replace(" ", "-")
        if name not in wholes:
            whole = shutil.copytree(data, home / f"whole {name}".replace(" ", "-"))
            process = start(learn, whole, settings(way, 0))
            process.join(LIMIT_S)
            if process.exitcode:
                sys.exit(f"{name}: even an undisturbed run fails:\n{(whole / 'printed.txt').read_text()[-2000:]}")
            wholes[name] = files_of(whole)
        deaths, different = disturbed(shutil.copytree(data, folder), settings(way, workers), wholes[name], draw)
        kills.update(death.partition(" ")[0] for death in deaths)
        unequal += bool(different)
        story = f"{number + 1:>4} {name:<20} {workers} workers, killed at {', '.join(deaths) or 'no time'}"
        print(f"{story:<70} {'DIFFERENT: ' + ', '.join(different[:5]) if different else 'equal'}", flush=True)
        if not different:
            shutil.rmtree(folder)
    phases = ", ".join(f"{kills[phase]} in {phase}" for phase in PHASES)
    print(
        f"{options.runs - unequal} of {options.runs} runs ended in the same files, in {time.monotonic() - began:.0f} s"
    )
    print(f"{sum(kills.values())} kills: {phases}")
    if not unequal:
        shutil.rmtree(home)
    sys.exit(unequal > 0)


if __name__ == "__main__":
    main()
