"""Asking through EvalScope: a small stand-in speaks the OpenAI API on loopback and answers as each test wants."""

import json
import logging
import random
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import JSONResponse, Response

from components.errors import ConfigError, MartletError
from components.evaluation import Answer, Server, benchmarks, read_questions
from components.evaluation import ask as ask_server
from tests.components.evaluation.standin import answering, completion


def ask(
    url: str, sets: dict[str, Path], folder: Path, generation: Any = None, limit: int | None = None, **other: Any
) -> list[Answer]:
    """The answers of the model `m` at `url` to the questions of files."""
    questions = {name: read_questions(file, limit) for name, file in sets.items()}
    return ask_server(Server(url, "m"), questions, folder, other.pop("model", "v1"), generation, **other)


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
        answers = ask(
            url,
            {"set": numbers, "set_test": braces},
            tmp_path / "work",
            {"max_tokens": 7},
            on_progress=seen.append,
        )

    assert [(a.set_name, a.item) for a in answers] == [("set", i) for i in range(12)] + [
        ("set_test", i) for i in range(2)
    ]
    assert [a.message["content"] for a in answers[:12]] == [f"NUMBER {i} ." for i in range(12)]
    assert answers[3].question == {"query": "number 3", "response": "Number  3"}
    assert answers[3].tokens == 3
    assert 0 < answers[3].latency_s < 5
    assert not answers[3].is_truncated
    assert {r["max_tokens"] for r in requests} == {7}
    assert all(len(r["messages"]) == 1 for r in requests)
    assert seen[-1] == {"candidate": "m", "step": 14, "total_steps": 14}
    assert hosts <= {"127.0.0.1", None}
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    assert "question_set" in (tmp_path / "work/logs/eval_log.log").read_text(encoding="utf-8")


def test_a_limit_takes_the_first_questions_and_what_is_answered_is_not_asked_again(tmp_path: Path) -> None:
    file = question_file(tmp_path / "n.jsonl", [(str(i), str(i)) for i in range(9)])
    with answering(lambda question: question) as (url, requests):
        for model, total in (("v1", 4), ("v1", 4), ("v2", 8), ("v2", 8)):
            answers = ask(url, {"n": file}, tmp_path / "work", limit=4, model=model)
            assert [answer.question["query"] for answer in answers] == ["0", "1", "2", "3"]
            assert len(requests) == total
        ask(url, {"n": file}, tmp_path / "work", {"max_tokens": 5}, limit=4, model="v2")
        assert len(requests) == 12


def test_an_interrupted_evaluation_goes_on_behind_its_last_whole_answer(tmp_path: Path) -> None:
    file = question_file(tmp_path / "n.jsonl", [(str(i), str(i)) for i in range(12)])
    fails = {"5", "8"}
    with answering(lambda q: error(400, "busy") if q in fails else q) as (url, requests):
        with pytest.raises(MartletError, match="busy"):
            ask(url, {"n": file}, tmp_path / "work", num_proc=1)
        answered = {request["messages"][-1]["content"] for request in requests} - fails
        lines = tmp_path / "work/predictions/m/question_set_n.jsonl"
        lines.write_bytes(lines.read_bytes()[:-30])  # as a kill in the middle of a line leaves it
    with answering(lambda q: q) as (url, requests):  # at another port
        answers = ask(url, {"n": file}, tmp_path / "work", num_proc=1)
    assert [answer.message["content"] for answer in answers] == [str(i) for i in range(12)]
    again = {request["messages"][-1]["content"] for request in requests}
    assert {"5", "8"} <= again
    assert len(again & answered) == 1


def test_history_tools_and_calls_reach_the_server_and_come_back(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reply = completion("") | {"choices": [{"index": 0, "finish_reason": "length", "message": message}]}
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
               {"role": "assistant", "content": "Hello"}]  # fmt: skip
    row = {"query": "Add 1", "response": "[]", "history": history, "tools": [tool]}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    with answering(lambda _: reply) as (url, requests):
        [answer] = ask(url, {"t": tmp_path / "t.jsonl"}, tmp_path / "work")
    assert [(m["role"], m["content"]) for m in requests[0]["messages"]] == [
        ("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Add 1"),
    ]  # fmt: skip
    assert requests[0]["tools"][0]["function"]["name"] == "add"
    assert answer.message["tool_calls"] == [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    assert answer.is_truncated


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
        ask(url, {"n": file}, tmp_path / "work")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "reply",
    [
        Response("no JSON", media_type="application/json"),
        JSONResponse({**completion("x"), "choices": []}),
        JSONResponse({"choices": 7}),
    ],
    ids=["no JSON", "no choices", "choices that are a number"],
)
def test_a_reply_of_another_shape_is_told_as_the_servers_fault(reply: Response, tmp_path: Path) -> None:
    file = question_file(tmp_path / "n.jsonl", [("1", "1"), ("2", "2")])
    with (
        answering(lambda question: reply if question == "2" else question) as (url, _),
        pytest.raises(MartletError, match=r"evaluation of m stopped: a reply of http://127.* is not of OpenAI's API"),
    ):
        ask(url, {"n": file}, tmp_path / "work")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"query": "a", "response": "b"}\n{"query": ', "q.jsonl:2: not JSON"),
        ('{"query": "a"}', "q.jsonl:1: .*'query' and 'response'"),
        ('{"query": "a", "response": 2}', "q.jsonl:1:"),
        ("[1]", "q.jsonl:1:"),
        ("", "no questions"),
    ],
)
def test_a_bad_question_file_is_named_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        read_questions(tmp_path / "q.jsonl")


def test_an_interrupted_benchmark_goes_on_behind_its_last_answer_and_keeps_no_key(tmp_path: Path) -> None:
    story = {"activity_label": "x", "ctx_a": "He", "ctx_b": "then", "ctx": "He then", "endings": ["a", "b", "c", "d"]}
    (tmp_path / "copy").mkdir()
    lines = (json.dumps({**story, "ind": n, "ctx_a": f"Number {n}", "label": "1"}) + "\n" for n in range(8))
    (tmp_path / "copy/validation.jsonl").write_text("".join(lines))
    arguments = {"hellaswag": {"local_path": str(tmp_path / "copy"), "subset_list": ["default"]}}
    judge = {"models": [{"model_id": "j", "api_url": "http://127.0.0.1:9/v1", "api_key": "sk-secret"}]}

    def reply(question: str) -> Any:
        return error(500, "busy") if "Number 6" in question else "ANSWER: B"

    def run(url: str) -> list[dict[str, Any]]:
        return benchmarks.ask_benchmarks(
            Server(url, "m"), ["hellaswag"], arguments, tmp_path / "work", "v1", judge=judge, eval_batch_size=1
        )

    with answering(reply) as (url, _), pytest.raises(MartletError, match=r"hellaswag: .*busy"):
        run(url)
    with answering(lambda _: "ANSWER: B") as (url, requests):  # at another port
        assert [record["score"] for record in run(url)] == [1.0] * 8
    assert len(requests) < 8
    for file in (file for file in (tmp_path / "work").rglob("*") if file.is_file()):
        assert b"sk-secret" not in file.read_bytes(), file
