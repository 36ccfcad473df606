"""A served model asked with token ids of our own answers as the same model in this process."""

import socket
import threading
from typing import Any

import pytest

from components.errors import MartletError
from components.inference import GenerationConfig, RequestError, infer_dataset, serving, stream_text
from components.inference.remote_engine import RemoteEngine
from tests.components.inference.local import user

GREEDY = GenerationConfig(max_new_tokens=16, temperature=0)


def remote(engine: Any, url: str, **settings: Any) -> RemoteEngine:
    limits = {"max_model_len": engine.max_model_len, "generation": GenerationConfig(), **settings}
    return RemoteEngine(url, "lively", engine.tokenizer, engine.prompts, **limits)


def test_answers_are_those_of_the_engine(engine: Any, url: str) -> None:
    other = remote(engine, url)
    rows = [{"messages": user(f"Who are you? {i}")} for i in range(20)] + [{"messages": user("long " * 3000)}]
    expected, answers = ([*infer_dataset(source, rows, GREEDY)] for source in (engine, other))
    assert [row["response"] for row in answers[:-1]] == [row["response"] for row in expected[:-1]]
    assert "the model's context is 1024 tokens" in answers[-1]["error"]
    ids = other.encode_chat(user("Who are you?"))
    assert "".join(stream_text(other, ids, GREEDY)) == engine.submit(ids, GREEDY).result(60).text
    assert other.submit(ids, GREEDY).result(60).finish_reason == "length"
    other.close()


def test_what_the_server_refuses_is_said(engine: Any, url: str) -> None:
    other = remote(engine, url, max_model_len=10**6)
    with pytest.raises(RequestError, match=r"the engine answers 400: .*context is 1024 tokens"):
        other.submit([5] * 2000, GREEDY).result(60)
    other.close()
    with serving({"lively": engine}, api_key="sesame") as locked:
        closed = remote(engine, locked, api_key="wrong")
        with pytest.raises(RequestError, match="the engine answers 401"):
            closed.submit([5], GREEDY).result(60)
        opened = remote(engine, locked, api_key="sesame")
        assert opened.submit([5], GREEDY).result(60).text == engine.submit([5], GREEDY).result(60).text


def test_an_engine_that_dies_in_an_answer_is_named(engine: Any) -> None:
    piece = b'data: {"choices": [{"index": 0, "text": "a", "finish_reason": null}]}\n\n'
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def die() -> None:
            connection, _ = listening.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + piece)
            connection.close()

        threading.Thread(target=die, daemon=True).start()
        other = remote(engine, f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        pieces: list[str] = []
        with pytest.raises(MartletError, match="the engine is gone"):
            other.submit([5], GREEDY, pieces.append).result(60)
        assert pieces == ["a"]
    with pytest.raises(MartletError, match="the engine is gone"):
        other.submit([5], GREEDY).result(60)
