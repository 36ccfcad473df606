"""Asking through EvalScope: a small stand-in speaks the OpenAI API on loopback and answers as each test wants."""

import json
import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from components.errors import ConfigError, MartletError
from components.evaluation import ask, read_questions

Answer = Callable[[str], Any]


def completion(text: str) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": len(text.split()), "total_tokens": 3 + len(text.split())},
    }


@contextmanager
def answering(answer: Answer) -> Generator[tuple[str, list[dict[str, Any]]]]:
    """A server whose answer to a question is `answer(question)`; yields its base URL and the requests it got."""
    app, requests = FastAPI(), []

    @app.post("/v1/chat/completions")
    def complete(body: dict[str, Any]) -> Any:
        requests.append(body)
        reply = answer(body["messages"][-1]["content"])
        return completion(reply) if isinstance(reply, str) else reply

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", requests
        finally:
            server.should_exit = True
            thread.join()


def question_file(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(json.dumps({"query": q, "response": r}) + "\n" for q, r in rows), encoding="utf-8")
    return path


def test_answers_are_paired_with_their_questions_whatever_the_order_of_completion(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, lookup = set(), socket.getaddrinfo

    def recording(host: Any, *rest: Any, **named: Any) -> Any:
        hosts.add(host)
        return lookup(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", recording)

    def echo(question: str) -> str:
        time.sleep(random.Random(question).random() / 20)
        return question.upper() + " ."

    numbers = question_file(tmp_path / "n.jsonl", [(f"number {i}", f"Number  {i}") for i in range(12)])
    braces = question_file(tmp_path / "b.jsonl", [("{x} {question}", "wrong"), ("你好！", "你好")])
    handlers, seen = logging.getLogger().handlers[:], []
    with answering(echo) as (url, requests):
        found = ask(
            url,
            "m",
            {"set": numbers, "set_test": braces},
            tmp_path / "work",
            {"max_tokens": 7},
            on_progress=seen.append,
        )

    assert [(r["set"], r["item"]) for r in found] == [("set", i) for i in range(12)] + [
        ("set_test", i) for i in range(2)
    ]
    assert [r["answer"] for r in found[:12]] == [f"NUMBER {i} ." for i in range(12)]
    assert [r["score"] for r in found] == [1.0] * 12 + [0.0, 1.0]
    assert found[3] == {
        "set": "set",
        "item": 3,
        "query": "number 3",
        "answer": "NUMBER 3 .",
        "reference": "Number  3",
        "score": 1.0,
        "answer_tokens": 3,
    }
    assert {r["max_tokens"] for r in requests} == {7}
    assert all(len(r["messages"]) == 1 for r in requests)
    assert seen[-1] == {"candidate": "m", "step": 14, "total_steps": 14}
    assert hosts <= {"127.0.0.1", None}
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert "question_set" in (tmp_path / "work/logs/eval_log.log").read_text(encoding="utf-8")


def test_a_limit_takes_the_first_questions_and_an_old_folder_is_replaced(tmp_path: Path) -> None:
    file = question_file(tmp_path / "n.jsonl", [(str(i), str(i)) for i in range(9)])
    with answering(lambda question: question) as (url, requests):
        for _ in range(2):
            found = ask(url, "m", {"n": file}, tmp_path / "work", limit=4)
            assert [r["query"] for r in found] == ["0", "1", "2", "3"]
    assert len(requests) == 8


def error(status: int, message: str, code: str | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "error", "param": None, "code": code}}, status)


@pytest.mark.parametrize(
    "reply",
    [
        error(500, "the engine is on fire"),
        error(400, "the engine is on fire: too long", "context_length_exceeded"),  # EvalScope would make it an answer
        error(404, "the engine is on fire"),
    ],
    ids=lambda reply: str(reply.status_code),
)
def test_an_error_of_the_server_is_never_counted_as_a_wrong_answer(reply: JSONResponse, tmp_path: Path) -> None:
    file = question_file(tmp_path / "n.jsonl", [(str(i), str(i)) for i in range(6)])
    with (
        answering(lambda question: reply if question == "4" else question) as (url, _),
        pytest.raises(MartletError, match=r"evaluation of m.*on fire") as caught,
    ):
        ask(url, "m", {"n": file}, tmp_path / "work")
    assert "\n" not in str(caught.value)


def test_normalising_ignores_case_space_width_and_trailing_punctuation() -> None:
    from components.evaluation.question_set import normalize

    for text in ("I am  Martlet.", "i am martlet", "  I AM\nMARTLET!! ", "Ｉ am Martlet"):
        assert normalize(text) == "i am martlet"
    assert normalize("我是小燕。") == normalize("我是小燕")
    assert normalize("3.5") == "3.5"
    assert normalize("?") == "?" != normalize("!")
    assert normalize("café") == normalize("café")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query": "a", "response": "b"}\n{"query": ', "q.jsonl:2: not JSON"),
        ('{"query": "a"}', "q.jsonl:1: .*'query' and 'response'"),
        ('{"query": "a", "response": ""}', "q.jsonl:1:"),
        ("[1]", "q.jsonl:1:"),
        ("", "no questions"),
    ],
)
def test_a_bad_question_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_questions(tmp_path / "q.jsonl")
