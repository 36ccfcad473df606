"""Draw answers of a model, judge them by rewards, and keep what is worth learning from.

  martlet sample --model models/base --dataset examples/skills.jsonl#20 \\
    --num_return_sequences 8 --max_new_tokens 32 --reward_funcs accuracy \\
    --output_file best.jsonl

With --adapters, model and system prompt are those of the training. Without
--adapters and --model the champion answers. The same command goes on where it
was interrupted.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from apps.cli.infer import Progress
from components.config import read_flags, resolve
from tasks import effects, sampling, target

PARAMETERS = (
    "sample", "data.dataset", "reward", *target.PARAMETERS, *target.SAMPLING, "train.seed", "vllm", "lmdeploy",
    "sglang", "data.columns", "data.model_name", "data.model_author",
    "data.root_image_dir", "data.download_media", "multimodal",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    typed = resolve(read_flags(flags))
    effects.require(flags, typed, effects.SAMPLING)
    output = sampling.output_file(typed)  # before the model is looked for
    model = target.merged(target.find(flags, _note), _note)
    figures = sampling.sample(model, output, Path.cwd(), Progress())
    print("\n".join(_lines(figures)))
    print(f"{_rows(figures['kept'])} in {output}")


def _note(line: str) -> None:
    print(line, file=sys.stderr)


def _lines(figures: dict[str, Any]) -> list[str]:
    """Return what came of the answers, a line each."""
    prompts, answers = figures["prompts"], figures["answers"]
    means = ", ".join(
        f"{name} {'none' if mean is None else f'{mean:.4g}'}" for name, mean in figures["rewards"].items()
    )
    lines = [
        f"{answers} answers to {prompts} prompts, {figures['distinct']} distinct, {figures['cut_off']} cut off",
        f"mean score {_figure(figures['mean_score'])} ({means}); {figures['right'] / answers:.1%} right",
        f"of the prompts: {figures['without_difference'] / prompts:.1%} with no difference between scores, "
        f"{figures['without_right'] / prompts:.1%} with no right answer, {figures['too_easy'] / prompts:.1%} too easy",
    ]
    if figures["unanswered"]:
        lines.append(f"{figures['unanswered']} prompts could not be answered; the first: {figures['error']}")
    return lines + [f"{name} failed on {count} answers" for name, count in figures["failed_rewards"].items() if count]


def _figure(mean: float | None) -> str:
    return "none" if mean is None else f"{mean:.4g}"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"
