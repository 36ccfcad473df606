"""ROUGE (Lin 2004) of words and BLEU-4 (Papineni et al. 2002) of characters, counted as ms-swift does."""

import logging
from statistics import fmean
from typing import Any

from components.errors import ConfigError


def metrics(answers: list[str], references: list[str]) -> dict[str, float]:
    """Return means in percent: the F-measures `rouge-1`, `rouge-2` and `rouge-l`, and `bleu-4`.

    Raises:
        ConfigError: a package that counts them is not installed.
    """
    try:
        import jieba
        from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
        from rouge_chinese import Rouge
    except ImportError as error:
        raise ConfigError(
            f"eval_metric: nlg needs the package {error.name}; type: pip install jieba nltk rouge-chinese"
        ) from error
    jieba.setLogLevel(logging.WARNING)
    rouge: Any = Rouge()
    bleu: Any = sentence_bleu
    smooth = SmoothingFunction().method3
    figures: dict[str, list[float]] = {name: [] for name in ("rouge-1", "rouge-2", "rouge-l", "bleu-4")}
    for answer, reference in zip(answers, references, strict=True):
        words = [" ".join(jieba.cut(text)).strip() for text in (answer, reference)]
        scores = rouge.get_scores(*words)[0] if all(word.strip(". ") for word in words) else {}
        for name in ("rouge-1", "rouge-2", "rouge-l"):
            figures[name].append(scores[name]["f"] if scores else 0.0)
        figures["bleu-4"].append(bleu([list(reference)], list(answer), smoothing_function=smooth))
    return {name: 100 * fmean(values) for name, values in figures.items()}
