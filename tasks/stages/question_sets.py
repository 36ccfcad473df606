"""The question sets of a run, the user's own and EvalScope's, and a served model's judged answers to them."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from components.config import Params
from components.evaluation import Record, Server, ask, benchmarks, read_questions
from components.evaluation.ask import OnProgress
from components.files import read_json
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.scoring import Questions, require_scorers, scored

BENCHMARKS = "benchmarks.json"
"""The file of EvalScope's benchmarks and what decides about their questions, in the folder of the question sets."""


class Sets(NamedTuple):
    """The user's own questions by set, and by its name what decides about the questions of each of EvalScope's
    benchmarks."""

    questions: Questions
    benchmarks: dict[str, Any]

    def __bool__(self) -> bool:
        return bool(self.questions or self.benchmarks)


def sets_of(params: Params, paths: Paths) -> Sets:
    """Return the sets that `fetch` wrote, the first `eval_limit` questions of each.

    Raises:
        ConfigError: a question cannot be judged, or an argument of a benchmark is wrong.
    """
    files = sorted(paths.questions.glob("*.jsonl"))
    questions = {file.stem: read_questions(file, params.evaluate.eval_limit) for file in files}
    require_scorers(questions, params, plugin_files(params, paths.workspace))
    listed = paths.questions / BENCHMARKS
    named = read_json(listed) if listed.is_file() else {}
    if named or params.evaluate.eval_dataset_args:
        benchmarks.require_arguments([*named], params.evaluate.eval_dataset_args)
    return Sets(questions, named)


def answered(
    server: Server, sets: Sets, work_dir: Path, identity: Any, params: Params, workspace: Path, on_progress: OnProgress
) -> list[Record]:
    """Return the judged answers of a served model, the user's own sets first.

    Args:
        work_dir: the folder of EvalScope's files, in which an interrupted evaluation goes on.
        identity: what tells this model from another, as JSON.

    Raises:
        MartletError: a question could not be asked or judged.
    """
    settings, records = params.evaluate, list[Record]()
    if sets.questions:
        answers = ask(server, sets.questions, work_dir / "own", identity, settings.eval_generation_config,
                      settings.eval_num_proc, on_progress)  # fmt: skip
        records += scored(answers, params, plugin_files(params, workspace))
    if sets.benchmarks:
        records += benchmarks.ask_benchmarks(
            server,
            [*sets.benchmarks],
            settings.eval_dataset_args,
            work_dir / "benchmarks",
            identity,
            on_progress,
            limit=settings.eval_limit,
            generation_config=settings.eval_generation_config,
            eval_batch_size=settings.eval_num_proc,
            dataset_hub="huggingface" if params.data.use_hf else "modelscope",
            judge=_judge(params),
        )
    return records


def _judge(params: Params) -> dict[str, Any]:
    """Return EvalScope's settings of the judge for benchmarks that need one."""
    reward = params.reward
    if not (reward.judge_model and reward.judge_base_url):
        return {}
    key = os.environ.get("MARTLET_JUDGE_API_KEY") or os.environ.get("OPENAI_API_KEY") or "EMPTY"
    return {"models": [{"model_id": reward.judge_model, "api_url": reward.judge_base_url, "api_key": key}]}
