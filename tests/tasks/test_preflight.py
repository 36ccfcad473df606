"""What cannot end well is said before anything is read: about the base, and about settings that exclude each other."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.tiny_models import tiny
from components.config import Params, read_flags, resolve
from components.files import read_json, write_json
from components.models import fitness
from tasks import effects, preflight
from tests.commands import martlet


def problems(folder: Path, **flags: Any) -> list[str]:
    return preflight.problems(resolve(read_flags({"model": str(folder), **flags})))


@pytest.fixture
def base(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "base"))


def edit(file: Path, change: Callable[[Any], Any]) -> None:
    content = read_json(file)
    change(content)
    write_json(file, content)


def add_token(base: Path, name: str, **settings: Any) -> None:
    token = {"content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    rows = read_json(base / "config.json")["vocab_size"]
    edit(base / "tokenizer.json", lambda it: it["added_tokens"].append({"id": rows, **token, **settings}))


def test_a_base_as_it_is_has_no_problem(base: Path) -> None:
    assert problems(base) == problems(base, tuner_type="full") == []
    assert problems(base, modules_to_save=["embed_tokens"]) == []
    classes = {"task_type": "seq_cls", "quant_method": "bnb", "modules_to_save": ["score"]}
    assert problems(base, **classes) == []
    classes = {"task_type": "seq_cls", "tuner_type": "full", "freeze_parameters": ["model"]}
    assert problems(base, **classes, trainable_parameters=["score"]) == []


@pytest.mark.parametrize("tuner", ["lora", "dora", "ia3"])
def test_an_adapter_on_one_of_two_embeddings_that_are_one_is_refused(base: Path, tuner: str) -> None:
    for target in ("embed_tokens", "lm_head", "model.embed_tokens"):
        [sentence] = problems(base, tuner_type=tuner, target_modules=["q_proj", target])
        assert f"{target} shares its weights" in sentence
        assert "--modules_to_save embed_tokens" in sentence
    edit(base / "config.json", lambda config: config.pop("tie_word_embeddings"))  # as where the class ties by itself
    assert problems(base, tuner_type=tuner, target_modules=["lm_head"])
    weights = load_file(base / "model.safetensors")
    save_file({**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()}, base / "model.safetensors")
    assert problems(base, tuner_type=tuner, target_modules=["lm_head"]) == []


def test_a_token_without_a_row_in_the_embedding_is_named_if_it_can_come_up(base: Path) -> None:
    add_token(base, "<|image|>", special=True)  # which no template writes
    assert problems(base) == []
    (base / "chat_template.jinja").write_text("<|image|>{{ messages[0].content }}")
    [sentence] = problems(base)
    rows = read_json(base / "config.json")["vocab_size"]
    assert f"longer than the embedding, which has {rows} rows: its token <|image|> has the id {rows};" in sentence
    (base / "chat_template.jinja").write_text("{{ messages[0].content }}")
    edit(base / "tokenizer_config.json", lambda it: it.update(pad_token="<|image|>"))
    assert problems(base)


def test_words_beyond_the_embedding_are_refused(base: Path) -> None:
    edit(base / "tokenizer.json", lambda it: it["model"]["vocab"].update(word=3333))
    assert "its ids go up to 3333" in problems(base)[0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architectures": ["Qwen9ForCausalLM"]}, "has no Qwen9ForCausalLM"),
        ({"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True}, "reads with an encoder"),
        (
            {"quantization_config": {"quant_method": "fp8"}},
            "tuner_type: full needs .* quantized, and these are by fp8",
        ),
    ],
)
def test_a_base_that_cannot_be_trained_is_named(base: Path, change: dict[str, Any], reason: str) -> None:
    edit(base / "config.json", lambda config: config.update(change))
    [sentence] = problems(base, tuner_type="full")
    assert re.search(reason, sentence)


def test_a_group_that_does_not_divide_the_weights_of_a_layer_is_named(base: Path) -> None:
    sentences = "\n".join(fitness.problems(base, resolve(read_flags({"quant_method": "hqq", "hqq_group_size": 48}))))
    assert "hqq_group_size: 48 does not divide the 8192 weights of model.layers" in sentences
    assert fitness.problems(base, resolve(read_flags({"quant_method": "hqq"}))) == []


def test_processes_among_which_the_heads_of_a_model_do_not_divide_are_refused(base: Path) -> None:
    edit(base / "config.json", lambda config: config.update(num_attention_heads=12, num_key_value_heads=4))

    def said(parts: int) -> list[str]:
        return fitness.problems(base, resolve(read_flags({"nproc_per_node": 24, "sequence_parallel_size": parts})))

    assert said(2) == said(4) == []
    for parts in (3, 8):
        [sentence] = said(parts)
        assert f"{parts} processes cannot divide the 12 heads of this model's attention and its 4" in sentence
        assert sentence.endswith("; choose 1 or 2 or 4")


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"nproc_per_node": 1}, "2 processes divide a row, and 1 .* do not make groups of 2; use --nproc_per_node 2"),
        ({"nproc_per_node": 3}, "2 processes divide a row, and 3"),
        (
            {"nproc_per_node": 4, "gradient_accumulation_steps": 5},
            "5 passes do not divide among 2 groups of 2 processes",
        ),
    ],
)
def test_processes_that_do_not_divide_rows_evenly_are_refused(flags: dict[str, Any], reason: str) -> None:
    [sentence] = preflight.conflicts(resolve(read_flags({"sequence_parallel_size": 2, **flags})))
    assert re.search(reason, sentence)


def test_rows_longer_than_a_table_of_positions_are_refused(tmp_path: Path) -> None:
    def said(model_type: str, length: int) -> list[str]:
        tiny(model_type).save_pretrained(tmp_path / model_type)
        return fitness.problems(tmp_path / model_type, resolve(read_flags({"max_length": length})))

    for model_type in ("gpt2", "opt", "gpt_neo"):
        config = tiny(model_type).config
        count = config.max_position_embeddings
        assert said(model_type, count) == []
        [sentence] = said(model_type, count + 1)
        assert f"{count} positions, and rows may have {count + 1} tokens; add --max_length {count}" in sentence
    assert said("llama", 10**6) == said("gpt_neox", 10**6) == []  # whose positions are computed


def test_what_does_not_go_with_weights_that_are_quantized_is_told(base: Path, tmp_path: Path) -> None:
    def said(stored: dict[str, Any], **flags: Any) -> str:
        edit(base / "config.json", lambda config: config.update(quantization_config=stored))
        return "\n".join(preflight.problems(resolve(read_flags({"model": str(base), **flags})), tmp_path))

    assert said({"quant_method": "fp8"}) == ""
    assert "set []" in said({"quant_method": "fp8"}, variants=["bnb-int8"])
    eight = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    assert "dora does not train on weights quantized by bnb-int8; use lora" in said(eight, tuner_type="dora")
    assert said({"quant_method": "bitsandbytes", "load_in_4bit": True}, tuner_type="dora") == ""
    assert "quantized already, by bitsandbytes; leave --quant_method out" in said(eight, quant_method="bnb")


@pytest.mark.parametrize("content", ["", "[]", "7", '{"architectures": 3}'])
def test_a_configuration_of_another_shape_is_told(base: Path, content: str) -> None:
    (base / "config.json").write_text(content)
    assert "is not a model's configuration" in problems(base)[0]


def test_settings_that_exclude_each_other_are_told_together() -> None:
    flags = {"callbacks": ["lisa"], "optimizer": "loraplus", "tuner_type": "ia3", "nproc_per_node": 2,
             "gradient_accumulation_steps": 3}  # fmt: skip
    loraplus, lisa, passes = preflight.conflicts(resolve(read_flags(flags)))
    assert "callbacks: lisa works with --tuner_type full, not ia3" in lisa
    assert "loraplus works with --tuner_type lora or dora, not ia3" in loraplus
    assert "3 passes do not divide among 2 processes" in passes
    flags = {"optimizer": "galore", "quant_method": "bnb"}
    assert "galore works with --tuner_type full or llamapro" in preflight.conflicts(resolve(read_flags(flags)))[0]
    assert "not quantized" in preflight.conflicts(resolve(read_flags({**flags, "tuner_type": "full"})))[0]
    for loss in ("loss", "eval_sounds_loss"):
        assert preflight.conflicts(resolve(read_flags({"metric_for_best_model": loss}))) == []
    flags = {"metric_for_best_model": "rouge-1"}
    assert "evaluations have no eval_rouge-1" in preflight.conflicts(resolve(read_flags(flags)))[0]
    assert preflight.conflicts(resolve(read_flags({**flags, "predict_with_generate": True}))) == []
    assert preflight.conflicts(Params()) == []


def test_loftq_without_a_quantization_that_takes_something_is_refused(base: Path, tmp_path: Path) -> None:
    def said(**flags: Any) -> list[str]:
        flags = {"model": str(base), "init_weights": "loftq", **flags}
        return preflight.problems(resolve(read_flags(flags)), tmp_path, ["init_weights"])

    assert said(quant_method="bnb") == said(quant_method="bnb", tuner_type="dora") == []
    assert "add --quant_method bnb, or use another --init_weights" in said()[0]
    assert "makes up for 4 bits and fewer; add --quant_bits 4" in said(quant_method="bnb", quant_bits=8)[0]
    edit(base / "config.json", lambda config: config.update(quantization_config={"quant_method": "fp8"}))
    [sentence] = said()
    assert "makes up for what a plain model loses when it is quantized while it is loaded" in sentence


@pytest.mark.parametrize("tuner", ["lora", "dora", "ia3", "vera", "loha", "lokr", "boft", "oft", "fourierft"])
def test_a_layer_that_the_model_does_not_have_is_named(base: Path, tmp_path: Path, tuner: str) -> None:
    def told(**flags: Any) -> list[str]:
        return preflight.problems(resolve(read_flags({"model": "base", "tuner_type": tuner, **flags})), tmp_path)

    (sentence,) = told(target_modules=["all-linear", "q_prj"])
    assert "target_modules: no layer of the model is called 'q_prj' (did you mean 'q_proj'?)" in sentence
    assert "modules_to_save: no layer of the model is called 'lm_hed'" in told(modules_to_save=["lm_hed"])[0]
    assert told(target_modules=["all-linear"]) == told(target_modules=["self_attn.q_proj"]) == []
    assert told(modules_to_save=["lm_head"]) == []  # whose tensor is the embedding's, and in no file
    (base / "model.safetensors").write_bytes(b"cut")  # which is told when it is loaded
    assert told(target_modules=["q_proj"]) == []


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"tuner_type": "lora", "target_modules": []}, "no layer is named"),
        (
            {"tuner_type": "boft", "boft_block_size": 5},
            "boft_block_size: 5 does not divide .* 4 and 8",
        ),
        ({"tuner_type": "adalora", "adalora_target_r": 12}, "12 is not below the 12 of --adalora_init_r"),
        ({"tuner_type": "adalora", "max_steps": 1}, "no rank can fall between step 1 and the last 0 of 1; lower"),
        ({"tuner_type": "adalora", "max_steps": 4, "adalora_tfinal": 3}, "between step 1 and the last 3 of 4"),
        ({"tuner_type": "full", "freeze_parameters": ["score"]}, "no weight's name begins with 'score'"),
        ({"tuner_type": "prefix_tuning", "packing": True}, "--packing does not go with --tuner_type prefix_tuning"),
        ({"tuner_type": "boft", "boft_block_size": 0}, "boft_block_size: 0 is no size"),
        ({"tuner_type": "oft", "oft_block_size": 500}, "oft_block_size: 500 does not divide .* are 64"),
        (
            {"tuner_type": "fourierft", "fourier_n_frequency": 10**6},
            "1000000 coefficients are more than the .* weights",
        ),
        ({"tuner_type": "llamapro"}, "2 blocks of the model do not divide among 4 groups; possible numbers are 1, 2"),
        ({"tuner_type": "reft", "reft_layers": [1, 2]}, "reft_layers: 2: the model's blocks are 0 to 1"),
        ({"tuner_type": "reft", "reft_intervention_type": "LoreftInterventon"}, "did you mean 'LoreftIntervention'"),
        ({"tuner_type": "reft", "reft_rank": 65}, "65 dimensions are more than the 64 of"),
        ({"tuner_type": "adapter", "adapter_act": "gelo"}, "no activation 'gelo' .did you mean 'gelu'"),
        ({"tuner_type": "adapter", "modules_to_save": ["nrom"]}, "did you mean 'norm'"),
        ({"tuner_type": "lora", "lora_rank": 7, "init_weights": "orthogonal"}, "needs an even --lora_rank, not 7"),
        ({"tuner_type": "dora", "quant_method": "bnb", "init_weights": "olora"}, "olora needs weights that are not"),
        (
            {"quant_method": "bnb", "modules_to_save": ["q_proj"]},
            "layers.0.self_attn.q_proj is quantized, so it",
        ),
        ({"quant_method": "bnb", "modules_to_save": ["mlp", "norm"]}, "layers.0.mlp.down_proj is quantized"),
        ({"tuner_type": "boft", "quant_method": "bnb"}, "boft needs weights that are not quantized"),
        ({"tuner_type": "loha", "quant_method": "bnb"}, "loha needs weights that are not quantized"),
        ({"tuner_type": "dora", "quant_method": "bnb", "quant_bits": 8}, "dora does not train on weights quantized by"),
    ],
)
def test_a_size_that_does_not_fit_the_model_is_told_before_a_run(
    base: Path, flags: dict[str, Any], reason: str
) -> None:
    [sentence] = problems(base, **flags)
    assert re.search(reason, sentence)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator does both")
def test_what_a_cpu_does_not_do_is_told() -> None:
    precision, liger = preflight.conflicts(resolve(read_flags({"torch_dtype": "float16", "use_liger_kernel": True})))
    assert "torch_dtype: float16 needs an accelerator" in precision
    assert "use_liger_kernel: Liger's kernels run on an NVIDIA GPU" in liger


IDLE: dict[str, dict[str, Any]] = {
    "--lora_rank has no effect without --tuner_type adalora or dora or lora": {"lora_rank": 4, "tuner_type": "full"},
    "--use_rslora has no effect without --tuner_type adalora or dora or lora": {
        "use_rslora": True, "tuner_type": "ia3",
    },
    "--lora_rank has no effect with --tuner_type adalora, whose ranks are --adalora_init_r and --adalora_target_r": {
        "lora_rank": 4, "tuner_type": "adalora",
    },
    "--target_modules has no effect with --tuner_type full": {"target_modules": ["q_proj"], "tuner_type": "full"},
    "--target_modules has no effect with --tuner_type reft": {"target_modules": ["q_proj"], "tuner_type": "reft"},
    "--galore_rank has no effect without --optimizer galore": {"galore_rank": 4, "optimizer": "loraplus"},
    "--lisa_step_interval has no effect without --callbacks lisa": {"lisa_step_interval": 4},
    "--quant_bits has no effect without --quant_method": {"quant_bits": 4},
    "--hqq_axis has no effect without --quant_method hqq": {"hqq_axis": 1, "quant_method": "bnb"},
    "--bnb_4bit_compute_dtype has no effect without --quant_method bnb": {
        "bnb_4bit_compute_dtype": "float32", "quant_bits": 8, "quant_method": "quanto",
    },
    "--bnb_4bit_quant_type has no effect with --quant_bits 8": {
        "bnb_4bit_quant_type": "nf4", "quant_bits": 8, "quant_method": "bnb",
    },
    "--trainable_parameters has no effect without --freeze_parameters, --freeze_parameters_regex or "
    "--freeze_parameters_ratio": {"trainable_parameters": ["lm_head"], "tuner_type": "full"},
    "--packing_length has no effect without --packing true": {"packing_length": 64},
    "--split_dataset_ratio has no effect with --val_dataset": {"split_dataset_ratio": 0.1, "val_dataset": ["v"]},
    "--on_language has no effect without --languages": {"on_language": "drop"},
    "--system has no effect in `martlet pt`, which learns every token of a text": {"system": "Hi", "method": "pt"},
    "--on_duplicate has no effect with --streaming true, which sees a row at a time": {
        "on_duplicate": "drop", "streaming": True, "max_steps": 5,
    },
    "--output_dir has no effect with --resume_from_checkpoint: the run goes on in its own folder": {
        "output_dir": "other", "resume_from_checkpoint": "output/v0/checkpoint-3",
    },
    "--near_threshold has no effect with --on_near_duplicate ignore": {
        "near_threshold": 0.9, "on_near_duplicate": "ignore",
    },
}  # fmt: skip


@pytest.mark.parametrize("sentence", IDLE)
def test_a_flag_that_does_nothing_beside_the_others_is_named_if_it_was_typed(sentence: str, tmp_path: Path) -> None:
    params = resolve(read_flags(IDLE[sentence]))
    assert effects.idle_in_training(IDLE[sentence], params, tmp_path) == [sentence]
    assert effects.idle_in_training([], params, tmp_path) == []  # as from a recipe


def test_flags_that_a_method_of_the_run_reads_have_an_effect(tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = [
        {"lora_rank": 4, "tuner_type": "dora", "nproc_per_node": 2, "lorap_lr_ratio": 2, "optimizer": "loraplus"},
        {"galore_rank": 4, "optimizer": "galore", "lisa_step_interval": 2, "callbacks": ["lisa"], "tuner_type": "full"},
        {"lora_rank": 4, "tuner_type": "mine", "external_plugins": ["mine.py"]},  # which may hand it on unseen
        {"quant_method": "bnb", "quant_bits": 4, "bnb_4bit_quant_type": "nf4", "split_dataset_ratio": 0.1},
        {"output_dir": "output", "resume_from_checkpoint": "output/v0/checkpoint-3"},
        {"val_dataset": ["v"], "split_dataset_ratio": 0, "streaming": True, "max_steps": 5, "on_duplicate": "ignore"},
    ]
    (tmp_path / "mine.py").write_text(
        "from components.tuners.full import LEARNING_RATE, load, merge, restore, save, wrap\n"
    )
    for flags in runs:
        assert effects.idle_in_training(flags, resolve(read_flags(flags)), tmp_path) == []


def test_commands_say_so_before_they_make_a_folder(base: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"query": "1?", "response": "one"}) + "\n")
    edit(base / "config.json", lambda config: config.update(architectures=["Qwen9ForCausalLM"]))
    words = ["--model", "base", "--dataset", "rows.jsonl", "--callbacks", "lisa", "--galore_rank", 4]
    for command in ("sft", "pt"):
        error = martlet(tmp_path, command, *words, code=2)
        assert "has no Qwen9ForCausalLM" in error
        assert "lisa works with --tuner_type full" in error
        assert "--galore_rank has no effect without --optimizer galore" in error
    assert not (tmp_path / "output").exists()
    (tmp_path / "recipe.yaml").write_text("model: {model: base}\ndata: {dataset: [rows.jsonl]}\n")
    assert "has no Qwen9ForCausalLM" in martlet(tmp_path, "validate", "recipe.yaml", code=2)
