"""What a connection may do before its request is there, and what becomes of open requests when the server ends."""

import json
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

from components.config.groups.serve import Serve
from components.inference import http_heads, serving
from components.inference.api import Answer
from components.inference.http_heads import MAX_HEAD_BYTES
from tests.components.inference.local import user

HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
UNFINISHED = (
    b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: 1000\r\n\r\n{"
)


@contextmanager
def connection(url: str) -> Generator[socket.socket]:
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=20) as client:
        yield client


def all_of(client: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    content = b""
    with suppress(ConnectionResetError):
        while piece := client.recv(2**16):
            content += piece
    return content


def answer_of(client: socket.socket) -> bytes:
    """One whole answer on a connection that lives on; its head and its body may come in two pieces."""
    content = b""
    while (end := content.find(b"\r\n\r\n")) < 0 or len(content) < end + 4 + length_of_body(content[:end]):
        piece = client.recv(2**16)
        assert piece, f"the connection ended after {content!r}"
        content += piece
    return content


def length_of_body(head: bytes) -> int:
    return int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


def refusal(answer: bytes) -> tuple[int, str]:
    """The status and the message of one whole answer, after which the connection is closed."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head and f"content-length: {len(body)}".encode() in head
    return int(head.split()[1]), json.loads(body)["error"]["message"]


@pytest.mark.parametrize("first", [b"", HEALTH], ids=["new", "kept"])
def test_a_head_without_end_is_refused(url: str, first: bytes) -> None:
    with connection(url) as client:
        if first:
            client.sendall(first)
            assert answer_of(client).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /health HTTP/1.1\r\nX: ")
        sent = 0
        with suppress(OSError):
            while sent < 2**26:
                sent += client.send(b"a" * 2**14)
                time.sleep(0.001)
        assert sent < 2**22  # what the kernel takes, and no more
        assert refusal(all_of(client)) == (431, "the head of the request is larger than 64 KiB")


@pytest.mark.parametrize("place", [b"health", b"127.0.0.1"], ids=["path", "header"])
def test_a_whole_head_that_is_too_large_is_refused_in_its_turn(url: str, place: bytes) -> None:
    large = HEALTH.replace(place, b"a" * (MAX_HEAD_BYTES + 100))
    with connection(url) as client:
        client.sendall(HEALTH + large)
        first, _, second = all_of(client).partition(b'{"status":"ok"}')
        assert first.startswith(b"HTTP/1.1 200") and refusal(second)[0] == 431


def test_trailers_and_extensions_of_chunks_are_limited_too(url: str) -> None:
    head = UNFINISHED.replace(b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n")
    for beginning in (b"1;x=", b"1\r\n{\r\n0\r\nX: "):
        with connection(url) as client:
            client.sendall(head + beginning)
            with suppress(OSError):
                for _ in range(20):
                    client.sendall(b"a" * 2**14)
                    time.sleep(0.01)
            assert refusal(all_of(client))[0] == 431


@pytest.mark.parametrize("beginning", [b"", b"POST / HTTP/1.1\r\nHo"], ids=["nothing", "half"])
@pytest.mark.parametrize("first", [b"", HEALTH], ids=["new", "kept"])
def test_a_head_that_does_not_come_is_given_up(
    url: str, beginning: bytes, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_heads, "HEAD_TIMEOUT_S", 0.5)
    with connection(url) as client:
        if first:
            client.sendall(first)
            assert answer_of(client).startswith(b"HTTP/1.1 200")
            time.sleep(0.7)  # the time of a kept connection begins with its first byte
        begun = time.monotonic()
        for byte in beginning:
            client.sendall(bytes([byte]))
            time.sleep(0.01)
        answer = all_of(client)
        if first and not beginning:
            assert not answer  # uvicorn closes an idle connection after five seconds
        else:
            assert refusal(answer) == (408, "the head of the request did not arrive within 0.5 s")
            assert 0.4 < time.monotonic() - begun < 3


def test_an_answered_request_cannot_go_on_with_its_body(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_heads, "HEAD_TIMEOUT_S", 0.5)
    with connection(url) as client:
        client.sendall(UNFINISHED.replace(b"json", b"text").replace(b"1000", b"100000"))
        assert answer_of(client).startswith(b"HTTP/1.1 415")
        with pytest.raises(OSError):
            for _ in range(50):
                client.sendall(b" ")
                time.sleep(0.05)


def test_ordinary_connections_live_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_heads, "HEAD_TIMEOUT_S", 1)
    long = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 60 * 2**10 + b"\r\n\r\n"
    with connection(url) as client:
        for request in (HEALTH, long, HEALTH.replace(b"Host", b"Connection: Upgrade\r\nUpgrade: websocket\r\nHost")):
            client.sendall(request[:30])
            time.sleep(0.5)
            client.sendall(request[30:])
            assert answer_of(client).endswith(b'{"status":"ok"}')
    with connection(url) as client:
        client.sendall(long * 20 + HEALTH.replace(b"Host", b"Connection: close\r\nHost"))
        assert all_of(client).count(b'{"status":"ok"}') == 21


class Endless:
    """The built-in engine, but no answer ever ends."""

    def __init__(self, engine: Any):
        self.engine, self.begun = engine, threading.Semaphore(0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def submit(self, *_: Any, **__: Any) -> Answer:
        self.begun.release()
        return Answer()


def is_quiet(caplog: pytest.LogCaptureFixture) -> bool:
    return not any(record.exc_info for record in caplog.records)


def test_the_end_does_not_wait_for_a_body_that_does_not_come(engine: Any, caplog: pytest.LogCaptureFixture) -> None:
    with serving({"lively": engine}, Serve(drain_timeout=20)) as url, connection(url) as client:
        client.sendall(UNFINISHED)
        time.sleep(0.3)
        begun = time.monotonic()
        client_of_the_block = client.dup()
    assert time.monotonic() - begun < 5
    with client_of_the_block:
        assert refusal(all_of(client_of_the_block))[0] == 408
    assert is_quiet(caplog)


@pytest.mark.parametrize("end", [None, KeyboardInterrupt])
def test_an_answer_that_the_end_cuts_off_gets_an_error(
    engine: Any, end: type[BaseException] | None, caplog: pytest.LogCaptureFixture
) -> None:
    endless: Any = Endless(engine)
    answers: dict[bool, httpx.Response] = {}
    body = {"messages": user("Hello")}

    def ask(url: str, stream: bool) -> None:
        answers[stream] = httpx.post(f"{url}/chat/completions", json=body | {"stream": stream}, timeout=30)

    with (
        suppress(KeyboardInterrupt),
        serving({"lively": endless}, Serve(drain_timeout=1 if end is None else 20)) as url,
    ):
        asking = [threading.Thread(target=ask, args=(url, stream)) for stream in (False, True)]
        for thread in asking:
            thread.start()
            assert endless.begun.acquire(timeout=20)
        begun = time.monotonic()
        if end:
            raise end
    assert time.monotonic() - begun < 6
    for thread in asking:
        thread.join(20)
    assert (answers[False].status_code, answers[False].json()["error"]["type"]) == (503, "server_error")
    error = json.loads(answers[True].text.strip().split("\n\n")[-1].removeprefix("data: "))["error"]
    assert (error["message"], error["type"]) == ("the server ends; ask again", "server_error")
    assert is_quiet(caplog), caplog.text
