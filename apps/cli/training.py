"""The screen of the commands that train, and how to go on after they were stopped."""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.cli.summaries import gate_summary, result_summary
from apps.cli.tokens_view import write_terminal
from components.config import Layer, Params, difference, read_flags, read_mapping, read_yaml, resolve
from components.errors import ConfigError, DataGateError, InterruptedRunError, MartletError
from components.files import read_json
from components.texts import duration
from tasks import direct
from tasks.progress import describe, following
from tasks.stages.paths import Paths
from tasks.stages.runner import Result

if TYPE_CHECKING:
    from apps.cli.live import LiveLines
    from tasks.looking.preview import Preview


USES = {"seq_cls": "classify texts", "embedding": "embed texts", "rm": "rate answers"}
"""What a trained model is for that writes no text, by its method."""
START = re.compile(r"(--)?resume_(from_checkpoint|only_model)(=|$)")
"""Flags and words of the command line that say what a run starts from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that are no parameters."""
    parser.add_argument("--config", type=Path, help="recipe (YAML) below the flags")
    parser.add_argument("--dry_run", action="store_true", help="check all, print what the run would need, and end")


def run(arguments: argparse.Namespace, flags: dict[str, Any], **defaults: Any) -> None:
    """Train as the flags say, over the recipe of `--config`, over the command's own `defaults`."""
    recipe: list[Layer] = [read_yaml(arguments.config)] if arguments.config else []
    params = resolve(read_mapping(defaults, "this command"), *recipe, read_flags(flags))
    direct.require(params, flags)
    if arguments.dry_run:
        _dry_run(params)
        return
    params = direct.with_start(params)
    folder = direct.run_folder(params)
    print(f"run folder: {folder}")
    for name, (_, value) in difference(params).items():
        print(f"  {name} = {value}")
    screen = _Screen(params.method.name, params.rollout.log_completions)
    try:
        direct.train(params, folder, screen, following)
    except MartletError as error:
        if isinstance(error, ConfigError):
            direct.discard(params, folder)
        elif not (
            isinstance(error, DataGateError) or direct.other_machine(params)
        ):  # which the same command meets again, too
            error.args = (f"{error}{_how_to_go_on(folder, error)}",)
        raise
    finally:
        screen.close()
    if counts := direct.left_out(Paths(folder, Path.cwd())):
        print(f"data: {counts[0]} of {counts[1]} rows were left out; see {folder / 'reports/stream.json'}")


def _dry_run(params: Params) -> None:
    from components.training.run import TIMED_PASSES
    from tasks.looking.forecast import forecast

    if params.data.streaming:
        raise ConfigError("--dry_run reads all rows; leave --streaming true out")
    outlook = forecast(params, Path(params.run.output_dir).resolve(), Path.cwd())
    rows, clean, tokens = map(result_summary, outlook.results)
    print(f"data: {rows}; after the gate: {clean}\ntokens: {tokens}")
    _Screen(params.method.name).preview(outlook.look)
    print("\n".join(outlook.lines))
    if outlook.seconds is not None:
        print(f"time: about {duration(outlook.seconds)} of training, from {TIMED_PASSES} passes")
    print("nothing was trained; without --dry_run the training begins")


class _Screen:
    """Prints what a run does, a line for each thing; on a terminal the steps move lines at its foot instead."""

    def __init__(self, method: str, shows_rollouts: bool = False) -> None:
        self.method, self.shows_rollouts = method, shows_rollouts
        self.live: LiveLines | None = _live_lines() if sys.stdout.isatty() else None

    def close(self) -> None:
        """Leave the lines at the foot of the terminal as they are."""
        if self.live:
            self.live.stop()

    def prepared(self, results: tuple[Result, Result, Result], paths: Paths) -> None:
        rows, clean, tokens = results
        print(f"data: {result_summary(rows)}; after the gate: {result_summary(clean)}")
        if findings := gate_summary(read_json(paths.reports / "data.json")["checks"]):
            print(f"  {findings}; {_relative(paths.reports / 'data.html')} shows them")
        print(f"tokens: {result_summary(tokens)}")
        for reason, count in read_json(paths.tokens / "template.json")["reasons"].items():
            print(f"  {count:,} refused: {reason}")

    def preview(self, look: "Preview") -> None:
        import numpy as np

        write_terminal(look.tokenizer, [look.row])
        low, middle, high = np.percentile(look.lengths, (0, 50, 100), method="nearest").tolist()
        learned = "" if look.learned is None else f"; {look.learned:.0%} are learned"
        print(f"lengths: {low:,} to {high:,} tokens a row, half of them up to {middle:,}{learned}")
        if look.targets:
            print(look.targets)
        print(f"steps: {look.steps:,}", flush=True)

    def streaming(self, datasets: list[dict[str, Any]], validation: Result | None) -> None:
        if validation:
            print(f"validation: {result_summary(validation)}")
        for dataset in datasets:
            print(f"data: {dataset['spec']} is streamed, files {dataset['files']}")

    def finished(self, paths: Paths) -> None:
        print("nothing to do: the run has ended, and its files stay as they are; another --output_dir trains anew")
        self._show_checkpoint(paths)

    def progress(self, entry: dict[str, Any]) -> None:
        if "rollouts" in entry and not self.shows_rollouts:
            return
        if self.live and "step" in entry:
            self.live.update(entry)
        if (line := describe(entry)) and not (self.live and "loss" in entry):
            print(line, flush=True)

    def trained(self, result: Result, paths: Paths) -> None:
        self.close()
        if place := result.get("results"):  # this is not the machine that has them
            print(f"done: the results are on machine 0, {place}")
            return
        print(f"done: {result_summary(result)}\nreport: {_relative(paths.reports / 'train.html')}")
        self._show_checkpoint(paths)

    def _show_checkpoint(self, paths: Paths) -> None:
        if checkpoint := direct.newest_checkpoint(paths.root):
            has_code = read_json(paths.root / "args.json")["model"]["trust_remote_code"]
            words = f"{shlex.quote(_relative(checkpoint))}{' --trust_remote_code true' if has_code else ''}"
            print(f"\n{USES.get(self.method, 'talk to it')}:  martlet infer --adapters {words}")


def _live_lines() -> "LiveLines":
    from apps.cli.live import LiveLines

    return LiveLines()


def _how_to_go_on(folder: Path, error: MartletError) -> str:
    checkpoint = direct.newest_checkpoint(folder)
    if not checkpoint:
        stopped = isinstance(error, InterruptedRunError)
        return "; there is no checkpoint yet, so the same command begins anew" if stopped else ""
    words = sys.argv[1:]
    kept = [word for before, word in zip(["", *words], words, strict=False) if not _says_start(before, word)]
    return f"\ngo on with:  {shlex.join(['martlet', *kept, '--resume_from_checkpoint', _relative(checkpoint)])}"


def _says_start(before: str, word: str) -> bool:
    """Return whether a word of the command line, or the one before, says what the run starts from."""
    if before == "--resume_only_model" and not word.startswith("--"):
        return "=" not in word  # its value, which may be left out
    return bool(START.match(word)) or before == "--resume_from_checkpoint"


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
