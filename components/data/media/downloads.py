"""Downloads of media, of a bounded size and in a bounded time; http and https only."""

import time
from typing import Any
from urllib import error, request

from components.errors import MartletError

MAX_BYTES = 512 << 20
TIMEOUT_SECONDS = 20
"""Seconds without an answer after which a server is given up."""
MAX_SECONDS = 300
"""Seconds after which a download is given up, however it goes on."""
THREADS = 16
_PIECE_BYTES = 1 << 20


class DownloadError(MartletError):
    """A file cannot be downloaded: the message says why, without its URL."""


def download(url: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a URL.

    Raises:
        DownloadError: no such host, an answer that is none, too many bytes, or too slow a server.
    """
    deadline = time.monotonic() + MAX_SECONDS
    try:
        with _opener().open(request.Request(url, headers={"User-Agent": "martlet"}), timeout=TIMEOUT_SECONDS) as answer:
            return _read(answer, deadline, max_bytes)
    except error.HTTPError as problem:
        raise DownloadError(f"the server answers {problem.code}") from None
    except (OSError, ValueError, error.URLError) as problem:
        reason = getattr(problem, "reason", problem)
        raise DownloadError(f"cannot be downloaded ({str(reason) or type(problem).__name__})") from None


def _opener() -> request.OpenerDirector:
    """Return an opener that knows no other scheme, wherever a redirect leads; proxies of the environment hold."""
    opener = request.OpenerDirector()
    handlers: list[Any] = [request.ProxyHandler(), request.HTTPHandler(), request.HTTPSHandler()]
    handlers += [request.HTTPRedirectHandler(), request.HTTPDefaultErrorHandler(), request.HTTPErrorProcessor()]
    for handler in handlers:
        opener.add_handler(handler)
    return opener


def _read(answer: Any, deadline: float, max_bytes: int) -> bytes:
    data = bytearray()
    while piece := answer.read(_PIECE_BYTES):
        data += piece
        if len(data) > max_bytes:
            raise DownloadError(f"more than {max_bytes:,} bytes: too large to be downloaded")
        if time.monotonic() > deadline:
            raise DownloadError(f"not downloaded within {MAX_SECONDS} seconds")
    return bytes(data)
