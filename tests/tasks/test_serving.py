"""What `martlet deploy` and the evaluation serve: a folder behind an engine, a user's engine included."""

import json
import signal
import time
from pathlib import Path

import httpx
import pytest

from components.config import Params, read_flags, resolve
from components.errors import ConfigError, MartletError
from components.evaluation import read_questions
from components.inference import bind
from tasks import serving
from tasks.stages.evaluate import evaluate_model
from tasks.stages.paths import Paths
from tasks.stages.question_sets import Sets
from tasks.target import Target, find
from tests.commands import server_of
from tests.tasks.users_engine import ANSWER, BUSY

USERS_ENGINE = Path(__file__).with_name("users_engine.py")
CHAT = {"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 4, "temperature": 0}


def params_of(**flags: object) -> Params:
    return resolve(read_flags({"port": 0, **flags}))


WITH_USERS_ENGINE = {"infer_backend": "users_engine", "external_plugins": [str(USERS_ENGINE)]}


def test_a_deployed_model_answers_under_its_name(tiny_model: Path) -> None:
    target = Target(tiny_model, None, params_of(served_model_name="mine"))
    with serving.deployed(target, api_key=None) as url:
        answer = httpx.post(f"{url}/chat/completions", json={"model": "mine", **CHAT}).json()
    assert answer["usage"]["completion_tokens"] <= 4


def test_a_users_engine_is_deployed(tiny_model: Path) -> None:
    target = Target(tiny_model, None, params_of(**WITH_USERS_ENGINE))
    with serving.deployed(target, api_key=None) as url:
        answer = httpx.post(f"{url}/chat/completions", json=CHAT).json()
    assert answer["choices"][0]["message"]["content"] == ANSWER


def test_a_users_engine_is_evaluated(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    rows = [{"query": "Who?", "response": ANSWER}, {"query": "What?", "response": "something else"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    params, paths = params_of(**WITH_USERS_ENGINE), Paths(tmp_path, tmp_path)
    records = evaluate_model(tiny_model, "users", Sets({"set": read_questions(file)}, {}), params, paths)
    assert [(record["answer"], record["score"]) for record in records] == [(ANSWER, 1.0), (ANSWER, 0.0)]


def test_as_many_questions_are_asked_at_a_time_as_eval_num_proc_says(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "set.jsonl"
    file.write_text("".join(json.dumps({"query": f"{n}. {BUSY}", "response": "1"}) + "\n" for n in range(6)))
    most = []
    for number in (1, 3):
        paths = Paths(tmp_path / str(number), tmp_path)
        params = params_of(**WITH_USERS_ENGINE, eval_num_proc=number)
        records = evaluate_model(tiny_model, "users", Sets({"set": read_questions(file)}, {}), params, paths)
        most.append(max(int(record["answer"]) for record in records))
    assert most[0] == 1 < most[1] <= 3


def test_a_request_that_names_no_settings_gets_those_of_the_command(tiny_model: Path) -> None:
    request = {"model": "mine", "messages": CHAT["messages"]}
    flags = {"served_model_name": "mine", "temperature": 0, "max_new_tokens": 6}
    with serving.deployed(Target(tiny_model, None, params_of(**flags)), api_key=None) as url:
        answer = httpx.post(f"{url}/chat/completions", json=request).json()
        longer = httpx.post(f"{url}/chat/completions", json=request | {"max_tokens": 9}).json()
    text = answer["choices"][0]["message"]["content"]
    assert (answer["usage"]["completion_tokens"], longer["usage"]["completion_tokens"]) == (6, 9)
    with serving.deployed(Target(tiny_model, None, params_of(**flags, stop_words=[text[-2:]])), api_key=None) as url:
        stopped = httpx.post(f"{url}/chat/completions", json=request | {"stop": "not there"}).json()
    assert stopped["choices"][0]["message"]["content"] == text[: text.index(text[-2:])]


def test_an_address_is_checked_before_anything_is_loaded() -> None:
    with bind(port=0) as taken, pytest.raises(ConfigError, match="Address already in use"):
        serving.require_address(params_of(port=taken.getsockname()[1]), api_key=None)
    with pytest.raises(ConfigError, match="MARTLET_API_KEY"):
        serving.require_address(params_of(host="0.0.0.0"), api_key=None)


def test_ctrl_c_stops_a_busy_server_quickly(tiny_model: Path) -> None:
    body = CHAT | {"max_tokens": 1000, "stream": True}
    with (
        server_of(tiny_model.parent, "deploy", "--model", tiny_model) as (server, url),
        httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=30) as answer,
    ):
        next(answer.iter_lines())
        begun = time.perf_counter()
        server.signal(signal.SIGINT)
        assert server.wait(20).returncode == 0
    assert time.perf_counter() - begun < 8


def test_a_champion_with_other_bytes_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from components import registry
    from tests.components.registry.conftest import weights

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text("registered_model_name: mine\n")
    version = registry.register("mine", weights(tmp_path / "weights", "one"), tmp_path)
    registry.promote("mine", version.number, tmp_path, why="first", over=None)
    assert find({}).model == version.folder
    with pytest.raises(ConfigError, match=r"--quant_bits: the champion, .* is loaded as it is stored"):
        find({"quant_bits": 8})
    (version.folder / "model.safetensors").write_text("two")
    with pytest.raises(MartletError, match="have changed since they were registered"):
        find({})


def test_a_blank_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, key in (("", None), (" \n", None), ("sesame\n", "sesame")):
        monkeypatch.setenv("MARTLET_API_KEY", text)
        assert serving.api_key() == key


def test_the_demo_asks_with_the_key_that_the_server_wants(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.cli import demo

    monkeypatch.setenv("MARTLET_API_KEY", "sesame")
    with serving.deployed(Target(tiny_model, None, params_of(served_model_name="mine")), serving.api_key()) as url:
        assert isinstance(demo._ask(url, "mine", demo.TEXT), str)
