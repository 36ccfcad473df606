"""Dynamic sampling: other prompts take the place of those whose answers all have the same reward, which teach nothing
(DAPO, Yu et al. 2025, arXiv 2503.14476)."""

from collections.abc import Iterator, Sequence
from random import Random

from components.tokens import TokenRow
from components.training import ranks
from components.training.advantages import EPSILON
from components.training.rollouts import Judgement


def prompts_beside(rows: Sequence[TokenRow], prompts: int, seed: str) -> Iterator[int]:
    """Return the numbers from 0 to `prompts` but those in the rows of any process, each once, in an order that `seed`
    decides. All processes call this together."""
    of_rows = set(ranks.gathered([row["number"] for row in rows]))
    return (number for number in Random(seed).sample(range(prompts), prompts) if number not in of_rows)


def replacements(rows: Sequence[TokenRow], totals: Sequence[float], others: Iterator[int]) -> dict[int, int] | None:
    """Return by the place of a row of this process the number of the prompt that takes its place; None where no prompt
    of any process is replaced. All processes call this together.

    Args:
        rows: prompts with their `number`, a row for each answer.
        totals: rewards of the answers.
        others: prompts of which the next ones are taken.
    """
    rewards: dict[int, list[float]] = {}
    for number, total in ranks.gathered([(row["number"], total) for row, total in zip(rows, totals, strict=True)]):
        rewards.setdefault(number, []).append(total)
    equal = [number for number, of_one in rewards.items() if max(of_one) - min(of_one) < EPSILON]
    substitutes = dict(zip(equal, others, strict=False))
    if not substitutes:
        return None
    return {place: substitutes[row["number"]] for place, row in enumerate(rows) if row["number"] in substitutes}


def replaced(judgement: Judgement, others: Judgement, places: Sequence[int]) -> Judgement:
    """Return a judgement with that of other answers at some places."""
    totals, values = list(judgement.totals), {name: list(column) for name, column in judgement.values.items()}
    for n, place in enumerate(places):
        totals[place] = others.totals[n]
        for name, column in others.values.items():
            values[name][place] = column[n]
    errors = {name: count + others.errors[name] for name, count in judgement.errors.items()}
    return Judgement(totals, values, errors)
