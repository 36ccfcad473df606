"""Media of requests: what a client may send, or may let the server read."""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from components.config.groups.serve import Serve
from components.inference.api import Message, RequestError
from components.inference.media_fetch import fetched
from components.media import KINDS, MediaError, Medium, content
from components.media.reading import is_data_uri

MENTIONED = re.compile(rb"image|video|audio|file|url", re.IGNORECASE)
"""What the body of a request with media has."""
MOST = {"image": 16, "video": 4, "audio": 4}
"""Media of one request, unless `limit_mm_per_prompt` says otherwise."""
MEDIA_MIB = 64
"""Largest request of a model that takes media, and largest medium that is fetched, in MiB."""


class MediaIntake:
    """Admits the media of a conversation: data URIs; files below `allowed_local_media_path`; and URLs of
    `allowed_media_domains`, which are fetched."""

    def __init__(self, settings: Serve) -> None:
        self.most: dict[str, Any] = MOST | settings.limit_mm_per_prompt
        self.hosts = frozenset(map(str.lower, settings.allowed_media_domains))
        path = settings.allowed_local_media_path
        self.folder = Path(path).resolve() if path else None
        self.max_bytes = (settings.max_request_mb or MEDIA_MIB) << 20

    def admitted(self, messages: list[Message]) -> list[Message]:
        """Return messages whose media are data URIs, or paths that may be read.

        Raises:
            RequestError: there are more than a request may have; or one is neither sent nor may be read here.
        """
        counts = Counter(kind for message in messages for kind, _ in _media(message))
        self._require(counts)
        return [self._message(message) if counts else message for message in messages]

    def _require(self, counts: Counter[str]) -> None:
        for kind, count in counts.items():
            if count > self.most.get(kind, 0):
                raise RequestError(f"{count} {kind}s in one request; this server takes {self.most.get(kind, 0)}")

    def forwarded(self, body: bytes) -> bytes:
        """Return a request for another program, whose media are data URIs: such a program reads whatever it is told.

        Raises:
            RequestError: as `admitted`; or a part with a medium is none of OpenAI's.
        """
        if not MENTIONED.search(body):
            return body
        try:
            request = orjson.loads(body)
        except ValueError:
            return body  # which the program refuses
        counts = Counter[str]()
        try:
            self._forward(request, counts)
        except MediaError as error:
            raise RequestError(str(error)) from None
        self._require(counts)
        return orjson.dumps(request)

    def _forward(self, value: Any, counts: Counter[str]) -> None:
        """Replace the addresses of media in lists of parts, wherever they are in a request, and count them."""
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        for item in items:
            if isinstance(value, list) and isinstance(item, dict) and _shows(item):
                self._forward_part(item, counts)
            else:
                self._forward(item, counts)

    def _forward_part(self, part: dict[str, Any], counts: Counter[str]) -> None:
        name = str(part.get("type"))
        medium: Any = part.get(name)
        kind, sends = kind_of_part({"type": name}), "data" if name == "input_audio" else "url"
        is_known = kind and isinstance(medium, dict) and isinstance(medium.get(sends), str)
        if not is_known or part.keys() - {"type", name}:
            raise RequestError("a medium must be a part of the type image_url, video_url, audio_url or input_audio")
        counts[kind] += 1
        if sends == "url":
            address = self._address(medium)
            medium["url"] = address if is_data_uri(address) else _uri(content(Medium(kind, address, ""), Path()))

    def _message(self, message: Message) -> Message:
        if not isinstance(message.get("content"), list):
            return message
        parts = [
            part if part["type"] == "text" else {"type": kind, kind: self._address(part[part["type"]])}
            for part in message["content"]
            for kind in [kind_of_part(part)]
        ]
        return message | {"content": parts}

    def _address(self, value: dict[str, str]) -> str:
        if "data" in value:
            return f"data:audio/{value['format']};base64,{value['data']}"
        url = value["url"]
        if url[:5].lower() == "data:":
            return url
        if url[:5].lower() == "file:" or url.startswith("/"):
            return self._path(unquote(urlsplit(url).path) if url[:5].lower() == "file:" else url)
        if "://" not in url[:10]:
            raise RequestError("a medium must be a data URI: data:TYPE;base64,DATA")
        return _uri(fetched(url, self.hosts, self.max_bytes))

    def _path(self, name: str) -> str:
        try:
            path = Path(name).resolve()
        except (OSError, ValueError, RuntimeError):
            raise RequestError("the path of a medium cannot be read") from None
        if self.folder is None or not path.is_relative_to(self.folder):
            raise RequestError(
                "files of the server are not read here; send the medium as a data URI, or start the server with "
                "--allowed_local_media_path"
            )
        return str(path)


def _uri(data: bytes) -> str:
    return f"data:application/octet-stream;base64,{b64encode(data).decode()}"


def _shows(part: dict[str, Any]) -> bool:
    """Return whether a part of a message may name a medium or another file."""
    names = [str(part.get("type")), *(name for name, value in part.items() if value is not None)]
    return any(kind in name.split("_") for name in names for kind in (*KINDS, "file", "url"))


def kind_of_part(part: dict[str, Any]) -> str:
    """Return the kind of medium of a part, "" for a text."""
    return next((kind for kind in KINDS if kind in part["type"].split("_")), "")


def _media(message: Message) -> Iterator[tuple[str, dict[str, Any]]]:
    parts = message.get("content")
    for part in parts if isinstance(parts, list) else []:
        if kind := kind_of_part(part):
            yield kind, part


def without_media(messages: list[Message]) -> list[Message]:
    """Return messages with their texts alone."""
    return [
        message | {"content": [part for part in message["content"] if not kind_of_part(part)]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]
