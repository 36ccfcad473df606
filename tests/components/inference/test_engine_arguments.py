"""Command lines of engines that are programs, argument by argument."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import dispatch
from components.config import Params, read_flags, resolve
from components.errors import ConfigError
from components.inference import GenerationConfig, ServeSettings
from components.inference.engines import lmdeploy, sglang, vllm
from components.inference.engines._description import Description, describe
from tasks.loading import load_beside
from tasks.prompts import prompts
from tests.components.inference.test_adapters import save

PLAIN = Description(Path("m"), ["mine"], 8000)
RICH = Description(
    Path("m"),
    ["mine"],
    8000,
    adapters={"a": Path("x"), "b=c": Path("y z")},
    rank=12,
    dtype="bfloat16",
    max_model_len=512,
    quant_method="gptq",
    sampling={"temperature": 0.5, "max_new_tokens": 9},
    template=Path("t.jinja"),
    template_kwargs={"enable_thinking": False},
    tools="hermes",
)
HERE = ["--host", "127.0.0.1", "--port", "8000"]


def params_of(**flags: object) -> Params:
    return resolve(read_flags(flags))


def words_of(engine: Any, model: Description, on_gpu: bool = True, **flags: object) -> list[str]:
    params = params_of(**flags)
    if engine is vllm:
        return vllm.arguments(model, params.vllm, on_gpu)
    if engine is lmdeploy:
        return lmdeploy.arguments(model, params.lmdeploy, Path("g"))
    return sglang.arguments(model, params.sglang)


def value_of(words: list[str], flag: str) -> str | None:
    return words[words.index(flag) + 1] if flag in words else None


def test_vllm_on_a_cpu_gets_what_it_needs_and_nothing_of_gpus() -> None:
    expected = ["serve", "m", *HERE, "--served-model-name", "mine", "--max-num-seqs", "256", "--enforce-eager"]
    assert words_of(vllm, PLAIN, on_gpu=False) == expected


def test_vllm_is_told_all_of_a_description() -> None:
    words = words_of(vllm, RICH)
    assert words[:2] == ["serve", "m"]
    pairs = {
        "--dtype": "bfloat16",
        "--max-model-len": "512",
        "--chat-template": "t.jinja",
        "--default-chat-template-kwargs": '{"enable_thinking": false}',
        "--override-generation-config": '{"temperature": 0.5, "max_new_tokens": 9}',
        "--tool-call-parser": "hermes",
        "--max-lora-rank": "16",
        "--max-loras": "2",
        "--gpu-memory-utilization": "0.9",
        "--tensor-parallel-size": "1",
    }
    assert {flag: value_of(words, flag) for flag in pairs} == pairs
    assert {"--enable-auto-tool-choice", "--enable-lora", "--disable-custom-all-reduce"} <= set(words)
    at = words.index("--lora-modules")
    modules = [json.loads(word) for word in words[at + 1 : at + 3]]
    assert modules == [{"name": "a", "path": "x"}, {"name": "b=c", "path": "y z"}]


def test_quantized_weights_are_computed_in_bfloat16_on_a_cpu() -> None:
    model = Description(Path("m"), ["mine"], 1, dtype="float32", quant_method="awq")
    assert value_of(words_of(vllm, model, on_gpu=False), "--dtype") == "bfloat16"
    assert value_of(words_of(vllm, model, on_gpu=True), "--dtype") == "float32"


@pytest.mark.parametrize(
    ("flag", "value", "words"),
    [
        ("vllm_gpu_memory_utilization", 0.5, ["--gpu-memory-utilization", "0.5"]),
        ("vllm_tensor_parallel_size", 2, ["--tensor-parallel-size", "2"]),
        ("vllm_pipeline_parallel_size", 2, ["--pipeline-parallel-size", "2"]),
        ("vllm_data_parallel_size", 2, ["--data-parallel-size", "2"]),
        ("vllm_enable_expert_parallel", True, ["--enable-expert-parallel"]),
        ("vllm_max_num_seqs", 8, ["--max-num-seqs", "8"]),
        ("vllm_max_model_len", 77, ["--max-model-len", "77"]),
        ("vllm_enforce_eager", True, ["--enforce-eager"]),
        ("vllm_max_lora_rank", 64, ["--max-lora-rank", "64"]),
        ("vllm_enable_prefix_caching", True, ["--enable-prefix-caching"]),
        ("vllm_enable_prefix_caching", False, ["--no-enable-prefix-caching"]),
        ("vllm_quantization", "awq_marlin", ["--quantization", "awq_marlin"]),
        ("vllm_reasoning_parser", "qwen3", ["--reasoning-parser", "qwen3"]),
        ("vllm_limit_mm_per_prompt", '{"image": 2}', ["--limit-mm-per-prompt", '{"image": 2}']),
        ("vllm_mm_processor_cache_gb", 1.5, ["--mm-processor-cache-gb", "1.5"]),
        ("vllm_speculative_config", '{"method": "ngram"}', ["--speculative-config", '{"method": "ngram"}']),
        ("vllm_engine_kwargs", '{"block_size": 32}', ["--block-size", "32"]),
        ("vllm_engine_kwargs", '{"enable_log_requests": false}', ["--no-enable-log-requests"]),
        ("lmdeploy_tp", 2, ["--tp", "2"]),
        ("lmdeploy_session_len", 77, ["--session-len", "77"]),
        ("lmdeploy_cache_max_entry_count", 0.3, ["--cache-max-entry-count", "0.3"]),
        ("lmdeploy_quant_policy", 8, ["--quant-policy", "8"]),
        ("lmdeploy_vision_batch_size", 4, ["--vision-max-batch-size", "4"]),
        ("sglang_tp_size", 2, ["--tp-size", "2"]),
        ("sglang_pp_size", 2, ["--pp-size", "2"]),
        ("sglang_dp_size", 2, ["--dp-size", "2"]),
        ("sglang_ep_size", 2, ["--ep-size", "2"]),
        ("sglang_mem_fraction_static", 0.7, ["--mem-fraction-static", "0.7"]),
        ("sglang_context_length", 77, ["--context-length", "77"]),
        ("sglang_disable_cuda_graph", True, ["--disable-cuda-graph"]),
        ("sglang_quantization", "fp8", ["--quantization", "fp8"]),
        ("sglang_kv_cache_dtype", "fp8_e5m2", ["--kv-cache-dtype", "fp8_e5m2"]),
        ("sglang_enable_dp_attention", True, ["--enable-dp-attention"]),
    ],
)
def test_a_flag_reaches_its_engine(flag: str, value: object, words: list[str]) -> None:
    engine = {"vllm": vllm, "lmdeploy": lmdeploy, "sglang": sglang}[flag.partition("_")[0]]
    model = RICH if flag == "vllm_max_lora_rank" else PLAIN
    before, after = words_of(engine, model), words_of(engine, model, **{flag: value})
    assert any(after[at : at + len(words)] == words for at in range(len(after)))
    assert not any(before[at : at + len(words)] == words for at in range(len(before)))


@pytest.mark.parametrize("flag", ["vllm_disable_custom_all_reduce", "sglang_disable_custom_all_reduce"])
def test_a_flag_that_is_on_by_default_can_be_left_out(flag: str) -> None:
    engine = vllm if flag.startswith("vllm") else sglang
    assert "--disable-custom-all-reduce" in words_of(engine, PLAIN)
    assert "--disable-custom-all-reduce" not in words_of(engine, PLAIN, **{flag: False})


@pytest.mark.parametrize("engine", [vllm, lmdeploy, sglang])
def test_code_of_a_model_runs_where_it_was_allowed(engine: Any) -> None:
    allowed = Description(Path("m"), ["mine"], 1, trust_remote_code=True)
    assert "--trust-remote-code" in words_of(engine, allowed)
    assert "--trust-remote-code" not in words_of(engine, PLAIN)


def test_lmdeploy_serves_adapters_and_formats() -> None:
    model = Description(Path("m"), ["mine"], 1, adapters={"a": Path("x")}, quant_method="awq", tools="hermes")
    words = words_of(lmdeploy, model)
    assert words == [
        "serve", "api_server", "m", "--server-name", "127.0.0.1", "--server-port", "1", "--model-name", "mine",
        "--backend", "pytorch", "--adapters", "a=x", "--model-format", "awq", "--tp", "1",
        "--cache-max-entry-count", "0.8", "--vision-max-batch-size", "1", "--tool-call-parser", "qwen3",
    ]  # fmt: skip
    sampled = Description(Path("m"), ["mine"], 1, sampling={"temperature": 0})
    assert value_of(words_of(lmdeploy, sampled), "--generation-config") == "g"


def test_sglang_is_told_the_template_and_the_dialect() -> None:
    model = Description(
        Path("m"), ["mine"], 1, template=Path("t"), template_kwargs={"enable_thinking": True}, tools="hermes"
    )
    words = words_of(sglang, model)
    assert value_of(words, "--chat-template") == "t"
    assert value_of(words, "--default-chat-template-kwargs") == '{"enable_thinking": true}'
    assert value_of(words, "--tool-call-parser") == "qwen25"


@pytest.mark.parametrize(
    ("engine", "model", "message"),
    [
        (sglang, RICH, "--adapters: sglang"),
        (sglang, Description(Path("m"), ["a", "b"], 1), "one name"),
        (sglang, Description(Path("m"), ["a"], 1, sampling={"top_p": 0.5}), "--top_p: sglang"),
        (lmdeploy, RICH, "--system, --enable_thinking: lmdeploy"),
        (lmdeploy, Description(Path("m"), ["a", "b"], 1), "one name"),
    ],
)
def test_what_an_engine_does_not_have_is_refused(engine: Any, model: Description, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        words_of(engine, model)


def test_a_flag_of_an_engine_that_does_not_serve_is_refused(tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="--vllm_max_num_seqs has no effect without --infer_backend vllm"):
        dispatch(["deploy", "--model", str(tiny_model), "--port", "0", "--vllm_max_num_seqs", "8"])
    command = ["deploy", "--model", str(tiny_model), "--port", "0", "--infer_backend", "vllm", "--max_batch_size", "8"]
    with pytest.raises(ConfigError, match="--max_batch_size has no effect with --infer_backend vllm"):
        dispatch(command)


def settings_of(generation: GenerationConfig | None = None, **flags: object) -> ServeSettings:
    params = params_of(**flags)
    of_tokenizer = prompts(params.template)
    return ServeSettings(
        load_beside,
        lambda tokenizer, _: of_tokenizer(tokenizer),
        ["mine"],
        generation=generation or GenerationConfig(),
        params=params,
    )


def test_a_folder_is_described(tiny_model: Path, tmp_path: Path) -> None:
    generation = GenerationConfig(temperature=0, max_new_tokens=5)
    model = describe(tiny_model, {}, settings_of(generation, torch_dtype="bfloat16"), 7, tmp_path)
    assert (model.model, model.port, model.dtype, model.quant_method, model.tools) == (
        tiny_model, 7, "bfloat16", None, None,
    )  # fmt: skip
    assert model.sampling == {"temperature": 0, "max_new_tokens": 5}
    assert describe(tiny_model, {}, settings_of(), 7, tmp_path).dtype == "float32"
    adapter = save(tiny_model, tmp_path / "adapter", target_modules="all-linear")
    tuned = describe(tiny_model, {"tuned": adapter}, replace(settings_of(), names=[]), 7, tmp_path)
    assert (tuned.names, tuned.adapters, tuned.rank) == (["tuned-base"], {"tuned": adapter}, 4)
    thinking = describe(tiny_model, {}, settings_of(enable_thinking=False), 7, tmp_path)
    assert thinking.template_kwargs == {"enable_thinking": False}


def test_the_system_prompt_is_added_to_the_template(tiny_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    system = 'Say "yes" {{ 1 }}\nor nö.'
    model = describe(tiny_model, {}, settings_of(system=system), 7, tmp_path)
    assert model.template
    tokenizer: Any = AutoTokenizer.from_pretrained(tiny_model)
    question, other = {"role": "user", "content": "Who?"}, {"role": "system", "content": "Be brief."}
    for messages, expected in (
        ([question], [{"role": "system", "content": system}, question]),
        ([other, question], [other, question]),
    ):
        text = tokenizer.apply_chat_template(messages, chat_template=model.template.read_text(), tokenize=False)
        assert text == tokenizer.apply_chat_template(expected, tokenize=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (settings_of(GenerationConfig(stop_words=["x"])), "--stop_words"),
        (settings_of(use_chat_template=False), "--use_chat_template"),
        (settings_of(quant_method="bnb", quant_bits=4), "--quant_method"),
    ],
)
def test_a_setting_of_the_built_in_engine_alone_is_refused(
    settings: ServeSettings, message: str, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        describe(tiny_model, {}, settings, 7, tmp_path)
