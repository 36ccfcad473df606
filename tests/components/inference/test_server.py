import asyncio
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from components.errors import ConfigError
from components.inference import GenerationConfig, bind, serving
from components.inference.intake import MAX_STOP_CHARACTERS, max_body_bytes
from tests.components.inference.local import local_engine, user

CONTEXT = 1024  # tokens, of the tiny model
BODY_LIMIT = max_body_bytes(CONTEXT)
SCHEMA_OF_NO_TYPE = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "wizard"}}}
CHAT: dict[str, Any] = {"messages": user("What is your name?"), "max_tokens": 20, "temperature": 0}


def direct(engine: Any, text: str, **settings: Any) -> Any:
    generation = GenerationConfig(**{"max_new_tokens": 20, "temperature": 0, **settings})
    return engine.submit(engine.encode_chat(user(text)), generation).result(60)


def test_a_chat_completion(engine: Any, client: Any) -> None:
    answer = client.chat.completions.create(model="lively", **CHAT)
    expected = direct(engine, "What is your name?")
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (expected.prompt_tokens, 20)
    assert answer.usage.total_tokens == expected.prompt_tokens + 20


def test_streaming_gives_the_same(client: Any) -> None:
    whole = client.chat.completions.create(model="lively", **CHAT)
    stream = client.chat.completions.create(model="lively", **CHAT, stream=True, stream_options={"include_usage": True})
    first, *pieces, last, usage = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert "".join(p.choices[0].delta.content for p in pieces) == whole.choices[0].message.content
    assert last.choices[0].finish_reason == "length"
    assert usage.choices == [] and usage.usage == whole.usage


