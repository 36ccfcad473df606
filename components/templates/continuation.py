"""How a conversation goes on behind an answer of the model: what the template writes between that answer and the next.

The answer itself stays as it was generated. A short message of the same shape stands for it in the renderings, so that
whatever a model may write does not matter, nor what a template changes in answers that lie further back.
"""

from components.rows import Message, Row
from components.templates.end_tags import common_prefix
from components.templates.prompts import Prompts
from components.templates.refused import Refused
from components.templates.renderer import render_or_refuse
from components.templates.sentinels import SentinelMessage, with_last_text


def continuation(prompts: Prompts, row: Row, answer: Message, messages: list[Message]) -> tuple[list[int], list[int]]:
    """Return the ids of the end tag of an answer, and those of what follows: the messages and the generation prompt.

    Args:
        prompts: of the model.
        row: canonical `messages` before the answer, and optionally `tools` and `chat_template_kwargs`.
        answer: the assistant's message, of which only the names of the tools that it calls are rendered.
        messages: what tools or the user say to the answer.

    Raises:
        Refused: the template cannot show the messages, or it is not clear where the answer ends.
    """
    stand_in: Message = {"role": "assistant", "content": "."}
    if "tool_calls" in answer:
        calls = [{**call, "function": {**call["function"], "arguments": {}}} for call in answer["tool_calls"]]
        stand_in = with_last_text({"role": "assistant", "content": "", "tool_calls": calls})
    bound = prompts.bound(row, [*row["messages"], stand_in, *messages])
    *history, stand_in = bound.messages[: -len(messages)]
    reader, sentinels = bound.template.reader, SentinelMessage(stand_in)
    extent = sentinels.extent(render_or_refuse(reader.render, [*history, sentinels.message]))
    question, _ = prompts.text(bound._replace(messages=history))
    tag = reader.end_tags.find(history, stand_in, extent.text, len(common_prefix(question, extent.text)), extent)
    going_on = [*history, sentinels.message, *bound.messages[-len(messages) :]]
    text, _ = prompts.text(bound._replace(messages=going_on))
    rest = sentinels.rest(text, extent.text[: extent.end])
    before_tag, tag_text = extent.text[extent.end : tag.start], tag.suffix or extent.text[tag.start : tag.end]
    if rest is None or not rest.startswith(before_tag + tag_text * (not tag.suffix)):
        raise Refused("the template ends an answer otherwise once the conversation goes on")
    rest = rest.removeprefix(before_tag).removeprefix(tag_text)
    ids = prompts.tokenizer.encode(tag_text + rest, add_special_tokens=False)
    end = prompts.tokenizer.encode(tag_text, add_special_tokens=False)
    if ids[: len(end)] != end:
        raise Refused("the end of an answer and what follows share a token")
    return end, ids[len(end) :]
