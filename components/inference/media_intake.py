"""Media of requests: what a client may send, or may let the server read."""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from components.config.groups.serve import Serve
from components.inference.api import Message, RequestError
from components.inference.media_fetch import fetched
from components.media import KINDS

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
        for kind, count in counts.items():
            if count > self.most.get(kind, 0):
                raise RequestError(f"{count} {kind}s in one request; this server takes {self.most.get(kind, 0)}")
        return [self._message(message) if counts else message for message in messages]

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
        return f"data:;base64,{b64encode(fetched(url, self.hosts, self.max_bytes)).decode()}"

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
