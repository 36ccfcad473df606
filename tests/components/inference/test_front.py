"""The front before an engine that is a program: it checks and forwards; programs die, and are exchanged, behind it."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from components.config import read_flags, resolve
from components.errors import MartletError
from components.inference import ServeSettings
from components.inference.engines import Replace, _supervisor
from tests.components.inference import toy_engine
from tests.components.inference.test_engine_program import KEY, SETTINGS, is_gone
from tests.components.inference.toy_engine import served

Folders = Callable[[str], Path]
BROKEN = {"message": "the engine broke off before the answer was complete; ask again", "type": "server_error"}


def settings_of(**flags: object) -> ServeSettings:
    return replace(SETTINGS, api_key=None, params=resolve(read_flags(flags)))


@pytest.fixture
def url(folder_of: Folders) -> Iterator[str]:
    with served(folder_of("apply"), {}, settings_of()) as url:
        yield url


def ask(url: str, prompt: str = "Hello", **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/completions", json={"model": "base", "prompt": prompt, **fields}, timeout=60)


def state(url: str) -> dict[str, Any]:
    return httpx.get(f"{url}/models").json()


def wait_for(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert value
    return value


def errors(stream: str) -> list[dict[str, Any]]:
    events = [json.loads(event) for event in re.findall(r"^data: (\{.*)", stream, re.MULTILINE)]
    return [event["error"] for event in events if "error" in event]


def test_the_key_and_the_host_are_checked_and_paths_outside_the_api_are_not_forwarded(
    url: str, folder_of: Folders
) -> None:
    assert ask(url).json()["choices"][0]["text"] == "apply"
    root = url.removesuffix("/v1")
    assert httpx.get(f"{url}/models", headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{root}/ready").status_code == 200
    assert httpx.get(f"{root}/other").json()["error"]["message"] == "there is nothing at GET /other"
    assert httpx.post(f"{url}/completions", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert httpx.get(root).status_code == 404
    with served(folder_of("other"), {}, replace(SETTINGS, with_page=True)) as url:
        assert "<title>Martlet</title>" in httpx.get(url.removesuffix("v1")).text
        assert httpx.get(f"{url}/models", headers=KEY).status_code == 200
        for wrong in ({}, {"Authorization": "Bearer sesam"}):
            assert httpx.get(f"{url}/models", headers=wrong).status_code == 401
            assert httpx.get(f"{url.removesuffix('v1')}metrics", headers=wrong).status_code == 401
        assert httpx.get(f"{url.removesuffix('v1')}health").status_code == 200


def test_paths_headers_and_bodies_arrive_byte_for_byte(url: str) -> None:
    body = '{"a" :  "ü\\u00e4"}'
    headers = {"Content-Type": "application/json", "X-Mine": "yes"}
    answer = httpx.post(f"{url}/a%2Fb/echo?x=%20y&x", content=body.encode(), headers=headers).json()
    assert answer == {"path": "/v1/a%2Fb/echo?x=%20y&x", "sent": body, "x": "yes"}


def test_a_stream_arrives_piece_by_piece_and_is_measured(url: str) -> None:
    arrivals, lines = [], []
    body = {"model": "base", "prompt": "Hello", "stream": True}
    with httpx.stream("POST", f"{url}/completions", json=body) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        for line in filter(None, answer.iter_lines()):
            lines.append(line)
            arrivals.append(time.monotonic())
    assert arrivals[-1] - arrivals[0] > 0.7
    assert len(lines) == 7 and lines[-1] == "data: [DONE]"
    ask(url)
    page = httpx.get(f"{url.removesuffix('v1')}metrics").text
    assert 'martlet_tokens_total{kind="generated"} 6.0' in page
    assert "martlet_first_token_seconds_count 1.0" in page


def test_a_stream_comes_at_the_pace_at_which_the_client_reads(url: str) -> None:
    body = {"model": "base", "prompt": "flood", "stream": True}
    with httpx.stream("POST", f"{url}/completions", json=body) as answer:
        next(answer.iter_bytes())
        counts = [0, 1]
        while counts[-1] != counts[-2]:
            time.sleep(0.5)
            counts.append(state(url)["sent"])
            assert len(counts) < 20, "the program is never stopped"


def test_too_many_requests_and_slow_ones_are_refused(folder_of: Folders) -> None:
    settings = settings_of(max_waiting_requests=1, request_timeout=0.5)
    with served(folder_of("apply"), {}, settings) as url, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(url, "slow"), range(8)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {429, 504} and statuses.count(504) >= 3  # the toy computes two at once, and one waits
        assert answers[statuses.index(429)].headers["retry-after"] == "1"
        assert errors(ask(url, "endless", stream=True).text)[0]["message"] == "the answer took longer than 0.5 s"
        wait_for(lambda: state(url)["left"] == statuses.count(504) + 1)  # the program was told
        assert ask(url).status_code == 200


def test_a_client_that_leaves_ends_the_request_of_the_program(url: str) -> None:
    body = {"model": "base", "prompt": "endless", "stream": True}
    with httpx.stream("POST", f"{url}/completions", json=body) as answer:
        next(answer.iter_lines())
    wait_for(lambda: state(url)["left"] == 1)
    with suppress(httpx.ReadTimeout):
        httpx.post(f"{url}/completions", json={"model": "base", "prompt": "slow"}, timeout=0.3)
    wait_for(lambda: state(url)["left"] == 2)


def test_a_program_that_dies_is_one_error_to_each_client_and_is_started_again(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    first = psutil.Process(state(url)["pid"])
    processes = [first, *first.children()]
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(ask, url, "endless", stream=True), pool.submit(ask, url, "slow")]
        time.sleep(0.3)
        dying = pool.submit(ask, url, "die", stream=True)
        stream, (endless, slow) = dying.result(), [other.result() for other in others]
    for answer in (stream, endless):
        assert answer.status_code == 200 and answer.text.count("error") == 2  # one, with its type
        (error,) = errors(answer.text)
        assert error | BROKEN == error
    assert stream.text.startswith('data: {"model"') and '{"choi\n' not in stream.text and "[DONE]" not in stream.text
    assert slow.status_code == 502 and slow.json()["error"] | BROKEN == slow.json()["error"]
    refused = ask(url)
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
    root = url.removesuffix("/v1")
    assert [httpx.get(f"{root}/{path}").status_code for path in ("ready", "health")] == [503, 200]
    wait_for(lambda: ask(url).status_code == 200)
    assert state(url)["pid"] != first.pid and all(map(is_gone, processes))
    (line,) = [line for line in capfd.readouterr().err.split("\n") if "ended while it served" in line]
    assert re.fullmatch(r"toy ended while it served: MemoryError; its output is in \S*; it is started again", line)


def test_the_third_death_in_a_short_time_ends_the_block_with_its_reason(
    folder_of: Folders, capfd: pytest.CaptureFixture[str]
) -> None:
    message = "toy ended while it served: MemoryError; .* died 3 times"
    with pytest.raises(MartletError, match=message), served(folder_of("apply"), {}, settings_of()) as url:
        for _ in range(3):
            wait_for(lambda: ask(url).status_code == 200)
            ask(url, "die")
        time.sleep(60)
        pytest.fail("nobody noticed")
    assert capfd.readouterr().err.count("it is started again") == 2


def test_deaths_that_are_far_apart_do_not_end_the_block(
    folder_of: Folders, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_supervisor, "WINDOW_S", 0.1)
    with served(folder_of("apply"), {}, settings_of()) as url:
        for _ in range(4):
            wait_for(lambda: ask(url).status_code == 200)
            time.sleep(0.1)
            psutil.Process(state(url)["pid"]).kill()
            wait_for(lambda: ask(url).status_code == 503)
        wait_for(lambda: ask(url).status_code == 200)
    assert capfd.readouterr().err.count("toy ended while it served: killed by SIGKILL; ") == 4


def test_a_program_that_cannot_be_started_again_ends_the_block_with_its_reason(folder_of: Folders) -> None:
    model = folder_of("apply")
    with pytest.raises(MartletError, match="No such file"), served(model, {}, settings_of()) as url:
        model.unlink()
        ask(url, "die")
        time.sleep(60)
        pytest.fail("nobody noticed")


def test_a_model_is_exchanged_under_load_without_a_lost_request(folder_of: Folders) -> None:
    exchanges: list[Replace] = []
    settings = replace(settings_of(), on_ready=lambda exchange, _: exchanges.append(exchange))
    with served(folder_of("first"), {}, settings) as url, ThreadPoolExecutor(10) as pool:
        first, stop, answers = psutil.Process(state(url)["pid"]), threading.Event(), list[httpx.Response]()

        def keep_asking() -> None:
            while not stop.is_set():
                answers.append(ask(url))

        asking = [pool.submit(keep_asking) for _ in range(8)]
        with pytest.raises(MartletError, match="ended before it answered: ValueError: no such weights"):
            exchanges[0](folder_of("die"), settings_of())
        assert ask(url).json()["choices"][0]["text"] == "first"
        body = {"model": "base", "prompt": "endless", "stream": True}
        with httpx.stream("POST", f"{url}/completions", json=body) as answer:
            pieces = answer.iter_lines()
            next(pieces)
            exchange = pool.submit(exchanges[0], folder_of("second"), settings_of())
            wait_for(lambda: ask(url).json()["choices"][0]["text"] == "second")
            for _ in range(10):
                next(pieces)  # the old program finishes what it has begun
        exchange.result(30)
        assert is_gone(first)
        stop.set()
        for future in asking:
            future.result(60)
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["choices"][0]["text"] for answer in answers} == {"first", "second"}


@contextmanager
def command(model: Path, *words: str) -> Generator[tuple[subprocess.Popen[str], str]]:
    """`martlet deploy` with the toy, and its base URL."""
    line = [sys.executable, "-m", "apps.cli.main", "deploy", "--port", "0", "--model", str(model)]
    plugin = ["--infer_backend", "toy_engine", "--external_plugins", toy_engine.__file__]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    server = subprocess.Popen(
        [*line, *plugin, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert server.stdout and server.stderr
    try:
        url = server.stdout.readline().strip().rpartition(" at ")[2]
        assert url, server.stderr.read()
        yield server, url
    finally:
        server.kill()
        server.wait()


def test_a_termination_lets_open_answers_finish(folder_of: Folders) -> None:
    with command(folder_of("apply"), "--served_model_name", "base") as (server, url):
        process, body = psutil.Process(state(url)["pid"]), {"model": "base", "prompt": "Who?", "stream": True}
        with httpx.stream("POST", f"{url}/completions", json=body, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            server.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.wait(30) == 0
        assert is_gone(process)
        assert server.stderr
        log = server.stderr.read()
    assert re.search(r"POST /v1/completions 200 \S+ s base 3\+5 tokens", log) and "Who" not in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_the_end_cuts_off_gets_an_error(folder_of: Folders, number: signal.Signals) -> None:
    with command(folder_of("apply"), "--served_model_name", "base", "--drain_timeout", "1") as (server, url):
        body = {"model": "base", "prompt": "endless", "stream": True}
        with httpx.stream("POST", f"{url}/completions", json=body, timeout=60) as response:
            pieces = response.iter_text()
            next(pieces)
            server.send_signal(number)
            (error,) = errors("".join(pieces))
        assert (error["message"], error["type"]) == ("the server ends; ask again", "server_error")
        assert server.wait(30) == 0
        assert server.stderr
        log = server.stderr.read()
    assert "Traceback" not in log, log


def test_the_third_death_ends_the_command_with_its_reason(folder_of: Folders) -> None:
    with command(folder_of("apply"), "--served_model_name", "base") as (server, url):
        for _ in range(3):
            wait_for(lambda: ask(url).status_code == 200)
            ask(url, "die")
        assert server.wait(30) == 1
        assert server.stderr
        assert "toy ended while it served: MemoryError" in server.stderr.read().strip().split("\n")[-1]


def test_what_a_program_would_fetch_is_refused_before_it(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}}
    body = {"model": "base", "messages": [{"role": "user", "content": [part]}]}
    refused = httpx.post(f"{url}/chat/completions", json=body)
    assert refused.status_code == 400 and "are not fetched" in refused.json()["error"]["message"]
