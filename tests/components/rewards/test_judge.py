"""A judge over HTTP: what it is asked, what of its replies counts, and what is tried again."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from components.config import Params
from components.errors import ConfigError, MartletError
from components.rewards import Scores, _judge, rewards_of, score
from tests.components.rewards.judged import sample

Answer = Callable[[str], tuple[int, str, dict[str, str]]]


class Judge(ThreadingHTTPServer):
    """A server that replies as `answer` says to the text of the request."""

    answer: Answer
    requests: list[tuple[str, dict[str, str], dict[str, Any]]]


class Handler(BaseHTTPRequestHandler):
    server: Judge

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        status, text, headers = self.server.answer(body["messages"][0]["content"])
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(text.encode()))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Judge]:
    monkeypatch.setattr(_judge, "_WAIT_S", 0.01)
    for name in ("MARTLET_JUDGE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with Judge(("127.0.0.1", 0), Handler) as http:
        http.requests = []
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield http
        http.shutdown()


def reply(content: Any) -> tuple[int, str, dict[str, str]]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}), {}


def judged(server: Judge, *completions: str, answer: Answer | None = None, **settings: Any) -> Scores:
    server.answer = answer or (lambda text: reply(text))
    reward = {
        "reward_funcs": ["judge"], "judge_base_url": f"http://127.0.0.1:{server.server_port}/v1", "judge_model": "m",
        "judge_prompt": "{completion}", **settings,
    }  # fmt: skip
    samples = [sample(completion, topic="cats") for completion in completions]
    return score(rewards_of(Params.model_validate({"reward": reward}), []), samples, 60)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 0.7),
        ("10", 1.0),
        ("0", 0.0),
        (" 8.5\n", 0.85),
        ("<think>9 or 3?</think>\n3", 0.3),
        ("11", None),
        ("-1", None),
        ("10.5", None),
        ("7/10", None),
        ("Score: 7", None),
        ("seven", None),
        ("7 8", None),
        ("1e1", None),
        ("٧", None),
        ("NaN", None),
        ("", None),
        ("<think>7", None),
    ],
)
def test_only_a_number_from_0_to_10_is_a_verdict(server: Judge, text: str, expected: float | None) -> None:
    scores = judged(server, text)
    assert scores.values["judge"] == [expected if expected is None else pytest.approx(expected)]
    assert scores.errors == {"judge": 0}


@pytest.mark.parametrize("body", ["", "no json", "[]", "{}", '{"choices": []}', '{"choices": [{"message": null}]}'])
def test_a_reply_of_another_form_is_no_verdict(server: Judge, body: str) -> None:
    assert judged(server, "x", answer=lambda _: (200, body, {})).values["judge"] == [None]
    assert judged(server, "x", answer=lambda _: reply(None)).values["judge"] == [None]


def test_what_a_judge_is_asked(server: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    monkeypatch.setenv("MARTLET_JUDGE_API_KEY", "sk-mine")
    template = 'On {topic}: {prompt} -> {completion} {nosuch} {"a": 1}'
    judged(server, "{topic} {prompt} purr", answer=lambda _: reply("5"), judge_prompt=template)
    path, headers, body = server.requests[0]
    assert (path, headers["Authorization"]) == ("/v1/chat/completions", "Bearer sk-mine")
    question = 'On cats: user: Well? -> {topic} {prompt} purr {nosuch} {"a": 1}'
    assert body == {"model": "m", "messages": [{"role": "user", "content": question}], "temperature": 0}
    monkeypatch.delenv("MARTLET_JUDGE_API_KEY")
    judged(server, "4")
    assert server.requests[1][1]["Authorization"] == "Bearer sk-other"
    monkeypatch.delenv("OPENAI_API_KEY")
    judged(server, "miaow", answer=lambda _: reply("5"), judge_prompt=None)
    _, headers, body = server.requests[2]
    assert "Authorization" not in headers
    assert "miaow" in body["messages"][0]["content"]
    assert "user: Well?" in body["messages"][0]["content"]


def test_answers_are_judged_side_by_side_and_stay_in_order(server: Judge) -> None:
    barrier = threading.Barrier(4, timeout=20)

    def answer(text: str) -> tuple[int, str, dict[str, str]]:
        barrier.wait()
        return reply(text)

    assert judged(server, "1", "2", "3", "4", answer=answer).values["judge"] == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("failure", [(429, "slow down", {"Retry-After": "0"}), (500, "", {}), (503, "busy", {})])
def test_a_busy_server_is_asked_again(server: Judge, failure: tuple[int, str, dict[str, str]]) -> None:
    answers = [failure, failure, reply("6")]
    assert judged(server, "x", answer=lambda _: answers.pop(0)).values["judge"] == [0.6]
    assert len(server.requests) == 3


def test_one_answer_without_a_reply_is_its_error(server: Judge) -> None:
    """Too long for the judge, or a server that fails on one."""
    scores = judged(server, "5", "400", "500", answer=lambda text: reply(text) if text == "5" else (int(text), "", {}))
    assert (scores.values["judge"], scores.errors) == ([0.5, None, None], {"judge": 2})
    assert sorted(body["messages"][0]["content"] for _, _, body in server.requests) == ["400", "5", *["500"] * 4]


@pytest.mark.parametrize(
    ("status", "asked"), [(400, 2), (401, 2), (403, 2), (404, 2), (422, 2), (302, 2), (429, 8), (500, 8)]
)
def test_a_server_that_replies_to_nobody_ends_the_run_in_one_sentence(
    server: Judge, status: int, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_JUDGE_API_KEY", "sk-mine")
    with pytest.raises(MartletError) as caught:
        judged(server, "1", "2", answer=lambda _: (status, "no key sk-mine", {}))
    message = str(caught.value)
    assert (
        f"the judge at http://127.0.0.1:{server.server_port}/v1 gave no reply to any of 2 answers: {status}" in message
    )
    assert "sk-mine" not in message
    assert len(server.requests) == asked


def test_a_server_that_is_not_there(server: Judge) -> None:
    server.server_close()
    with pytest.raises(MartletError, match="gave no reply to any of 1 answers: ConnectError"):
        judged(server, "1")


@pytest.mark.parametrize("key", ["sk mine", "sk-mine\n", "sk-mïne"])
def test_a_key_that_cannot_be_one_is_not_shown(server: Judge, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARTLET_JUDGE_API_KEY", key)
    with pytest.raises(ConfigError) as caught:
        judged(server, "1")
    assert "the judge's API key has a space" in str(caught.value)
    assert "mine" not in str(caught.value).replace("mend", "")


def judge_of_pairs(favourite: str) -> Answer:
    """A judge who finds the answer `favourite` the better one, or says TIE where both are."""

    def answer(text: str) -> tuple[int, str, dict[str, str]]:
        first, second = (text.split(f"<answer_{place}>\n")[1].split("\n</answer")[0] for place in "ab")
        return reply("TIE" if first == second else "A" if first == favourite else "B")

    return answer


def pairs(server: Judge, answer: Answer, *completions: str) -> list[float | None]:
    server.answer = answer
    reward = {
        "reward_funcs": ["judge_pair"], "judge_base_url": f"http://127.0.0.1:{server.server_port}/v1",
        "judge_model": "m",
    }  # fmt: skip
    samples = [sample(completion, answer="Paris") for completion in completions]
    return score(rewards_of(Params.model_validate({"reward": reward}), []), samples, 60).values["judge_pair"]


def test_a_pair_is_shown_in_both_orders(server: Judge) -> None:
    assert pairs(server, judge_of_pairs("Paris"), "Rome", "Paris") == [0.0, 0.5]
    assert pairs(server, judge_of_pairs("Rome"), "Rome") == [1.0]
    assert len(server.requests) == 6


def test_a_judge_who_always_takes_the_first_decides_nothing(server: Judge) -> None:
    assert pairs(server, lambda _: reply("A"), "Rome") == [0.5]
    assert pairs(server, lambda _: reply("<think>B</think> tie."), "Rome") == [0.5]
    assert pairs(server, lambda _: reply("both"), "Rome") == [None]
