"""Martlet's benchmark in EvalScope's registries: local questions, scored by normalised exact match.

EvalScope's own `general_qa` computes BLEU and ROUGE and ignores any other metric. Importing this file
imports EvalScope.
"""

from typing import Any

from evalscope.api.benchmark import BenchmarkMeta, DefaultDataAdapter
from evalscope.api.dataset import Sample
from evalscope.api.messages import Content, ContentAudio, ContentImage, ContentText, ContentVideo
from evalscope.api.metric import Metric
from evalscope.api.registry import register_benchmark, register_metric
from evalscope.benchmarks.general_qa.general_qa_adapter import GeneralQAAdapter

from components.evaluation.normalize import normalize
from components.media import COLUMNS, in_parts, with_tags

BENCHMARK = "question_set"
METRIC = "normalized_exact_match"
SPLIT = "test"


@register_metric(METRIC)
class NormalizedExactMatch(Metric):
    """Score 1 where answer and reference are equal after `normalize`, else 0."""

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
    """The format of `general_qa`, scored with the metrics of the registry."""

    match_score = DefaultDataAdapter.match_score

    def record_to_sample(self, record: dict[str, Any]) -> Sample:
        """Return a question, whose media EvalScope sends as data URIs."""
        adapter: Any = super()
        sample: Any = adapter.record_to_sample(record)
        if any(record.get(name) for name in COLUMNS.values()):
            row = {"messages": [{"role": "user", "content": record["query"]}]} | record
            [message] = in_parts(with_tags(row))
            sample.input[-1].content = [_content(part) for part in message["content"]]
        return sample


def _content(part: dict[str, Any]) -> Content:
    match part:
        case {"type": "text", "text": text}:
            return ContentText(text=text)
        case {"type": "image", "image": path}:
            return ContentImage(image=path)
        case {"type": "video", "video": path}:
            return ContentVideo(video=path, format="mp4")
        case _:
            return ContentAudio(audio=part["audio"], format="wav")
