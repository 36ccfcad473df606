"""Martlet's benchmark in EvalScope's registry: local questions, which EvalScope asks. Scores are not its own: rewards
judge the answers afterwards. Importing this file imports EvalScope."""

from typing import Any

from evalscope.api.benchmark import BenchmarkMeta, DefaultDataAdapter
from evalscope.api.dataset import Sample
from evalscope.api.messages import (
    ChatMessageUser,
    Content,
    ContentAudio,
    ContentImage,
    ContentText,
    ContentVideo,
    dict_to_chat_message,
)
from evalscope.api.metric import Score
from evalscope.api.registry import register_benchmark
from evalscope.api.tool import ToolInfo

from components.media import COLUMNS, in_parts, with_tags

BENCHMARK = "question_set"
METRIC = "answered"
SPLIT = "test"


@register_benchmark(
    BenchmarkMeta(
        name=BENCHMARK,
        pretty_name="Question sets",
        description="Local questions. EvalScope's own report counts the answers.",
        dataset_id=BENCHMARK,
        metric_list=[METRIC],
        few_shot_num=0,
        train_split=None,
        eval_split=SPLIT,
        prompt_template="{question}",
    )
)
class QuestionSet(DefaultDataAdapter):
    """Questions of local files, as `components/evaluation/ask.py` writes them."""

    def load_from_disk(self, use_local_loader: bool = True) -> Any:
        """Return the sets, read by EvalScope's reader of local files."""
        return super().load_from_disk(use_local_loader=use_local_loader)

    def record_to_sample(self, record: dict[str, Any]) -> Sample:
        """Return a question after the messages before it, with its tools; EvalScope sends media as data URIs."""
        tools = [ToolInfo.model_validate(_described(tool)) for tool in record.get("tools") or []]
        history = [dict_to_chat_message(message) for message in record.get("history") or []]
        messages = [*history, ChatMessageUser(content=_content_of(record))]
        return Sample(input=messages, target=record["response"], tools=tools or None)

    def match_score(
        self,
        original_prediction: str,
        filtered_prediction: str,
        reference: str,  # noqa: ARG002
        task_state: Any,  # noqa: ARG002
    ) -> Score:
        """Return 1 for an answer, whatever it says."""
        return Score(prediction=original_prediction, extracted_prediction=filtered_prediction, value={METRIC: 1.0})


def _described(tool: dict[str, Any]) -> dict[str, Any]:
    """Return the function of a tool of OpenAI's, with the description that EvalScope needs."""
    function = tool.get("function", tool)
    return {"description": "", **function}


def _content_of(record: dict[str, Any]) -> Any:
    """Return a question's text, or its parts where it has media."""
    if not any(record.get(name) for name in COLUMNS.values()):
        return record["query"]
    [message] = in_parts(with_tags({"messages": [{"role": "user", "content": record["query"]}]} | record))
    return [_content(part) for part in message["content"]]


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
