"""A model is asked as it was trained: the prompts of training, of `infer` and of the server have the same ids."""

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from components import data
from components.config import Params
from components.config.groups.template import Template
from components.errors import ConfigError
from components.inference import LocalEngine
from components.models import load_model
from components.templates import ChatTemplate, Encoder
from components.tokens import TokenRows
from tasks import target
from tasks.prompts import prompts
from tests.components.templates.families import FAMILIES
from tests.components.templates.styles import tokenizer
from tests.components.templates.test_families import TOOL

PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for p in m.content %}{{ p.text }}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ARGUMENTS_AS_TEXT = (
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{% for c in m.tool_calls or [] %}CALL {{ c.function.name + '\n' + c.function.arguments }}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NINE_IDS = ARGUMENTS_AS_TEXT.replace("c.function.arguments", "(c.function.arguments | tojson)").replace(
    "CALL ", "{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}CALL {{ c.id }} "
)
TEMPLATES = {
    **{name: family.template for name, family in FAMILIES.items()},
    "parts": PARTS,
    "arguments as text": ARGUMENTS_AS_TEXT,
    "nine ids": NINE_IDS,
}


def call(arguments: Any) -> dict[str, Any]:
    function = {"name": "get_weather", **({} if arguments is None else {"arguments": arguments})}
    return {"id": "call_1", "type": "function", "function": function}


def history(*calls: Any) -> list[dict[str, Any]]:
    results = [{"role": "tool", "content": "rain", "tool_call_id": "call_1"} for _ in calls]
    return [*QUESTION, {"role": "assistant", "content": None, "tool_calls": list(calls)}, *results]


QUESTION = [{"role": "user", "content": "What is the sky?"}]
ANSWER = {"role": "assistant", "content": "Blue."}
THOUGHT = {"role": "assistant", "content": "Blue.", "reasoning_content": "Look up."}
SYSTEM = {"role": "system", "content": "Be brief."}
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "a question": QUESTION,
    "content parts": [{"role": "user", "content": [{"type": "text", "text": text} for text in ("What is ", "it?")]}],
    "a system prompt": [{**SYSTEM, "role": "developer"}, *QUESTION, ANSWER, {"role": "user", "content": "And now?"}],
    "a thought": [*QUESTION, THOUGHT, {"role": "user", "content": "And now?"}],
    "arguments as text": history(call('{"city": "Orléans", "days": 2}')),
    "arguments as an object": history(call({"city": "Orléans", "days": 2})),
    "two calls": history(call('{"days": 1}'), call('{"days": 2}')),
    "arguments that are null": history(call("null")),
    "no arguments": history(call(None)),
    "arguments with an integer of more than 64 bits": history(call({"city": "Orléans", "days": 2**80})),
    "a function's call and result": [
        *QUESTION,
        {"role": "assistant", "content": None, "function_call": call('{"days": 1}')["function"]},
        {"role": "function", "name": "get_weather", "content": "rain"},
    ],
    **{
        f"a thought as {name}": [*QUESTION, {**ANSWER, name: "Look up."}, {"role": "user", "content": "And now?"}]
        for name in ("reasoning", "thinking")
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return load_model(tiny_model, "float32")


def engine_of(model: Any, tok: Any, settings: Template) -> LocalEngine:
    from components.inference.transformers_engine import TransformersEngine

    return TransformersEngine(model, tok, prompts(settings)(tok))


def trained(tok: Any, settings: Template, row: dict[str, Any]) -> list[int] | str:
    """The ids of a prompt as training has them, or why there are none."""
    chat = ChatTemplate(tok, settings.system, None, settings.enable_thinking, settings.use_chat_template)
    batch = Encoder(chat, "prompt")([data.read_row(json.dumps(row))], [""], [0])
    return str(batch.refused[0]) if batch.refused else TokenRows(batch.tokens)[0]["prompt_ids"].tolist()


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize("name", TEMPLATES)
def test_training_infer_and_server_ask_with_the_same_ids(name: str, model: Any) -> None:
    from components.inference.openai_api import create_app

    tok = tokenizer(TEMPLATES[name], eos=FAMILIES[name].eos if name in FAMILIES else "</s>")
    compared = 0
    for settings in (Template(), Template(system="Be kind.", enable_thinking=False), Template(use_chat_template=False)):
        engine = engine_of(model, tok, settings)
        client = TestClient(create_app({"m": engine}), base_url="http://localhost", raise_server_exceptions=False)
        for shape, messages in HISTORIES.items():
            beside = {"tools": [TOOL]} if any({"tool_calls", "function_call"} & m.keys() for m in messages) else {}
            expected = trained(tok, settings, {"prompt": messages, **beside})
            answer = client.post("/tokenize", json={"messages": messages, **beside})
            if isinstance(expected, str):
                assert answer.status_code == 400 and expected in answer.text.replace('\\"', '"'), (shape, expected)
                continue
            compared += 1
            assert answer.json()["tokens"] == expected, shape
            assert engine.encode_chat(messages, beside.get("tools")) == expected, shape
        engine.close()
    assert compared >= 4


def test_the_variables_and_tools_of_a_request_reach_the_template_as_those_of_a_row(
    model: Any, tiny_model: Path
) -> None:
    from transformers import AutoTokenizer

    from components.inference.openai_api import create_app

    tok = AutoTokenizer.from_pretrained(tiny_model)
    tok.chat_template = ARGUMENTS_AS_TEXT + "{{ 'THINK' * (effort or 0) if thinking else '' }}"
    engine = engine_of(model, tok, Template())
    client = TestClient(create_app({"m": engine}), base_url="http://localhost", raise_server_exceptions=False)
    lengths = set()
    for variables in ({"thinking": True, "effort": 2}, {"thinking": True, "effort": 3}, {"thinking": False}):
        row = {"tools": [TOOL], "chat_template_kwargs": variables}
        expected = trained(tok, Template(), {"prompt": QUESTION, **row})
        assert client.post("/tokenize", json={"messages": QUESTION, **row}).json()["tokens"] == expected
        answer = client.post("/v1/chat/completions", json={"messages": QUESTION, **row, "max_tokens": 1})
        assert answer.json()["usage"]["prompt_tokens"] == len(expected), answer.text
        lengths.add(len(expected))
    assert len(lengths) == 3
    engine.close()


def test_a_checkpoint_is_asked_as_it_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    """The folder says it, whether named by --adapters (a full checkpoint) or --model; a flag comes first."""
    import shutil

    folder = shutil.copytree(tiny_model, tmp_path / "model")
    template = {"system": "Be kind.", "enable_thinking": False, "use_chat_template": False}
    saved = {"model": {"model": str(tiny_model)}, "template": template, "tuner": {"tuner_type": "full"}}
    (folder / "args.json").write_text(json.dumps(saved))
    asked: list[Params] = [target.find({"model": str(folder)}).params, target.find({"adapters": [str(folder)]}).params]
    for params in asked:
        assert params.template.model_dump(include=set(template)) == template
    flags = {"model": str(folder), "system": "Be brief.", "use_chat_template": True}
    assert target.find(flags).params.template.model_dump(include=set(template)) == template | {
        "system": "Be brief.",
        "use_chat_template": True,
    }
    (folder / "args.json").write_text(json.dumps({"template": "qwen3", "model": "another tool's"}))
    assert target.find({"model": str(folder)}).params.template == Template()


def test_a_flag_of_the_quantization_that_would_have_no_effect_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    saved = {"model": {"model": str(tiny_model)}, "quantization": {"quant_method": "bnb"}}
    (tmp_path / "args.json").write_text(json.dumps(saved))
    model, adapter = {"model": str(tiny_model)}, {"adapters": [str(tmp_path)]}
    for flags in ({"quant_bits": 4}, {"bnb_4bit_quant_type": "fp4"}, {"quant_bits": 8, "quant_method": "null"}):
        with pytest.raises(ConfigError, match=r"--\w+ has no effect without --quant_method"):
            target.find({**model, **flags})
    with pytest.raises(ConfigError, match=r"--quant_method: .*a merged model, is loaded as it is stored"):
        target.find({**adapter, "merge_lora": "true", "quant_method": "bnb"})
    with pytest.raises(ConfigError, match=r"--bnb_4bit_quant_type has no effect with --quant_bits 8"):
        target.find({**model, "quant_method": "bnb", "quant_bits": 8, "bnb_4bit_quant_type": "fp4"})
    assert target.find({**model, "quant_method": "bnb", "quant_bits": 8}).params.quantization.quant_bits == 8
    assert target.find({**adapter, "quant_bits": 8}).params.quantization.quant_bits == 8  # of bnb, as it was trained
    assert target.find({**adapter, "quant_method": "null"}).params.quantization.quant_method is None
    (tmp_path / "args.json").write_text(json.dumps({**saved, "lora": {"init_weights": "loftq"}}))
    assert target.find({**adapter, "quant_method": "bnb", "bnb_4bit_compute_dtype": "float16"}).adapter == tmp_path
    for flags in ({"quant_method": "null"}, {"quant_bits": 8}, {"bnb_4bit_quant_type": "fp4"}):
        with pytest.raises(ConfigError, match=rf"--{next(iter(flags))} \w+: the adapter began with what .* \(loftq\)"):
            target.find({**adapter, **flags})


def test_a_length_that_the_model_was_not_made_for_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"--max_model_len 1025: .* was made for 1024 tokens"):
        target.find({"model": str(tiny_model), "max_model_len": 1025})
    assert target.find({"model": str(tiny_model), "max_model_len": 1024})


def test_a_model_beside_a_checkpoint_that_is_one_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    saved = {"model": {"model": str(tiny_model)}, "tuner": {"tuner_type": "full"}}
    (tmp_path / "args.json").write_text(json.dumps(saved))
    with pytest.raises(ConfigError, match=r"--model has no effect: .* is a whole model"):
        target.find({"adapters": [str(tmp_path)], "model": str(tiny_model)})
    (tmp_path / "adapter_config.json").touch()
    with pytest.raises(ConfigError, match=r"is an adapter, and no model; name it with --adapters"):
        target.find({"model": str(tmp_path)})


def test_a_run_folder_is_its_best_checkpoint(tiny_model: Path, tmp_path: Path) -> None:
    from components.files import replacing_folder, write_json

    saved = {"model": {"model": str(tiny_model)}, "tuner": {"tuner_type": "full"}}
    losses, lines = {1: 0.9, 2: 0.3, 3: 0.5}, list[str]()
    for step in losses:
        with replacing_folder(tmp_path / f"run/checkpoint-{step}") as folder:
            write_json(folder / "args.json", saved)
            history = [{"step": s, "eval_loss": loss} for s, loss in losses.items() if s <= step]
            write_json(folder / "trainer_state.json", {"log_history": history})
    write_json(tmp_path / "run/args.json", saved)
    run = {"adapters": [str(tmp_path / "run")]}
    assert target.find(run, lines.append).model == tmp_path / "run/checkpoint-2"
    assert lines == [f"{tmp_path}/run is a run: checkpoint-2 is taken, the lowest loss on its validation rows"]
    with replacing_folder(tmp_path / "run/checkpoint-4") as folder:
        write_json(folder / "args.json", saved)
        write_json(folder / "trainer_state.json", {"log_history": []})  # a run without validation rows
    assert target.find(run, lines.append).model == tmp_path / "run/checkpoint-4"
    assert lines[-1].endswith("checkpoint-4 is taken, its newest checkpoint")
