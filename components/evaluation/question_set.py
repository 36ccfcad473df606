"""What Martlet adds to EvalScope, through its registries: a metric, and `general_qa` scored with it.

Importing this file imports EvalScope, whose own `general_qa` computes BLEU and ROUGE and ignores any other metric.
"""

import unicodedata

from evalscope.api.benchmark import BenchmarkMeta, DefaultDataAdapter
from evalscope.api.metric import Metric
from evalscope.api.registry import register_benchmark, register_metric
from evalscope.benchmarks.general_qa.general_qa_adapter import GeneralQAAdapter

BENCHMARK = "question_set"
METRIC = "normalized_exact_match"
SPLIT = "test"
TRAILING = ".,;:!? 。、"


def normalize(text: str) -> str:
    """`text` without case, width of characters, runs of white space and trailing punctuation."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(TRAILING) or folded


@register_metric(METRIC)
class NormalizedExactMatch(Metric):
    """1 when answer and reference are equal after `normalize`, else 0."""

    def apply(self, predictions: list[str], references: list[str]) -> list[float]:  # type: ignore[override]
        return [float(normalize(p) == normalize(r)) for p, r in zip(predictions, references, strict=True)]


@register_benchmark(
    BenchmarkMeta(
        name=BENCHMARK,
        pretty_name="Question sets",
        description="Local questions with one reference answer each.",
        dataset_id=BENCHMARK,
        metric_list=[METRIC],
        few_shot_num=0,
        train_split=None,
        eval_split=SPLIT,
        prompt_template="{question}",
    )
)
class QuestionSet(GeneralQAAdapter):
    """Reads what `general_qa` reads; scores with the metrics of the registry."""

    match_score = DefaultDataAdapter.match_score
