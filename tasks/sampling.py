"""Rejection sampling: answers of a model to prompts, judged by rewards; the best, or the best against the worst, are
rows to learn from.

Answers are kept beside the output until it is written: the same command goes on behind them, also with other rewards.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from components import models, rewards
from components.config import Params
from components.errors import ConfigError, MartletError
from components.files import replacing, sha256_of
from components.inference import GenerationConfig, without_reference
from components.media import COLUMNS
from components.sampling import Candidate, Drawn, Prompt, Tally, choose, distinct
from tasks.answering import MAX_NEW_TOKENS, asking_rows, generation_config
from tasks.drawing import OnProgress, answers_by_prompt, answers_there, draw, questions
from tasks.encoders import require_text
from tasks.engines import engine_of
from tasks.stages import reward_models
from tasks.stages.paths import plugin_files
from tasks.target import Target

TEMPERATURE = 1.0
JUDGED_TOGETHER = 512
"""Answers in one batch of the rewards, at least those to one prompt."""
GOLD = ("solution", "answer")
"""Columns with the right answer. A row that has neither gets its own last answer as `solution`."""


def output_file(params: Params) -> Path:
    """Return the file for what is kept.

    Raises:
        ConfigError: it is there already, its name is no JSONL's, or its folder cannot be made.
    """
    file = Path(params.sample.output_file)
    if file.suffix != ".jsonl":
        raise ConfigError(f"--output_file {file}: the rows are JSON lines; let the name end with .jsonl")
    if file.exists():
        raise ConfigError(f"--output_file {file}: is there already; remove it, or name another file")
    try:
        file.resolve().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output_file {file}: its folder cannot be made: {error.strerror}") from error
    return file


class _Job(NamedTuple):
    """What is asked, how, and by which rewards the answers are judged."""

    prompts: list[Prompt]
    generation: GenerationConfig
    params: Params
    rewards: list[rewards.Reward]
    provenance: dict[str, Any]


def sample(model: Target, output: Path, workspace: Path, on_progress: OnProgress) -> dict[str, Any]:
    """Draw answers of a model to the prompts of `--dataset`, write what is kept into `output`, and return the figures.

    Args:
        workspace: the folder that names of datasets are relative to.
        on_progress: gets the numbers of answers so far, and of all.

    Raises:
        ConfigError: no prompts or no reward is named, a reward cannot work or reads columns that no row has, or all
            answers would be the same.
        DataGateError: a row asks nothing.
        MartletError: no prompt could be answered, or nothing is kept. The answers stay for another try.
    """
    job = _job(model, workspace)
    draws, part = job.params.sample.num_return_sequences, output.with_name(f"{output.name}.part")
    asked_with = [job.provenance, *([prompt.messages, prompt.beside] for prompt in job.prompts)]
    there, total = answers_there(part, sha256_of(asked_with).encode() + b"\n"), len(job.prompts) * draws
    if there < total:
        with engine_of(model) as engine:
            asked = questions(engine, job.prompts, job.generation, draws, job.params.train.seed)
            draw(engine, islice(asked, there, None), part, lambda done: on_progress(there + done, total))
    # only now: an engine may have had the whole GPU
    job = job._replace(rewards=[*job.rewards, *reward_models.rewards_of(job.params, workspace, lambda _: None)])
    with replacing(output) as temporary:
        figures = _keep(job, part, temporary)
        if not figures["prompts"]:
            part.unlink()
            raise MartletError(f"no prompt could be answered; the first: {figures['error']}")
        if not figures["kept"]:
            raise MartletError(_nothing_kept(figures, part))
    part.unlink()
    return figures


def _job(model: Target, workspace: Path) -> _Job:
    require_text(model, "sample")
    generation = generation_config(model.params)
    if generation.temperature is None:
        generation = replace(generation, temperature=TEMPERATURE)
    longest = {"max_completion_length": generation.max_new_tokens or MAX_NEW_TOKENS}  # for rewards of the length
    params = model.params.model_copy(update={"rollout": model.params.rollout.model_copy(update=longest)})
    settings = params.sample
    if not (params.reward.reward_funcs or params.reward.reward_model):
        raise ConfigError("by what are answers judged? name one or several rewards with --reward_funcs accuracy")
    if sentences := reward_models.problems(params, workspace):
        raise ConfigError("\n".join(sentences))
    if settings.sample_format == "preference" and settings.num_return_sequences < 2:
        raise ConfigError("--num_return_sequences: a preference needs at least 2 answers to a prompt")
    if settings.num_return_sequences > 1 and not generation.is_sampled:
        raise ConfigError(
            f"--temperature {generation.temperature:g}: all answers to a prompt would be the same; raise it"
        )
    if not params.data.dataset:
        raise ConfigError("--dataset: which prompts? name a file or another dataset")
    external = plugin_files(params, workspace)
    judges = rewards.rewards_of(params, external)
    prompts = [_prompt(*each) for each in asking_rows(params, params.data.dataset, workspace, with_media=True)]
    _require_columns(rewards.columns_of(params, external), prompts)
    return _Job(prompts, generation, params, judges, _provenance(model, generation, workspace))


def _prompt(row: dict[str, Any], raw: dict[str, Any], messages: list[dict[str, Any]]) -> Prompt:
    """Return what a row asks; its columns, and its own answer, are for the rewards."""
    messages, reference = without_reference(messages)
    columns = {name: value for name, value in raw.items() if value is not None}
    if reference:
        own = {"tool_calls": reference.get("tool_calls")}
        own |= {"solution": reference["content"]} if not columns.keys() & {*GOLD} else {}
        columns = {name: value for name, value in own.items() if value} | columns
    names = ("tools", "chat_template_kwargs", "channel", *COLUMNS.values())
    beside = {name: row[name] for name in names if name in row}
    return Prompt(messages, columns, beside)


def _require_columns(columns: dict[str, tuple[str, ...]], prompts: list[Prompt]) -> None:
    of_prompts = {name for prompt in prompts for name in prompt.columns}
    for reward, names in columns.items():
        if not of_prompts & {*names}:
            raise ConfigError(
                f"reward_funcs: {reward} reads the column {' or '.join(names)}, and no row of --dataset has it; rename "
                f'one with --columns \'{{"NAME": "{names[0]}"}}\''
            )


def _provenance(model: Target, generation: GenerationConfig, workspace: Path) -> dict[str, Any]:
    """Return what every row says of its origin: the model, by name and content, the seed, and a hash of all else that
    an answer depends on."""
    params = model.params
    named = {"model": model.model} | ({"adapter": model.adapter} if model.adapter else {})
    origin: dict[str, Any] = {}
    for kind, folder in named.items():
        place = folder.resolve()
        name = place.relative_to(workspace) if place.is_relative_to(workspace) else place
        origin |= {kind: str(name), f"{kind}_sha256": models.resolve(str(place), None, False, workspace)["sha256"]}
    engine = params.generation.infer_backend, params.generation.max_model_len, params.train.torch_dtype
    groups = params.template.model_dump(), params.quantization.model_dump()
    settings = [asdict(generation), params.sample.num_return_sequences, *engine, *groups]
    return {**origin, "seed": params.train.seed, "settings_sha256": sha256_of(settings)}


def _keep(job: _Job, part: Path, output: Path) -> dict[str, Any]:
    """Judge all answers, write what is kept, and return the figures."""
    import orjson

    settings, tally, failures = job.params.sample, Tally(), {reward.name: 0 for reward in job.rewards}
    unanswered, error = 0, ""
    with output.open("wb") as stream, answers_by_prompt(part, settings.num_return_sequences) as answers:
        remaining = zip(job.prompts, answers, strict=True)
        while batch := list(islice(remaining, max(1, JUDGED_TOGETHER // settings.num_return_sequences))):
            errors = [lines[0]["error"] for _, lines in batch if "error" in lines[0]]
            unanswered, error = unanswered + len(errors), error or next(iter(errors), "")
            drawn = [(prompt, [Drawn(**line) for line in lines]) for prompt, lines in batch if "error" not in lines[0]]
            for prompt, candidates in _judged(drawn, job, failures):
                choice = choose(prompt, candidates, settings, job.provenance)
                tally.add(choice)
                stream.writelines(orjson.dumps(row) + b"\n" for row in choice.rows)
    return tally.figures() | {"unanswered": unanswered, "error": error, "failed_rewards": failures}


def _judged(
    drawn: list[tuple[Prompt, list[Drawn]]], job: _Job, failures: dict[str, int]
) -> Iterator[tuple[Prompt, list[Candidate]]]:
    """Yield for each prompt its distinct answers with their scores; `failures` counts answers that a reward failed
    on."""
    firsts = [distinct(answers) for _, answers in drawn]
    samples = [
        rewards.Sample(prompt.messages, a.text, [a.message], a.tokens, a.is_truncated, prompt.columns)
        for (prompt, answers), numbers in zip(drawn, firsts, strict=True)
        for a in (answers[number] for number in numbers)
    ]
    scores = rewards.score(job.rewards, samples, job.params.reward.reward_timeout)
    for name, count in scores.errors.items():
        failures[name] += count
    of_each = [dict(zip(scores.values, values, strict=True)) for values in zip(*scores.values.values(), strict=True)]
    verdicts = zip(scores.totals, of_each, strict=True)
    for (prompt, answers), numbers in zip(drawn, firsts, strict=True):
        yield prompt, [Candidate(answers[n], n, times, *next(verdicts)) for n, times in numbers.items()]


def _nothing_kept(figures: dict[str, Any], part: Path) -> str:
    score = "none" if figures["mean_score"] is None else f"{figures['mean_score']:.4g}"
    return (
        f"nothing is kept: of {figures['answers']} answers {figures['right']} are above --score_threshold and "
        f"{figures['cut_off']} are cut off by --max_new_tokens, mean score {score}; the same command with other "
        f"rewards or thresholds judges the answers again, which stay in {part}"
    )