def test_the_wire_format_of_a_stream(url: str) -> None:
    answer = httpx.post(f"{url}/chat/completions", json=CHAT | {"stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_sixteen_clients_get_what_they_get_alone(engine: Any, client: Any) -> None:
    questions = [f"What is your name? {'And yours? ' * (i % 4)}{i}" for i in range(16)]
    expected = [direct(engine, question).text for question in questions]

    def ask(number: int) -> str:
        settings = {"model": "lively", "messages": user(questions[number]), "max_tokens": 20, "temperature": 0}
        if number % 2:
            return client.chat.completions.create(**settings).choices[0].message.content
        chunks = client.chat.completions.create(**settings, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == expected


def test_text_completions(engine: Any, client: Any) -> None:
    ids = engine.encode("You are")
    expected = engine.submit(ids, GenerationConfig(max_new_tokens=8, temperature=0)).result(60).text
    settings = {"model": "lively", "max_tokens": 8, "temperature": 0}
    answer = client.completions.create(prompt=["You are", "What"], **settings)
    assert answer.choices[0].text == expected != answer.choices[1].text
    assert answer.usage.completion_tokens == 16
    assert client.completions.create(prompt=ids, **settings).choices[0].text == expected
    pieces = client.completions.create(prompt="You are", stream=True, **settings)
    assert "".join(piece.choices[0].text for piece in pieces) == expected


def test_several_choices(client: Any) -> None:
    settings = CHAT | {"model": "lively", "temperature": 1.0, "seed": 3, "n": 3}
    answers = client.chat.completions.create(**settings)
    texts = [choice.message.content for choice in answers.choices]
    assert len(set(texts)) == 3
    assert answers.usage.completion_tokens == 60
    assert answers.usage.prompt_tokens < 60  # counted once
    streamed = ["", "", ""]
    for chunk in client.chat.completions.create(**settings, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == texts
    assert [c.message.content for c in client.chat.completions.create(**settings).choices] == texts


def test_stop_words_and_their_reason(engine: Any, client: Any) -> None:
    whole = direct(engine, "What is your name?").text
    answer = client.chat.completions.create(model="lively", **CHAT, stop=whole[4:7])
    assert answer.choices[0].message.content == whole[: whole.index(whole[4:7])]
    assert answer.choices[0].finish_reason == "stop"
    chunks = list(client.chat.completions.create(model="lively", **CHAT, stop=[whole[4:7], "x" * 9], stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_fields_beyond_openai(engine: Any, client: Any) -> None:
    penalised = direct(engine, "What is your name?", repetition_penalty=1.8).text
    assert penalised != direct(engine, "What is your name?").text
    extra = {"repetition_penalty": 1.8, "top_k": 1, "chat_template_kwargs": {"enable_thinking": False}}
    settings = CHAT | {"temperature": 0.7, "user": "someone", "logprobs": False, "presence_penalty": 0}
    answer = client.chat.completions.create(model="again", **settings, extra_body=extra)
    assert answer.choices[0].message.content == penalised
    assert answer.model == "again"


def test_messages_reach_the_template_as_it_expects_them(engine: Any, url: str) -> None:
    sent = [
        {"role": "developer", "content": [{"type": "text", "text": "You are "}, {"type": "text", "text": "kind"}]},
        {"role": "user", "content": "hello", "refusal": None},
        {"role": "assistant", "content": None},
    ]
    meant = [
        {"role": "system", "content": "You are kind"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": ""},
    ]
    answer = httpx.post(f"{url.removesuffix('/v1')}/tokenize", json={"messages": sent}).json()
    assert answer["tokens"] == engine.encode_chat(meant)


def test_models_health_and_tokenize(engine: Any, client: Any, url: str) -> None:
    assert [model.id for model in client.models.list()] == ["lively", "again"]
    assert client.models.retrieve("again").id == "again"
    root = url.removesuffix("/v1")
    assert httpx.get(f"{root}/health").status_code == 200
    tokens = engine.encode_chat(user("hello"))
    body = {"messages": user("hello"), "add_generation_prompt": True}
    assert httpx.post(f"{root}/tokenize", json=body).json() == {
        "tokens": tokens,
        "count": len(tokens),
        "max_model_len": engine.max_model_len,
    }
    without = httpx.post(f"{root}/tokenize", json=body | {"add_generation_prompt": False}).json()
    assert without["tokens"] == tokens[: without["count"]] and without["count"] < len(tokens)
    assert httpx.post(f"{root}/tokenize", json={"prompt": "hello"}).json()["tokens"] == engine.encode("hello")


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"max_tokens": "5"}, 400, "max_tokens: Input should be a valid integer"),
        ({"max_tokens": 0}, 400, "max_tokens: Input should be greater than or equal to 1"),
        ({"temperature": -1}, 400, "temperature must be between 0 and 100"),
        ({"top_p": 0}, 400, "top_p must be above 0"),
        ({"messages": []}, 400, "messages: List should have at least 1 item"),
        ({"messages": "hello"}, 400, "messages: Input should be a valid array"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "messages.0.role: Input should be 'system'"),
        (
            {"messages": user([{"type": "image_url", "image_url": {}}])},
            400,
            "messages.0.content.0.image_url.image_url.url: Field required",
        ),
        ({"messages": user("long " * 2000)}, 400, "the model's context is 1024 tokens"),
        ({"top_logprobs": 2}, 400, "top_logprobs needs logprobs: true"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs: Input should be less than or equal to 20"),
        ({"response_format": {"type": "json_schema"}}, 400, "response_format: json_schema is missing"),
        ({"response_format": SCHEMA_OF_NO_TYPE}, 400, "the grammar of the answer cannot be kept"),
        ({"structured_outputs": {"regex": "(("}}, 400, "the grammar of the answer cannot be kept"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, 400, "give one of regex, choice, json, grammar"),
        ({"tool_choice": "required"}, 400, "tool_choice needs tools"),
        ({"logit_bias": {"x": 1}}, 400, "logit_bias: 'x' is no token id"),
        ({"logit_bias": {"": 1}}, 400, "logit_bias: '' is no token id"),
        ({"logit_bias": {"9" * 5000: 1}}, 400, "is no token id"),
        ({"tools": [{}]}, 400, "tools: 0: `function.name` is needed"),
        ({"tools": [{"type": "function", "function": "x"}]}, 400, "tools: 0: `function.name` is needed"),
        ({"structured_outputs": {"regex": "("}}, 400, "unclosed group"),
        ({"chat_template_kwargs": {"self": 1}}, 400, "self is a field of the request"),
        ({"logit_bias": {"999999": 1}}, 400, "logit_bias: 999999 is no token id"),
        ({"logit_bias": {"5": 101}}, 400, "logit_bias must be between -100 and 100"),
        ({"presence_penalty": 3}, 400, "presence_penalty must be between -2 and 2"),
        ({"min_p": 2}, 400, "min_p must be between 0 and 1"),
        ({"continue_final_message": True}, 400, "continue_final_message needs an assistant's message at the end"),
        ({"functions": [{"name": "f"}]}, 400, "functions is not implemented"),
        ({"messages": user("long " * 20_000)}, 400, "100,015 characters and the model's context is 1024 tokens"),
        ({"messages": user("x") * 5000}, 400, "messages: List should have at most 4096 items"),
        ({"stop": ["x" * MAX_STOP_CHARACTERS, "y"]}, 400, "stop words may have 4,096 characters together"),
        ({"tools": [{"name": "x", "description": "long " * 20_000}]}, 400, "the model's context is 1024 tokens"),
        ({"n": 1000}, 400, "n: Input should be less than or equal to 64"),
        ({"stop": [""]}, 400, "stop_words must not hold an empty string"),
        ({"temprature": 1}, 400, "temprature: this server does not know this field"),
        ({"chat_template_kwargs": {"documents": []}}, 400, "an argument that is not the template's: documents"),
        ({"chat_template_kwargs": {"tools": []}}, 400, "chat_template_kwargs: tools is a field of the request"),
        ({"messages": [{"role": "user"}]}, 400, "message 1 of 'messages' has no content"),
        ({"messages": [*CHAT["messages"], {"role": "assistant", "value": "x"}]}, 400, "message 2 of 'messages' has no"),
        ({"model": "gpt-9"}, 404, "the model 'gpt-9' does not exist; this server has: lively, again"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_bad_request_is_told_what_is_wrong(url: str, change: dict[str, Any], status: int, message: str) -> None:
    answer = httpx.post(f"{url}/chat/completions", json=CHAT | change)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, "invalid_request_error")
    assert message in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        (("POST", "/v1/chat/completions", b'{"messages": ['), 400, "the body is not JSON"),
        (("POST", "/v1/chat/completions", b"[1]"), 400, "should be an object"),
        (("POST", "/v1/chat/completions", b""), 400, "the body is not JSON: EOF"),
        (("POST", "/v1/completions", b'{"prompt": []}'), 400, "the prompt is empty"),
        (("POST", "/v1/completions", b'{"prompt": [999999]}'), 400, "outside the vocabulary"),
        (("POST", "/tokenize", b'{"prompt": "a", "messages": [{"role": "user"}]}'), 400, "either prompt or messages"),
        (("GET", "/v1/nothing", b""), 404, "there is nothing at GET /v1/nothing"),
        (("GET", "/v1/models/gpt-9", b""), 404, "the model 'gpt-9' does not exist"),
        (("GET", "/v1/chat/completions", b""), 405, "does not take GET"),
        (("POST", "/v1/chat/completions", b" " * (BODY_LIMIT + 1)), 413, "larger than"),
    ],
    ids=lambda value: f"{value[1]} {value[2][:12]!r}" if isinstance(value, tuple) else None,
)
def test_every_error_has_openais_shape(url: str, request_: tuple, status: int, message: str) -> None:
    method, path, body = request_
    root = url.removesuffix("/v1")
    answer = httpx.request(method, root + path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


CALL = {"function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        *(
            (json.dumps({"messages": [*user("x"), {"role": "assistant", "tool_calls": calls}]}), "tool_calls")
            for calls in ("f", [1], [{}], [{"function": "f"}], [{"function": {"name": 1}}], [{"function": {}}])
        ),
        *(
            (json.dumps({"messages": [*user("x"), {"role": "assistant", "tool_calls": [CALL | change]}]}), "tool_calls")
            for change in ({"id": 7}, {"function": {"name": "f", "arguments": 7}}, {"function": None})
        ),
        (json.dumps(CHAT | {"tools": ["f"]}), "tools.0: Input should be"),
        (json.dumps(CHAT | {"tools": [{"function": {"name": 1, "parameters": [1]}}]}), ""),
        ('{"messages": ' + "[" * 100_000, "nested too deeply at line 1"),
        (json.dumps(CHAT)[:-1] + ', "tools": [{"x": ' + "[" * 400 + "]" * 400 + "}]}", "nested too deeply at line 1"),
        ('{"messages": [{"role": "user", "content": "a \\ud83d b"}]}', "half of a surrogate pair"),
        ('{"messages": [{"role": "user", "content": "a \\udc00 b"}]}', "half of a surrogate pair"),
        ('{"messages": [{"role": "user", "content": "x"}], "tools": [{"\\ud83d": 1}]}', "half of a surrogate pair"),
        ('{"model": "\\ud83d", "messages": [{"role": "user", "content": "x"}]}', "half of a surrogate pair"),
        ('{"prompt": [' + "1.5," * 100_000 + "1]}", "prompt"),
        ('{"prompt": [' + "[1]," * 100_000 + "[1]]}", "prompt"),
        (json.dumps({"prompt": ["a"] * 100, "n": 2}), "one request may have 128 answers"),
        (json.dumps({"prompt": "a" * 100_000}), "100,000 characters"),
        (json.dumps({"prompt": "a", "top_k": 1e300}), "top_k"),
    ],
)
def test_a_malformed_request_is_refused_and_its_connection_lives_on(url: str, body: str, message: str) -> None:
    path = "completions" if body.startswith('{"prompt') else "chat/completions"
    with httpx.Client(headers={"Content-Type": "application/json"}, trust_env=False) as http:
        first = http.get(f"{url}/models").extensions["network_stream"].get_extra_info("client_addr")
        answer = http.post(f"{url}/{path}", content=body)
        assert answer.status_code == 400, answer.text
        assert message in answer.json()["error"]["message"]
        again = http.get(f"{url}/models")
        assert again.status_code == 200
        assert again.extensions["network_stream"].get_extra_info("client_addr") == first


def test_only_bodies_that_say_that_they_are_json_are_read(url: str) -> None:
    """A web page may send other types to another origin without asking first."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = httpx.post(f"{url}/chat/completions", content=json.dumps(CHAT), headers={"Content-Type": content_type})
        assert (answer.status_code, "application/json" in answer.json()["error"]["message"]) == (415, True)


def test_a_long_body_without_a_length_is_refused_too(url: str) -> None:
    def chunks() -> Any:
        for _ in range(BODY_LIMIT // 2**16 + 1):
            yield b" " * 2**16

    answer = httpx.post(f"{url}/chat/completions", content=chunks(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert "message" in answer.json()["error"]


def test_the_clients_own_exceptions(client: Any) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-9", **CHAT)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long_:
        client.chat.completions.create(model="lively", messages=user("long " * 2000))
    assert long_.value.code == "context_length_exceeded"


def test_a_failing_engine_is_a_500_without_a_traceback(engine: Any) -> None:
    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(engine, name)

        def submit(self, *_: Any) -> Any:
            raise ZeroDivisionError("the inside of the engine")

    with serving({"failing": Failing()}) as url:  # type: ignore[arg-type]
        answer = httpx.post(f"{url}/chat/completions", json=CHAT)
        assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
        assert "inside" not in answer.text and "Traceback" not in answer.text
        streamed = httpx.post(f"{url}/chat/completions", json=CHAT | {"stream": True})
        assert '"server_error"' in streamed.text and "[DONE]" not in streamed.text and "inside" not in streamed.text


def test_with_a_key(engine: Any) -> None:
    with serving({"lively": engine}, api_key="sesame") as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic sesame"}):
            for path in ("/models", "/nothing"):
                answer = httpx.get(url + path, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.get(f"{url}/models", headers={"Authorization": "Bearer sesame"}).status_code == 200
        assert httpx.get(f"{url.removesuffix('/v1')}/health").status_code == 200
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=url, api_key="wrong").models.list()


def test_without_a_key_a_foreign_host_name_is_refused(url: str) -> None:
    port = url.split(":")[2].removesuffix("/v1")
    for host in (f"127.0.0.1:{port}", f"LocalHost:{port}", "localhost", "[::1]:80", "127.0.0.2"):
        assert httpx.get(f"{url}/models", headers={"Host": host}).status_code == 200
    for host in (f"rebound.example:{port}", "localhost:evil.example", "localhost.evil.example", "[::1", "::1", ""):
        answer = httpx.get(f"{url}/models", headers={"Host": host})
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "invalid_request_error")


def test_a_blank_key_is_no_key(engine: Any) -> None:
    for blank in ("", "  ", "\n"):
        with pytest.raises(ConfigError, match="MARTLET_API_KEY"):
            bind("0.0.0.0", 0, api_key=blank)
    with serving({"lively": engine}, api_key=" ") as url:
        assert httpx.get(f"{url}/models").status_code == 200
        assert httpx.get(f"{url}/models", headers={"Host": "rebound.example"}).status_code == 403


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_place(lively_model: Path, stream: bool) -> None:
    engine = local_engine(lively_model, max_batch_size=1)
    body = CHAT | {"max_tokens": 1000, "stream": stream, "stop": ["\n\n\n\n"]}

    async def leave(url: str) -> None:
        async with httpx.AsyncClient() as http:
            asking = asyncio.create_task(http.post(f"{url}/chat/completions", json=body))
            await asyncio.sleep(0.2)  # it is being answered
            assert not asking.done()
            asking.cancel()

    with serving({"lively": engine}) as url:
        asyncio.run(leave(url))
        begun = time.perf_counter()
        direct(engine, "What is your name?", max_new_tokens=1)
        waited = time.perf_counter() - begun
        whole = time.perf_counter()
        direct(engine, "What is your name?", max_new_tokens=1000, stop_words=["\n\n\n\n"])
        assert waited < (time.perf_counter() - whole) / 3  # the only place was free long before the answer's end
    engine.close()


class CountingEngine:
    """The built-in engine, with the number of conversations that it has rendered."""

    def __init__(self, engine: Any):
        self.engine, self.rendered = engine, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def encode_chat(self, *words: Any, **settings: Any) -> list[int]:
        self.rendered += 1
        time.sleep(0.3)
        return self.engine.encode_chat(*words, **settings)


def test_a_client_that_leaves_within_its_body_is_no_fault_of_the_server() -> None:
    import asyncio

    from fastapi import Request
    from starlette.exceptions import HTTPException

    from components.inference.intake import read_body

    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(HTTPException, match="the client closed the connection"):
        asyncio.run(read_body(Request(scope, receive)))


def test_requests_are_prepared_off_the_loop_and_not_for_a_client_that_is_gone(engine: Any) -> None:
    counting: Any = CountingEngine(engine)

    async def leave(url: str) -> None:
        async with httpx.AsyncClient() as http:
            asking = [asyncio.create_task(http.post(f"{url}/chat/completions", json=CHAT)) for _ in range(20)]
            while not counting.rendered:
                await asyncio.sleep(0.01)
            begun = counting.rendered
            assert (await http.get(f"{url.removesuffix('/v1')}/health")).status_code == 200
            assert counting.rendered <= begun + 2  # so health was answered while the threads were at work
            for task in asking:
                task.cancel()

    with serving({"lively": counting}) as url:
        asyncio.run(leave(url))
        httpx.post(f"{url}/chat/completions", json=CHAT, timeout=60)
    assert counting.rendered < 10


def test_one_request_with_many_answers_does_not_make_others_wait(lively_model: Path) -> None:
    engine = local_engine(lively_model, max_batch_size=2)
    many = {"prompt": ["You are"] * 6, "max_tokens": 150, "temperature": 0}
    with serving({"lively": engine}) as url, ThreadPoolExecutor(1) as pool:
        huge = pool.submit(httpx.post, f"{url}/completions", json=many, timeout=120)
        time.sleep(0.3)
        assert httpx.post(f"{url}/chat/completions", json=CHAT | {"max_tokens": 5}, timeout=120).status_code == 200
        assert not huge.done()
        texts = [choice["text"] for choice in huge.result().json()["choices"]]
        assert len(set(texts)) == 1 and len(texts) == 6  # an answer that gave up its place went on as it was
    engine.close()


def test_a_port_in_use_is_said_before_anything_else() -> None:
    with bind(port=0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port}: Address already in use\. Choose another with --port"):
            bind(port=port)


def test_the_network_needs_a_key() -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        with pytest.raises(ConfigError, match="MARTLET_API_KEY"):
            bind(host, 0)
    bind("localhost", 0).close()
    with bind("0.0.0.0", 0, api_key="sesame") as listening:
        assert listening.family == socket.AF_INET


def test_the_pages_that_load_scripts_from_elsewhere_are_off(engine: Any) -> None:
    from components.inference.openai_api import create_app

    paths = {getattr(route, "path", "") for route in create_app({"m": engine}).routes}
    assert not paths & {"/docs", "/redoc"}
