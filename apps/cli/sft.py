"""Fine-tune a model on chats: fetch, validate, template and train in one process, into --output_dir.

  martlet sft --model Qwen/Qwen2.5-7B-Instruct --train_type lora \\
    --dataset my.jsonl 'AI-ModelScope/alpaca-gpt4-data-en#500' --learning_rate 1e-4 --lora_rank 8

No workspace is needed. Flags win over --config FILE (a recipe), which wins over the defaults.
"""

import argparse
import re
import shlex
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from apps.cli.live import describe, following
from apps.cli.validate import missing_files
from apps.cli.words import gate, told
from components import tracking
from components.config import Params, difference, read_flags, read_yaml, resolve
from components.errors import ConfigError, InterruptedRunError, MartletError, did_you_mean
from components.files import read_json, write_json
from components.parallel import KILLED, die_with_parent
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, Stage

PARAMETERS = (
    "data", "validation", "model", "template", "tuner", "train", "tracking",
    "run.output_dir", "run.add_version", "run.resume_from_checkpoint",
    "run.dataset_num_proc",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, help="recipe (YAML) below the flags")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    params = resolve(*([read_yaml(arguments.config)] if arguments.config else []), read_flags(given))
    _require(params)
    folder = run_folder(params)
    paths = Paths(root=folder, workspace=Path.cwd(), checkpoints=folder)
    write_json(folder / "args.json", params.model_dump())
    print(f"run folder: {folder}")
    for name, (_, value) in difference(params).items():
        print(f"  {name} = {value}")
    tracked = params.tracking.report_to == "mlflow"
    tracking.begin(folder, params.model_dump(), folder.name)
    try:
        (_streamed if params.data.streaming else _stages)(params, paths, tracked)
    except (InterruptedRunError, KeyboardInterrupt) as error:
        reason = str(error) or "interrupted; nothing was trained yet"
        tracking.end(folder, "interrupted", reason)
        raise InterruptedRunError(f"{reason}{_how_to_go_on(folder)}") from error
    except MartletError as error:
        tracking.end(folder, "failed", str(error))
        error.args = (f"{error}{_how_to_go_on(folder)}",)
        raise
    tracking.end(folder, "done")


def _require(params: Params) -> None:
    needed = {"model": params.model.model, "dataset": params.data.dataset}
    missing = [f"--{name} is needed" for name, value in needed.items() if not value]
    if missing:
        raise ConfigError("; ".join(missing) + "; `martlet sft --help` shows an example")
    problems = missing_files(params)
    if params.data.streaming:
        from tasks.stages import stream

        problems += stream.problems(params)
    if problems:
        raise ConfigError("\n".join(problems))


def run_folder(params: Params) -> Path:
    """The folder of this run: a new vN-DATE-TIME below --output_dir, or that of the checkpoint being continued."""
    if params.run.resume_from_checkpoint:
        checkpoint = Path(params.run.resume_from_checkpoint).resolve()
        if not checkpoint.is_dir():
            siblings = [found.name for found in checkpoint.parent.glob("checkpoint-*")]
            raise ConfigError(
                f"--resume_from_checkpoint {checkpoint}: no such folder{did_you_mean(checkpoint.name, siblings)}"
            )
        return checkpoint.parent
    folder = Path(params.run.output_dir).resolve()
    if params.run.add_version:
        taken = [int(m[1]) for p in folder.glob("v*") if (m := re.match(r"v(\d+)-", p.name))]
        folder /= f"v{max(taken, default=-1) + 1}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output_dir {params.run.output_dir}: {error.strerror}") from error
    return folder


def _stages(params: Params, paths: Paths, tracked: bool) -> None:
    from components.training import preload

    # Importing what trains takes seconds; the data are made ready meanwhile, in a process of their own.
    with ProcessPoolExecutor(1, get_context("fork"), die_with_parent) as other:
        data = other.submit(_data, params, paths)
        imports = preload()
        try:
            fetched, checked, tokens = data.result()
        except BrokenProcessPool as error:
            raise MartletError(KILLED) from error
    print(f"data: {told(fetched)}; after the gate: {told(checked)}")
    if found := gate(read_json(paths.reports / "data.json")["checks"]):
        print(f"  {found}; {_relative(paths.reports / 'data.html')} shows them")
    print(f"tokens: {told(tokens)}")
    for reason, count in read_json(paths.tokens / "template.json")["reasons"].items():
        print(f"  {count:,} refused: {reason}")
    imports.join()

    from tasks.stages import train

    _train(train.run, params, paths, tracked)


def _streamed(params: Params, paths: Paths, tracked: bool) -> None:
    """The same with the data in a process that goes on beside training."""
    from components.training import preload
    from tasks.stages import stream, train

    if params.data.val_dataset:
        with ProcessPoolExecutor(1, get_context("fork"), die_with_parent) as other:
            print(f"validation: {told(other.submit(_data, *stream.held_out(params, paths)).result()[2])}")
    with stream.flowing(params, paths) as feed:
        preload()
        for found in feed.about["datasets"]:
            print(f"data: {found['spec']} passes by, files {found['files']}")
        _train(partial(train.run, feed=feed), params, paths, tracked)
    if feed.report["left_out"]:
        left_out = sum(feed.report["left_out"].values())
        print(f"data: {left_out} of {feed.report['rows']} rows were left out; see {paths.reports / 'stream.json'}")


def _train(body: Stage, params: Params, paths: Paths, tracked: bool) -> None:
    from tasks.stages import runner

    with following(paths.log("train") / "progress.jsonl", _Screen(paths, tracked)):
        result = runner.run("train", body, params, paths)
    print(f"done: {told(result)}")
    last = _newest_checkpoint(paths.root)
    if last:
        print(f"\ntalk to it:  martlet infer --adapters {shlex.quote(_relative(last))}")


def _data(params: Params, paths: Paths) -> tuple[Result, Result, Result]:
    from tasks.stages import fetch, reuse, runner

    fetched = runner.run("fetch", fetch.run, params, paths)
    return fetched, reuse.run("validate", params, paths), reuse.run("template", params, paths)


class _Screen:
    """Shows each line of progress; MLflow is told from the first step on, so that the start does not wait for it."""

    def __init__(self, paths: Paths, tracked: bool) -> None:
        self.paths, self.waiting = paths, tracked

    def __call__(self, entry: dict[str, Any]) -> None:
        if line := describe(entry):
            print(line, flush=True)
        if self.waiting and "step" in entry:
            tracking.follow(self.paths.root, self.paths.workspace)
            self.waiting = False


def _newest_checkpoint(folder: Path) -> Path | None:
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    return found[-1] if found else None


def _how_to_go_on(folder: Path) -> str:
    checkpoint = _newest_checkpoint(folder)
    if not checkpoint:
        return ""
    words = [w for w in sys.argv[1:] if not w.startswith("--resume_from_checkpoint=")]
    if "--resume_from_checkpoint" in words:
        at = words.index("--resume_from_checkpoint")
        del words[at : at + 2]
    return f"\ngo on with:  {shlex.join(['martlet', *words, '--resume_from_checkpoint', _relative(checkpoint)])}"


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
