"""BLEU of single answers, from 0 to 1 (Papineni et al. 2002, "BLEU"; computed by sacrebleu, with the orders of n-grams
that the answer has). A row without reference gets None."""

from collections.abc import Sequence

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold, words

COLUMNS = ("solution", "answer")


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return BLEU of each answer, None where there is nothing to compare with."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(tokenize="none", effective_order=True)
    pairs = [(" ".join(words(gold(sample.columns))), " ".join(words(final(sample.completion)))) for sample in samples]
    return [bleu.sentence_score(answer, [reference]).score / 100 if reference else None for reference, answer in pairs]
