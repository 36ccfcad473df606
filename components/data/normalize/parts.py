"""A message's content: a text, or a list of parts as OpenAI, Anthropic and Qwen write them."""

from typing import Any, NamedTuple

from components.data.normalize.calls import Call, call
from components.data.normalize.values import describe, key_list, text, utf8, writable

MEDIA = ("image", "video", "audio")
_TEXTS = ("text", "input_text", "output_text")


class Content(NamedTuple):
    """The parts of a content; `results` are Anthropic's tool results, `{content, tool_call_id}`, as texts."""

    text: str
    reasoning: str
    calls: list[Call]
    results: list[dict[str, Any]]


def content_of(value: Any, where: str, media: dict[str, list[Any]]) -> Content:
    """Return the parts of a content; each image, video and audio is a placeholder in the text, as in ms-swift.

    Args:
        media: gets the addresses of the media, under `images`, `videos` and `audios`.

    Raises:
        ValueError: a part is wrong; says which and why.
    """
    if isinstance(value, str):
        return Content(utf8(value), "", [], [])
    parts = [value] if isinstance(value, dict) else value
    if not isinstance(parts, list):
        raise ValueError(f"the content of {where} must be a text or a list of parts, not {describe(value)}")
    content = Content("", "", [], [])
    for number, part in enumerate(parts, 1):
        content = _with(content, part, f"part {number} of {where}", media)
    return content


def _with(content: Content, part: Any, where: str, media: dict[str, list[Any]]) -> Content:
    if not isinstance(part, dict):
        raise ValueError(f"{where} must be an object with a type, not {describe(part)}")
    part = {key: value for key, value in part.items() if value is not None}
    kind = part.get("type") or next((name for name in ("text", *MEDIA) if name in part), None)
    if kind in _TEXTS and "text" in part:
        return content._replace(text=content.text + text(part, "text", where))
    if kind in ("thinking", "redacted_thinking"):  # what is redacted is encrypted: nothing to learn
        return content._replace(reasoning=content.reasoning + _plain(part.get("thinking", ""), where, media))
    if kind == "tool_use":
        return content._replace(
            calls=[*content.calls, call(part.get("name"), part.get("input"), where, part.get("id"))]
        )
    if kind == "tool_result":
        result = {"content": _plain(part.get("content", ""), where, media)}
        if part.get("tool_use_id"):
            result["tool_call_id"] = text(part, "tool_use_id", where)
        return content._replace(results=[*content.results, result])
    medium = next((name for name in MEDIA if isinstance(kind, str) and name in kind.split("_")), None)
    if medium is None:
        raise ValueError(f"{where} is of no known type ({describe(part.get('type'))}); its keys are {key_list(part)}")
    address = writable(_address(part, medium, where), f"the {medium} of {where}")
    if address is not None:
        media.setdefault(f"{medium}s", []).append(address)
    return content._replace(text=f"{content.text}<{medium}>")


def _plain(value: Any, where: str, media: dict[str, list[Any]]) -> str:
    return content_of(value, where, media).text


def _address(part: dict[str, Any], medium: str, where: str) -> Any:
    """Return the address of a medium: URL, path, data URL or frames; None where the row's own columns have it."""
    names = (medium, f"{medium}_url", f"input_{medium}", "source", "url", "path")
    value = next((part[name] for name in names if part.get(name)), None)
    if isinstance(value, dict) and not value.get("bytes"):
        if isinstance(value.get("data"), str):
            kind = value.get("media_type") or f"{medium}/{value.get('format')}"
            return f"data:{kind};base64,{value['data']}"
        keys, value = key_list(value), value.get("url") or value.get("path")
        if value is None:
            raise ValueError(f"the {medium} of {where} has no url, path or data; its keys are {keys}")
    if not isinstance(value, str | list | dict | None):
        raise ValueError(f"the {medium} of {where} must be an address, not {describe(value)}")
    return value
