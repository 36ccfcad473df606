"""`martlet deploy`: several adapters of one base, changes while it runs, limits, measurements, and its end."""

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from components.config import Params, read_flags, resolve
from components.errors import ConfigError
from tasks import serving
from tasks.target import Target
from tests.commands import server_of

GREEDY = {"max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def adapters(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two checkpoint folders with LoRA adapters that change every answer, each with a system prompt of its own."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folders = {}
    for number, name in enumerate(("formal", "jokes")):
        torch.manual_seed(number)
        config = LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        folder = tmp_path_factory.mktemp(name) / name
        get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(folder)
        template = {"system": f"You are {name}."}
        saved = {"model": {"model": str(tiny_model), "sha256": None}, "tuner": {"tuner_type": "lora"}}
        (folder / "args.json").write_text(json.dumps({**saved, "template": template}))
        folders[name] = folder
    return folders


def answer(url: str, name: str, text: str = "Who are you?") -> str:
    body = {"model": name, "messages": [{"role": "user", "content": text}], **GREEDY}
    response = httpx.post(f"{url}/chat/completions", json=body, timeout=60)
    assert response.is_success, response.text
    return response.json()["choices"][0]["message"]["content"]


def test_several_adapters_their_base_and_changes_while_it_runs(tiny_model: Path, adapters: dict[str, Path]) -> None:
    words = [f"{name}={folder}" for name, folder in adapters.items()]
    flags = ["--served_model_name", "base", "--allow_runtime_lora_updating", "true"]
    with server_of(tiny_model.parent, "deploy", "--adapters", *words, *flags) as (server, url):
        assert [model["id"] for model in httpx.get(f"{url}/models").json()["data"]] == ["base", "formal", "jokes"]
        answers = {name: answer(url, name) for name in ("base", *adapters)}
        assert len(set(answers.values())) == 3
        prompt = {"messages": [{"role": "user", "content": "Who?"}]}
        root = url.removesuffix("/v1")
        counts = [httpx.post(f"{root}/tokenize", json=prompt | {"model": n}).json()["count"] for n in ("base", "jokes")]
        assert counts[0] != counts[1]  # each is asked as it was trained, with its own system prompt
        with ThreadPoolExecutor(6) as pool:
            asked = [(name, pool.submit(answer, url, name)) for _ in range(6) for name in answers]
            swap = {"lora_name": "new", "lora_path": str(adapters["jokes"])}
            assert httpx.post(f"{url}/load_lora_adapter", json=swap, timeout=60).status_code == 200
            assert {name: future.result() for name, future in asked} == answers
        assert answer(url, "new") == answers["jokes"]
        swap["lora_path"] = str(adapters["formal"])
        assert httpx.post(f"{url}/load_lora_adapter", json=swap, timeout=60).status_code == 200
        assert answer(url, "new") == answers["formal"]
        assert httpx.post(f"{url}/unload_lora_adapter", json={"lora_name": "new"}).status_code == 200
        body = {"model": "new", "messages": [{"role": "user", "content": "x"}]}
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 404
        for change, message in (
            ({"lora_name": "base"}, "the name of the base"),
            ({"lora_path": str(tiny_model / "nothing")}, "no adapter"),
        ):
            refused = httpx.post(f"{url}/load_lora_adapter", json=swap | change)
            assert refused.status_code == 400 and message in refused.json()["error"]["message"], refused.text
        page = httpx.get(f"{root}/metrics").text
        assert 'martlet_requests_total{path="/v1/chat/completions",status="200"}' in page
        assert "martlet_requests_running 0.0" in page
        server.signal(signal.SIGTERM)
        ended = server.wait(30)
    log = ended.stderr
    assert ended.returncode == 0, log
    assert "POST /v1/chat/completions 200" in log and " jokes " in log
    assert "Who are you" not in log


def test_clients_may_not_change_the_server_unless_it_is_allowed(adapters: dict[str, Path], tiny_model: Path) -> None:
    params = resolve(read_flags({"port": 0, "served_model_name": "base"}))
    with serving.deployed(Target(tiny_model, None, params), None) as url:
        swap = {"lora_name": "new", "lora_path": str(adapters["jokes"])}
        assert httpx.post(f"{url}/load_lora_adapter", json=swap).status_code == 404


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b"], "several adapters need names; write NAME=a"),
        (["x=a", "b"], "several adapters need names; write NAME=b"),
        (["x=a", "x=b"], "give each a name of its own"),
    ],
)
def test_adapters_without_names_of_their_own_are_refused(values: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        serving.named_adapters(values)


def test_one_folder_needs_no_name() -> None:
    assert serving.named_adapters(["output/v0"]) == {}
    assert serving.named_adapters(["x=output/v0"]) == {"x": "output/v0"}


def params_of(**flags: object) -> Params:
    return resolve(read_flags({"port": 0, **flags}))


def test_too_many_requests_are_told_to_come_again(tiny_model: Path) -> None:
    params = params_of(max_waiting_requests=1, max_batch_size=1, request_timeout=2.0)
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 900, "temperature": 0}
    with serving.deployed(Target(tiny_model, None, params), None) as url, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{url}/chat/completions", json=body, timeout=60), range(8)))
        statuses = [response.status_code for response in answers]
        assert set(statuses) <= {200, 429, 504} and 429 in statuses
        busy = answers[statuses.index(429)]
        assert busy.headers["retry-after"] == "1" and "too many requests" in busy.json()["error"]["message"]
        quick = httpx.post(f"{url}/chat/completions", json=body | {"max_tokens": 2}, timeout=60)
        assert quick.status_code == 200


def test_a_termination_lets_an_open_answer_finish(tiny_model: Path) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 300, "temperature": 0, "stream": True}
    words = ["deploy", "--model", tiny_model, "--drain_timeout", 20, "--verbose", "false"]
    with server_of(tiny_model.parent, *words) as (server, url):
        with httpx.stream("POST", f"{url}/chat/completions", json=body, timeout=60) as response:
            lines = response.iter_lines()
            next(lines)
            server.signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        ended = server.wait(30)
    assert ended.returncode == 0, ended.stderr
    assert "POST" not in ended.stderr


def test_the_page_to_chat_on_loads_nothing_from_elsewhere(tiny_model: Path) -> None:
    with server_of(tiny_model.parent, "app", "--model", tiny_model) as (server, url):
        root = url.removesuffix("v1")
        server.up_to(f"\nchat at {root}\n")
        page = httpx.get(root)
        assert page.status_code == 200 and "<title>Martlet</title>" in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http" not in page.text.replace("http-equiv", "")
    with serving.deployed(Target(tiny_model, None, params_of()), "sesame", with_page=True) as url:
        assert httpx.get(url.removesuffix("v1")).status_code == 200  # it asks for the key
        assert httpx.get(f"{url}/models").status_code == 401
    with serving.deployed(Target(tiny_model, None, params_of()), None) as url:
        assert httpx.get(url.removesuffix("v1")).status_code == 404
