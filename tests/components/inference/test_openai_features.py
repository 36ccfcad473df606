"""What OpenAI's own client can ask for: log probabilities, tools, JSON, reasoning, and prompts read once."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from pydantic import BaseModel
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from components.inference import GenerationConfig, LocalEngine, read_answer, serving
from components.inference.answer_parser import AnswerParser, message_of
from components.inference.tool_parsers import TOOL_PARSERS, parser_of
from tests.components.inference.local import local_engine, user

GREEDY: dict[str, Any] = {"model": "lively", "temperature": 0, "max_tokens": 12}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Ulm", "Aia"]}, "days": {"enum": [1, 2]}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
TOOLS_TEMPLATE = """\
{%- for tool in tools or [] %}{{ tool | tojson }}{% endfor -%}
{%- for message in messages %}<|{{ message.role }}|>{{ message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{% endfor -%}
{%- if add_generation_prompt %}<|assistant|>{% endif -%}
"""
CLOCK = {"type": "function", "function": {"name": "clock"}}


def test_log_probabilities_are_those_of_the_model(engine: Any, client: Any) -> None:
    asked = {**GREEDY, "messages": user("What is your name?"), "logprobs": True, "top_logprobs": 3}
    choice = client.chat.completions.create(**asked).choices[0]
    ids = engine.encode_chat(user("What is your name?"))
    answer = engine.submit(ids, GenerationConfig(max_new_tokens=12, temperature=0)).result(60).token_ids
    with torch.no_grad():
        logits = engine.model(torch.tensor([ids + answer])).logits[0, len(ids) - 1 : -1].log_softmax(-1)
    expected = logits.gather(1, torch.tensor(answer)[:, None])[:, 0].tolist()
    entries = choice.logprobs.content
    assert [entry.logprob for entry in entries] == pytest.approx(expected, abs=1e-3)
    assert [entry.token for entry in entries] == [engine.decode([token]) for token in answer]
    assert all(len(entry.top_logprobs) == 3 for entry in entries)
    assert all(entry.top_logprobs[0].logprob == pytest.approx(entry.logprob) for entry in entries)  # it is greedy
    streamed = [
        entry
        for chunk in client.chat.completions.create(**asked, stream=True)
        for entry in (chunk.choices[0].logprobs.content if chunk.choices[0].logprobs else [])
    ]
    assert [entry.token for entry in streamed] == [entry.token for entry in entries]
    text = client.completions.create(**GREEDY, prompt=ids, logprobs=2).choices[0].logprobs
    assert text.token_logprobs == pytest.approx(expected, abs=1e-3)
    assert text.text_offset[1] == len(text.tokens[0])


def test_penalties_and_biases_move_the_choice(engine: Any, client: Any) -> None:
    asked = {**GREEDY, "prompt": engine.encode_chat(user("What is your name?"))}
    first, *_ = engine.submit(asked["prompt"], GenerationConfig(max_new_tokens=1, temperature=0)).result(60).token_ids

    def text(**settings: Any) -> str:
        return client.completions.create(**asked, **settings).choices[0].text

    plain, always = text(), text(logit_bias={str(first): 100})
    assert text(logit_bias={str(first): -100}) != plain
    assert always == engine.decode([first] * 12).rstrip("\ufffd")
    assert text(logit_bias={str(first): 5}, frequency_penalty=2, presence_penalty=2) not in (plain, always)


class Person(BaseModel):
    name: str
    age: int


def test_an_answer_keeps_to_a_schema(client: Any) -> None:
    asked = {**GREEDY, "max_tokens": 300, "messages": user("Who are you?"), "temperature": 1, "seed": 5}
    parsed = client.chat.completions.parse(**asked, response_format=Person).choices[0]
    assert isinstance(parsed.message.parsed, Person) or parsed.finish_reason == "length"
    any_object = client.chat.completions.create(**asked, response_format={"type": "json_object"}).choices[0]
    assert any_object.message.content.startswith("{")
    choice = {"structured_outputs": {"choice": ["yes", "no"]}}
    with ThreadPoolExecutor(4) as pool:  # with answers that are free, in one batch
        free = pool.submit(client.chat.completions.create, **asked)
        answers = [pool.submit(client.chat.completions.create, **asked, extra_body=choice) for _ in range(3)]
    assert {answer.result().choices[0].message.content for answer in answers} <= {"yes", "no"}
    assert answers[0].result().choices[0].finish_reason == "stop"
    assert free.result().choices[0].message.content not in ("yes", "no")
    digits = client.chat.completions.create(**asked, extra_body={"structured_outputs": {"regex": "[0-9]{4}"}})
    assert digits.choices[0].message.content.isdecimal() and len(digits.choices[0].message.content) == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("form", "reason"),
    [({"regex": "(a{1000}){1000}"}, "too many expressions"), ({"grammar": "start: start"}, "it allows no text")],
    ids=str,
)
def test_a_grammar_that_cannot_be_followed_fails_its_own_request(
    client: Any, form: dict[str, str], reason: str, stream: bool
) -> None:
    asked = {**GREEDY, "messages": user("Who are you?")}
    with ThreadPoolExecutor(1) as pool:  # another in the same batch goes on
        other = pool.submit(client.chat.completions.create, **asked | {"max_tokens": 60})
        with pytest.raises(openai.APIError, match=reason):
            list(client.chat.completions.create(**asked, extra_body={"structured_outputs": form}, stream=stream))
        assert other.result().choices[0].message.content


@pytest.fixture(scope="module")
def tools_engine(lively_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    folder = shutil.copytree(lively_model, tmp_path_factory.mktemp("tools") / "model")
    (folder / "chat_template.jinja").write_text(TOOLS_TEMPLATE)
    engine = local_engine(folder)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def tools_client(tools_engine: LocalEngine) -> Iterator[Any]:
    with serving({"lively": tools_engine}) as url:
        yield openai.OpenAI(base_url=url, api_key="unused", max_retries=0)


def test_an_answer_is_a_message_of_a_row_equal_for_equal_answers(tools_engine: LocalEngine) -> None:
    text = 'I look. <tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>'
    messages = [read_answer(tools_engine, [], tools, text) for tools in ([WEATHER], [WEATHER], None)]
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    assert messages[0] == messages[1] == {"role": "assistant", "content": "I look. ", "tool_calls": [call]}
    assert messages[2] == {"role": "assistant", "content": text}


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_can_be_forced(tools_client: Any, stream: bool) -> None:
    client = tools_client
    asked = {**GREEDY, "max_tokens": 100, "messages": user("How is the weather?"), "tools": [CLOCK, WEATHER]}
    named = {"type": "function", "function": {"name": "weather"}}

    def call_of(**choice: Any) -> tuple[str, str, str]:
        answer = client.chat.completions.create(**asked, **choice, stream=stream)
        if not stream:
            call = answer.choices[0].message.tool_calls[0].function
            return call.name, call.arguments, answer.choices[0].finish_reason
        deltas = [chunk.choices[0] for chunk in answer]
        (call,) = (d.delta.tool_calls[0].function for d in deltas if d.delta.tool_calls)
        return call.name, call.arguments, deltas[-1].finish_reason

    name, arguments, reason = call_of(tool_choice=named)
    assert (name, reason) == ("weather", "tool_calls")
    assert json.loads(arguments).keys() == {"city", "days"}
    assert call_of(tool_choice="required")[0] in ("weather", "clock")


def test_an_answer_goes_on_where_the_last_message_ends(engine: Any, client: Any) -> None:
    begun = [*user("What is your name?"), {"role": "assistant", "content": "My name"}]
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    answer = client.chat.completions.create(**GREEDY, messages=begun, extra_body=extra)
    ids = engine.encode_chat(user("What is your name?")) + engine.encode("My name")
    expected = engine.submit(ids, GenerationConfig(max_new_tokens=12, temperature=0)).result(60).text
    assert answer.choices[0].message.content == expected
    assert answer.usage.prompt_tokens == len(ids)


def test_a_shared_beginning_is_read_once(engine: Any, client: Any) -> None:
    system = {"role": "system", "content": "You answer in the tongue of the birds. " * 8}
    texts = ["Who are you?", "Where do you live?", "Who are you?"]
    answers = [client.chat.completions.create(**GREEDY, messages=[system, *user(text)]) for text in texts]
    cached = [answer.usage.prompt_tokens_details.cached_tokens for answer in answers]
    shared = len(engine.encode_chat([system, *user("")], add_generation_prompt=False)) - 8
    assert cached[0] < 20 < shared <= cached[1]
    assert cached[2] == answers[2].usage.prompt_tokens - 1
    assert answers[2].choices[0].message.content == answers[0].choices[0].message.content


FAMILIES: list[tuple[str, str, list[tuple[str, dict[str, Any]]]]] = [
    (
        "hermes",
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>',
        [("weather", {"city": "Ulm"}), ("clock", {})],
    ),
    (
        "llama3_json",
        '<|python_tag|>{"name": "weather", "parameters": {"city": "Ulm"}}; {"name": "clock", "parameters": {}}',
        [("weather", {"city": "Ulm"}), ("clock", {})],
    ),
    ("mistral", '[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Ulm"}}]', [("weather", {"city": "Ulm"})]),
    (
        "mistral",
        '[TOOL_CALLS]weather[ARGS]{"city": "Ulm"}[TOOL_CALLS]clock[ARGS]{}',
        [("weather", {"city": "Ulm"}), ("clock", {})],
    ),
    (
        "qwen3_coder",
        "<tool_call>\n<function=weather>\n<parameter=city>\nUlm\n</parameter>\n<parameter=days>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
        [("weather", {"city": "Ulm", "days": 2})],
    ),
]


@pytest.mark.parametrize(("family", "text", "calls"), FAMILIES, ids=[name for name, *_ in FAMILIES])
@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_calls_are_read_out_of_an_answer(family: str, text: str, calls: list[tuple[str, Any]], cut: int) -> None:
    schemas = {"weather": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}
    parser = AnswerParser(thinks=True, tools=TOOL_PARSERS.load(family), schemas=schemas)
    whole = f"<think>the weather, then</think>\n\nI look. {text}"
    deltas = [delta for i in range(0, len(whole), cut) for delta in parser.feed(whole[i : i + cut])]
    message = message_of([*deltas, *parser.close()])
    assert message["reasoning_content"] == "the weather, then"
    assert message["content"].strip() == "I look."
    read = [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message["tool_calls"]]
    assert read == calls
    assert len({call["id"] for call in message["tool_calls"]}) == len(calls)


@pytest.mark.parametrize(
    ("text", "settings", "content", "reasoning"),
    [
        ("so be it</think>yes", {"thinks": True, "is_thinking": True}, "yes", "so be it"),
        ("never ends", {"thinks": True, "is_thinking": True}, "", "never ends"),
        ("a <think> within", {"thinks": True}, "a <think> within", None),
        ("<think>\n</think>\nyes", {}, "<think>\n</think>\nyes", None),
        ("<tool_call>{broken</tool_call> x", {"tools": "hermes"}, "<tool_call>{broken</tool_call> x", None),
        ("<tool_call>{cut", {"tools": "hermes"}, "<tool_call>{cut", None),
        ("a < b and <tool", {"tools": "hermes"}, "a < b and <tool", None),
    ],
)
def test_what_is_no_call_and_no_thought_is_content(
    text: str, settings: dict[str, Any], content: str, reasoning: str | None
) -> None:
    tools = TOOL_PARSERS.load(settings["tools"]) if "tools" in settings else None
    for cut in (1, 1000):
        parser = AnswerParser(**{**settings, "tools": tools})
        deltas = [delta for i in range(0, len(text), cut) for delta in parser.feed(text[i : i + cut])]
        message = message_of([*deltas, *parser.close()])
        assert message["content"] == content
        assert message.get("reasoning_content") == reasoning
        assert "tool_calls" not in message


def test_a_grammar_begins_after_the_thoughts(lively_model: Path, tmp_path: Path) -> None:
    """The prompt opens <think>, and the model closes the thoughts at once if a bias asks for the token."""
    folder = tmp_path / "thinker"
    tokenizer = AutoTokenizer.from_pretrained(lively_model)
    tokenizer.add_tokens(["</think>"])
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n{# </think> #}"
    config = Qwen3Config.from_pretrained(lively_model, vocab_size=len(tokenizer), initializer_range=0.3)
    torch.manual_seed(1)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    engine = local_engine(folder)
    with serving({"lively": engine}) as url:
        client = openai.OpenAI(base_url=url, api_key="unused", max_retries=0)
        schema = WEATHER["function"]["parameters"]
        form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema}}
        asked = {**GREEDY, "max_tokens": 60, "messages": user("How is the weather?"), "response_format": form}
        thoughts = client.chat.completions.create(**asked).choices[0].message
        bias = {str(tokenizer.convert_tokens_to_ids("</think>")): 100}
        answer = client.chat.completions.create(**asked, logit_bias=bias).choices[0].message
    engine.close()
    assert thoughts.reasoning_content and not thoughts.content
    assert json.loads(answer.content).keys() == {"city", "days"}


def test_a_temperature_too_small_to_divide_by_takes_the_likeliest(client: Any) -> None:
    def answer(temperature: float) -> str:
        asked = GREEDY | {"messages": user("What is your name?"), "temperature": temperature}
        return client.chat.completions.create(**asked).choices[0].message.content

    assert answer(0)
    assert {answer(temperature) for temperature in (1e-6, 1e-39, 1e-320)} == {answer(0)}


def test_families_are_told_by_their_templates() -> None:
    assert parser_of("… <tool_call> …") is TOOL_PARSERS.load("hermes")
    assert parser_of("… <tool_call>\n<function= …") is TOOL_PARSERS.load("qwen3_coder")
    assert parser_of("{{ messages }}") is None


def test_adapters_answer_under_their_own_names(lively_model: Path) -> None:
    import torch

    from tasks.loading import _sharing

    engine = local_engine(lively_model)
    others: dict[str, Any] = {}
    for number in range(2):
        model = _sharing(engine.model)
        torch.manual_seed(number)
        for layer in model.model.layers:  # so that keys and values of one are wrong for another
            outputs, inputs = layer.self_attn.v_proj.weight.shape
            layer.self_attn.v_proj = torch.nn.Linear(inputs, outputs, bias=False)
            torch.nn.init.normal_(layer.self_attn.v_proj.weight, std=0.3)
        others[f"adapter{number}"] = engine.beside(model, engine.prompts)
    settings = {"temperature": 0, "max_tokens": 16}
    with serving({"base": engine, **others}) as url:
        client = openai.OpenAI(base_url=url, api_key="unused", max_retries=0)

        def ask(name: str) -> Callable[[str], str]:
            return lambda text: (
                client.chat.completions.create(model=name, messages=user(text), **settings).choices[0].message.content
            )

        names = ["base", "adapter0", "adapter1"]
        alone = {name: ask(name)("Who are you?") for name in names}
        assert len(set(alone.values())) == 3
        ids = engine.encode_chat(user("Who are you?"))
        for name, one in {"base": engine, **others}.items():  # none goes on from the keys and values of another
            plain = one.model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False, pad_token_id=0)
            assert alone[name] == engine._decode(plain[0, len(ids) :].tolist()).rstrip("\ufffd")
        with ThreadPoolExecutor(12) as pool:
            answers = {name: [pool.submit(ask(name), "Who are you?") for _ in range(4)] for name in names}
        assert {name: {f.result() for f in futures} for name, futures in answers.items()} == {
            name: {text} for name, text in alone.items()
        }
    assert math.isclose(sum(engine.load()), 0)
    engine.close()
