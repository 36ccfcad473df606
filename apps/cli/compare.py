"""Compare models on the same questions: who is better, by how much, and on which
questions.

  martlet compare output/robin models/base \\
    --eval_dataset examples/eval/skills.jsonl
  martlet compare champion 3 http://127.0.0.1:8000/v1 \\
    --eval_dataset examples/eval/skills.jsonl

A model is a folder, a checkpoint, an id on a hub, `champion`, a version's number
or a server's address. The first model is compared with each of the others. In a
workspace the gate's settings are those of params.yaml.
"""

import argparse
from pathlib import Path
from typing import Any

from apps.cli import eval as evaluation
from apps.cli.infer import Progress
from components.config import read_flags, resolve
from components.errors import ConfigError

PARAMETERS = (
    *(name for name in evaluation.PARAMETERS if name not in ("run.adapters", "run.merge_lora", "run.eval_url",
                                                             "serve.served_model_name", "model")),
    "gate.margin", "gate.confidence", "gate.min_items",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", metavar="MODEL", help="two models or more")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks import evaluating

    if len(arguments.models) < 2:
        raise ConfigError("which models? name two or more: folders, `champion`, a version's number, a server's address")
    if twice := next((spec for spec in arguments.models if arguments.models.count(spec) > 1), None):
        raise ConfigError(f"{twice} stands twice; compare it with another model")
    params = resolve(read_flags(flags)).model_copy(update={"gate": evaluating.gate_of(flags)})
    sets = evaluating.question_sets(params, Path.cwd())
    subjects = [evaluating.subject_of(spec, flags, evaluation.note) for spec in arguments.models]
    evaluations: dict[str, Any] = {}
    for spec, subject in zip(arguments.models, subjects, strict=True):
        results, evaluations[spec] = evaluating.evaluate(subject, sets, params, Path.cwd(), Progress().of_line)
        evaluation.note(f"{spec}: {evaluation.shown(results / 'eval.html')}")
    folder = evaluating.comparison_folder(subjects, params, Path.cwd())
    for verdict in evaluating.compare(evaluations, params, folder).values():
        print(verdict)
    print(f"side by side: {evaluation.shown(folder / 'eval.html')}")
