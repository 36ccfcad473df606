"""Scorers: the rewards by which the answers to questions are judged.

A question's scorer is its column `scorer`, else what its other columns ask for (choices, tool calls, a pattern, …),
else `eval_scorer`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from components import rewards
from components.config import Params
from components.errors import ConfigError, MartletError, did_you_mean
from components.evaluation import Answer, Question, Record, record_of

BY_COLUMN = {
    "choices": "choice", "tool_calls": "tool_call", "pattern": "regex", "schema": "json_schema", "tests": "code",
    "input_output": "code", "test_cases": "code",
}  # fmt: skip
"""Scorers of questions that name none, by the first of these columns that a question has."""
Questions = Mapping[str, list[Question]]
"""Question sets by name."""


def scorer_of(question: Question, default: str) -> str:
    """Return the name of a question's scorer."""
    columns = question.get("columns", {})
    return columns.get("scorer") or next((name for column, name in BY_COLUMN.items() if column in columns), default)


def require_scorers(questions: Questions, params: Params, external: list[Path]) -> None:
    """Raise ConfigError if a question's scorer does not exist, cannot work here, or finds nothing to compare with: all
    such questions' sets at once, before a model is loaded."""
    problems: dict[str, str] = {}
    for name, of_set in questions.items():
        for number, question in enumerate(of_set, 1):
            scorer = scorer_of(question, params.evaluate.eval_scorer)
            where = f"question set '{name}', question {number}"
            if scorer not in problems:
                problems[scorer] = _problem(scorer, params, external)
            if problems[scorer]:
                is_default = scorer == params.evaluate.eval_scorer
                raise ConfigError(f"{'eval_scorer' if is_default else where}: {problems[scorer]}")
            columns = rewards.REWARDS.constant(scorer, "COLUMNS", (), external)
            if columns and not any(_columns(question).get(column) not in (None, "") for column in columns):
                raise ConfigError(
                    f"{where}: the scorer {scorer} reads {' or '.join(columns)}, and the question has none"
                )


def _problem(scorer: str, params: Params, external: list[Path]) -> str:
    """Return why a scorer cannot be used, or ""."""
    try:
        rewards.rewards_of(_only(scorer, params), external)
    except ConfigError as error:
        return unknown(scorer, external) or str(error).removeprefix("reward_funcs: ")
    return ""


def unknown(scorer: str, external: list[Path]) -> str:
    """Return what to say of a scorer that does not exist, or ""."""
    names = rewards.REWARDS.names(external)
    if rewards.REWARDS.has(scorer, external):
        return ""
    return f"there is no scorer '{scorer}'{did_you_mean(scorer, names)}; choose one of {', '.join(names)}"


def checker(params: Params, external: list[Path]) -> Callable[[Question], None]:
    """Return a function that raises ValueError for a question whose own columns cannot be judged by: the name of its
    scorer, its pattern, schema or tests."""

    @cache
    def check_of(scorer: str) -> Callable[[dict[str, object]], None]:
        return getattr(rewards.REWARDS.load(scorer, external), "check_row", lambda _: None)

    def check(question: Question) -> None:
        named = question.get("columns", {}).get("scorer")
        if named is not None and (problem := unknown(str(named), external)):
            raise ValueError(f"column scorer: {problem}")
        scorer = scorer_of(question, params.evaluate.eval_scorer)
        if named is not None or rewards.REWARDS.has(scorer, external):
            check_of(scorer)(_columns(question))

    return check


def scored(answers: Sequence[Answer], params: Params, external: list[Path]) -> list[Record]:
    """Return the judged answers, in their order.

    Raises:
        ConfigError: a scorer cannot be used.
        MartletError: an answer could not be scored. That is never a score of 0.
    """
    names = [scorer_of(answer.question, params.evaluate.eval_scorer) for answer in answers]
    scores: dict[int, float] = {}
    for name in dict.fromkeys(names):
        places = [place for place, scorer in enumerate(names) if scorer == name]
        judges = rewards.rewards_of(_only(name, params), external)
        samples = [_sample(answers[place]) for place in places]
        values = rewards.score(judges, samples, params.reward.reward_timeout).values[name]
        for place, value in zip(places, values, strict=True):
            if value is None:
                answer = answers[place]
                raise MartletError(
                    f"set '{answer.set_name}', question {answer.item + 1}: the scorer {name} gives no score; mend the "
                    "question's reference or pattern, or name another scorer in its column `scorer`"
                )
            scores[place] = value
    return [record_of(answer, scores[place], names[place]) for place, answer in enumerate(answers)]


def _only(scorer: str, params: Params) -> Params:
    """Return the parameters with one reward."""
    return params.model_copy(
        update={"reward": params.reward.model_copy(update={"reward_funcs": [scorer], "reward_model": [],
                                                           "reward_weights": []})}
    )  # fmt: skip


def _sample(answer: Answer) -> rewards.Sample:
    question = answer.question
    prompt = [*question.get("history", []), {"role": "user", "content": question["query"]}]
    text = answer.message["content"]
    return rewards.Sample(prompt, text, [answer.message], answer.tokens, answer.is_truncated, _columns(question))


def _columns(question: Question) -> dict[str, object]:
    """Return the columns that a scorer reads: the reference is `solution`, unless the question has a column of that
    name."""
    return {"solution": question["response"], **question.get("columns", {})}
