"""ROUGE-L: the F-measure of the longest common subsequence of words, from 0 to 1 (Lin 2004, "ROUGE: A Package for
Automatic Evaluation of Summaries"; computed by rouge-score). A row without reference gets None."""

from collections.abc import Sequence
from typing import Any

from components._absl import without_its_handler
from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold, words

COLUMNS = ("solution", "answer")


class _Words:
    """rouge-score's tokenizer: its own knows Latin letters alone."""

    @staticmethod
    def tokenize(text: str) -> list[str]:
        return words(text)


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return ROUGE-L of each answer, None where there is nothing to compare with."""
    scorer = _scorer()
    pairs = [(gold(sample.columns), final(sample.completion)) for sample in samples]
    return [scorer.score(reference, answer)["rougeL"].fmeasure if words(reference) else None
            for reference, answer in pairs]  # fmt: skip


def _scorer() -> Any:
    """Return rouge-score's scorer."""
    with without_its_handler():
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(["rougeL"], tokenizer=_Words())
