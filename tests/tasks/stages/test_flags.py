"""Each parameter of the stages fetch, template and train changes what the stage leaves."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from components import models
from components.config import read_mapping, resolve
from components.errors import MartletError
from components.files import sha256, write_json
from components.tokens import TokenRows
from tasks.stages import fetch, methods, template, train, validate
from tasks.stages.paths import Paths
from tests.components.training.runs import labelled_rows, paired_rows, some_rows, write_tokens

WATCH = """\
import json, pathlib
from transformers import TrainerCallback

class Watch(TrainerCallback):
    def on_train_begin(self, args, state, control, **kwargs):
        values = {k: v for k, v in args.to_dict().items() if k not in ("output_dir", "logging_dir", "run_name")}
        pathlib.Path("arguments.json").write_text(json.dumps(values, default=str, sort_keys=True))

def callback(job):
    return Watch()
"""
GALORE = {"optimizer": "galore", "tuner_type": "full", "galore_rank": 4, "galore_update_proj_gap": 1}
QGALORE = {
    **GALORE, "galore_quantization": True, "galore_proj_quant": True, "galore_queue_size": 1, "galore_cos_threshold": 0,
    "galore_gamma_proj": 8,
}  # fmt: skip
LISA = {"callbacks": ["lisa"], "tuner_type": "full", "lisa_activated_layers": 1, "num_train_epochs": 2}
FULL = {"tuner_type": "full"}
BNB = {"quant_method": "bnb"}
HQQ = {"quant_method": "hqq"}
VERA, BOFT, OFT, FOURIER = (
    {"tuner_type": "vera", "vera_rank": 8},
    {"tuner_type": "boft"},
    {"tuner_type": "oft"},
    {"tuner_type": "fourierft"},
)
LOHA, LOKR, ADAPTER, REFT = ({"tuner_type": name} for name in ("loha", "lokr", "adapter", "reft"))
ADALORA = {"tuner_type": "adalora", "adalora_init_r": 4, "adalora_target_r": 2, "num_train_epochs": 2}
LLAMAPRO = {"tuner_type": "llamapro", "llamapro_num_new_blocks": 2, "llamapro_num_groups": 2}
BEST = {"load_best_model_at_end": True, "save_steps": 1}
CLASSES, VECTORS = {"task_type": "seq_cls"}, {"task_type": "embedding"}
ANSWERS = {"predict_with_generate": True, "max_new_tokens": 4}
PACKS = {"packing": True, "packing_length": 40}
TRAIN: dict[str, tuple[Any, dict[str, Any]]] = {
    "tuner_type": ("dora", {}),
    "target_modules": (["q_proj"], {}),
    "lora_rank": (8, {}),
    "lora_alpha": (8, {}),
    "lora_dropout": (0.5, {}),
    "use_rslora": (True, {}),
    "init_weights": ("pissa", {}),
    "adalora_init_r": (6, ADALORA),
    "adalora_target_r": (1, ADALORA),
    "adalora_tinit": (3, ADALORA),
    "adalora_tfinal": (2, ADALORA),
    "adalora_delta_t": (2, ADALORA),
    "adalora_beta1": (0.1, ADALORA),
    "adalora_beta2": (0.1, ADALORA),
    "adalora_orth_reg_weight": (0.1, ADALORA),
    "num_virtual_tokens": (5, {"tuner_type": "prefix_tuning"}),
    "vera_rank": (4, VERA),
    "vera_projection_prng_key": (1, VERA),
    "vera_dropout": (0.5, VERA),
    "vera_d_initial": (0.5, VERA),
    "boft_block_size": (8, BOFT),
    "boft_block_num": (4, BOFT),
    "boft_dropout": (0.5, BOFT),
    "oft_block_size": (16, OFT),
    "oft_coft": (True, OFT),
    "oft_eps": (1e-2, {**OFT, "oft_coft": True}),
    "lycoris_rank": (4, LOHA),
    "lycoris_alpha": (2, LOHA),
    "lycoris_dropout": (0.5, LOHA),
    "lokr_factor": (2, LOKR),
    "fourier_n_frequency": (100, FOURIER),
    "fourier_scaling": (10, FOURIER),
    "adapter_length": (8, ADAPTER),
    "adapter_act": ("relu", ADAPTER),
    "reft_rank": (2, REFT),
    "reft_layers": ([0], REFT),
    "reft_intervention_type": ("DireftIntervention", REFT),
    "llamapro_num_new_blocks": (4, LLAMAPRO),
    "llamapro_num_groups": (1, LLAMAPRO),
    "freeze_parameters": (["model.layers.0"], FULL),
    "freeze_parameters_regex": ("mlp", FULL),
    "freeze_parameters_ratio": (0.9, FULL),
    "trainable_parameters": (["model.embed_tokens"], {**FULL, "freeze_parameters_ratio": 0.9}),
    "trainable_parameters_regex": ("norm", {**FULL, "freeze_parameters_ratio": 0.9}),
    "torch_dtype": ("bfloat16", {}),
    "attn_impl": ("eager", {}),
    "num_train_epochs": (2, {}),
    "max_steps": (1, {}),
    "per_device_train_batch_size": (2, {}),
    "per_device_eval_batch_size": (4, {}),
    "gradient_accumulation_steps": (2, {}),
    "packing": (True, {}),
    "packing_length": (60, PACKS),
    "packing_strategy": ("sequential", PACKS),
    "group_by_length": (True, {}),
    "optimizer": ("loraplus", {}),
    "callbacks": (["lisa"], {"tuner_type": "full", "lisa_activated_layers": 1}),
    "learning_rate": (1e-3, {}),
    "lr_scheduler_type": ("constant", {}),
    "lr_scheduler_kwargs": ({"num_cycles": 2}, {}),
    "warmup_ratio": (0.9, {}),
    "warmup_steps": (2, {}),
    "weight_decay": (0.9, {}),
    "adam_beta1": (0.1, {}),
    "adam_beta2": (0.1, {}),
    "adam_epsilon": (1.0, {}),
    "max_grad_norm": (1e-3, {}),
    "loss_type": ("dft", {}),
    "label_smoothing_factor": (0.1, {}),
    "neftune_noise_alpha": (5, {}),
    "eval_strategy": ("no", {}),
    "eval_delay": (3, {}),
    "eval_on_start": (True, {}),
    "save_strategy": ("no", {}),
    "metric_for_best_model": ("token_acc", {**BEST, "greater_is_better": True}),
    "greater_is_better": (True, BEST),
    "load_best_model_at_end": (True, {**BEST, "load_best_model_at_end": False, "greater_is_better": True}),
    "early_stop_interval": (1, {"eval_steps": 1}),
    "predict_with_generate": (True, {"max_new_tokens": 4}),
    "eval_metric": (["acc"], ANSWERS),
    "max_new_tokens": (2, ANSWERS),
    "gradient_checkpointing": (True, {}),
    "torch_compile": (True, {}),
    "logging_steps": (1, {}),
    "eval_steps": (1, {}),
    "save_steps": (1, {}),
    "dataloader_num_workers": (1, {}),
    "seed": (7, {}),
    "lorap_lr_ratio": (2, {"optimizer": "loraplus"}),
    "lorap_emb_lr": (1.0, {"optimizer": "loraplus", "target_modules": ["embed_tokens", "q_proj"]}),
    "galore_rank": (2, GALORE),
    "galore_update_proj_gap": (3, GALORE),
    "galore_scale": (0.1, GALORE),
    "galore_proj_type": ("right", GALORE),
    "galore_target_modules": (["q_proj"], GALORE),
    "galore_quantization": (True, {**QGALORE, "galore_quantization": False}),
    "galore_queue_size": (9, QGALORE),
    "galore_cos_threshold": (1, QGALORE),
    "galore_gamma_proj": (1, QGALORE),
    "galore_proj_quant": (True, {**QGALORE, "galore_proj_quant": False}),
    "galore_proj_bits": (2, QGALORE),
    "galore_proj_group_size": (16, QGALORE),
    "lisa_activated_layers": (2, LISA),
    "lisa_step_interval": (2, LISA),
    "num_labels": (3, CLASSES),
    "problem_type": ("regression", CLASSES),
    "infonce_temperature": (1.0, VECTORS),
    "infonce_use_batch": (False, VECTORS),
    "contrastive_margin": (1.5, {**VECTORS, "loss_type": "contrastive"}),
    "quant_method": ("bnb", {}),
    "quant_bits": (8, BNB),
    "bnb_4bit_quant_type": ("fp4", BNB),
    "bnb_4bit_compute_dtype": ("bfloat16", BNB),
    "bnb_4bit_use_double_quant": (False, BNB),
    "hqq_axis": (0, HQQ),
    "hqq_group_size": (32, HQQ),
}
"""Another value of each parameter, and the parameters with which it matters."""
COMPILED = ("torch_compile",)
"""Parameters that compile the model, which takes a minute."""
FAMILIES = (
    "vera_", "boft_", "oft_", "lycoris_", "lokr_", "fourier_", "adapter_", "reft_", "galore_", "adalora_", "lisa_",
    "lorap_", "llamapro_", "bnb_4bit_", "num_virtual_tokens",
)  # fmt: skip
"""How the parameters begin that one tuner or optimizer alone reads; run by -m slow, for they are many."""
VOLATILE = ("tokens_per_second", "eta", "time", "memory")
SMALL = {
    "num_train_epochs": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "save_steps": 2,
    "learning_rate": 1e-2, "lora_rank": 4,
}  # fmt: skip


def trained(base: Path, folder: Path, settings: dict[str, Any]) -> tuple[Any, ...]:
    """What the stage leaves: weights, checkpoints, the report with its curve, and transformers' arguments."""
    paths = Paths(root=folder, workspace=folder)
    (folder / "watch.py").write_text(WATCH.replace("arguments.json", str(folder / "arguments.json")))
    settings = {**SMALL, "external_plugins": ["watch.py"], **settings}
    params = resolve(read_mapping({**settings, "callbacks": [*settings.get("callbacks", []), "watch"]}, "test"))
    write_json(paths.model, models.resolve(str(base), None, False, folder))
    write_json(paths.methods, methods.used(params, folder))
    train.run(params, paths)
    lines = [json.loads(line) for line in (paths.log("train") / "progress.jsonl").read_text().splitlines()]
    curve = [
        {k: v for k, v in line.items() if k not in VOLATILE}
        for line in lines
        if "settings" not in line and not line.get("message", "").startswith(("memory:", "disk:", "model:"))
    ]
    checkpoints = sorted(p.parent.name for p in folder.glob(".checkpoints/*/checkpoint-*/manifest.json"))
    weights = [sha256(file) for file in sorted(paths.adapter.glob("*.safetensors"))]
    return weights, checkpoints, curve, (folder / "arguments.json").read_text()


def write_rows(folder: Path, context: dict[str, Any]) -> None:
    """Write tokens of the shape that the parameters learn from."""
    by_task = {"seq_cls": (labelled_rows, "classification"), "embedding": (paired_rows, "pair")}
    rows, shape = by_task.get(context.get("task_type", ""), (some_rows, "sft"))
    write_tokens(Paths(folder, folder).tokens, rows(16), rows(4, seed=1), shape)


@pytest.fixture(scope="module")
def before(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the stage leaves without the parameter, once for each set of other parameters."""
    kept: dict[str, tuple[Any, ...]] = {}

    def leave(context: dict[str, Any]) -> tuple[Any, ...]:
        if (key := json.dumps(context)) not in kept:
            folder = tmp_path_factory.mktemp("before")
            write_rows(folder, context)
            kept[key] = trained(tiny_model, folder, context)
        return kept[key]

    return leave


@pytest.mark.quick_cases(12)
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name.startswith((*COMPILED, *FAMILIES)) else name for name in TRAIN],
)
def test_a_parameter_of_the_training_changes_the_training(
    name: str, before: Any, tiny_model: Path, tmp_path: Path
) -> None:
    value, context = TRAIN[name]
    if context == HQQ:
        pytest.importorskip("hqq", reason="needs the extra hqq: uv pip install hqq termcolor")
    write_rows(tmp_path, context)
    assert trained(tiny_model, tmp_path, {**context, name: value}) != before(context)


def test_the_same_parameters_leave_the_same(before: Any, tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path, {})
    assert trained(tiny_model, tmp_path, {}) == before({})


ROWS = [{"q": f"Who is {n}, {{{{NAME}}}}?", "a": f"{n} of {{{{AUTHOR}}}} <think>\n\n</think>"} for n in range(12)]
OTHER = [{"query": f"Other {n}", "response": f"Answer {n}"} for n in range(8)]
TURNS = [{"role": r, "content": f"{r} {n}"} for n in range(2) for r in ("user", "assistant")]
TWO = {"dataset": ["rows.jsonl", "other.jsonl"], "interleave_prob": [0.5, 0.5]}
DATA: dict[str, tuple[Any, dict[str, Any]]] = {
    "dataset": (["other.jsonl"], {}),
    "val_dataset": (["other.jsonl"], {}),
    "split_dataset_ratio": (0.5, {}),
    "eval_dataset": (["questions.jsonl"], {"dataset": ["other.jsonl"]}),
    "custom_dataset_info": (["info.json"], {"dataset": ["mine"]}),
    "data_seed": (7, {}),
    "dataset_shuffle": (False, {}),
    "val_dataset_shuffle": (True, {"val_dataset": ["other.jsonl"]}),
    "interleave_prob": ([0.5, 0.5], {"dataset": TWO["dataset"]}),
    "stopping_strategy": ("all_exhausted", TWO),
    "columns": ({"q": "response", "a": "query"}, {}),
    "model_name": (["Robin"], {}),
    "model_author": (["Ann"], {}),
    "system": ("Be brief.", {}),
    "max_length": (20, {}),
    "truncation_strategy": ("right", {"max_length": 40}),
    "loss_scale": ("last_round", {"dataset": ["turns.jsonl"]}),
    "use_chat_template": (False, {}),
    "method": ("pt", {"dataset": ["other.jsonl"]}),
    "task_type": ("embedding", {"dataset": ["other.jsonl"]}),
}


def prepared(base: Path, folder: Path, settings: dict[str, Any]) -> Any:
    """What fetch, validate and template leave: raw rows, and tokens with their labels; or why they stop."""
    files = {"rows": ROWS, "other": OTHER, "mine": OTHER, "turns": [{"messages": TURNS}], "questions": OTHER[:1]}
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = {"mine": {"file_name": "mine.jsonl", "columns": {"prompt": "query", "response": "response"}}}
    (folder / "info.json").write_text(json.dumps(info))
    defaults = {
        "model": str(base), "dataset": ["rows.jsonl"], "columns": {"q": "query", "a": "response"},
        "model_name": ["X"], "model_author": ["Y"], "dataset_num_proc": 1,
    }  # fmt: skip
    settings = {**defaults, **settings}
    if "rows.jsonl" not in [*settings["dataset"], *settings.get("val_dataset", [])]:
        settings["columns"] = {}
    params, paths = resolve(read_mapping(settings, "test")), Paths(folder, folder)
    try:
        for stage in (fetch, validate, template):
            stage.run(params, paths)
    except MartletError as error:
        return str(error)
    raw = {file.name: parquet.read_table(file).to_pylist() for file in paths.raw.glob("*.parquet")}
    tokens = {f.name: [_row(row) for row in TokenRows(f)] for f in paths.tokens.glob("*.arrow")}
    return raw, tokens


def _row(row: Any) -> dict[str, Any]:
    return {name: values.tolist() if hasattr(values, "tolist") else values for name, values in row.items()}


@pytest.mark.parametrize("name", DATA)
def test_a_parameter_of_the_data_changes_the_rows_or_their_tokens(name: str, tiny_model: Path, tmp_path: Path) -> None:
    value, context = DATA[name]
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
    before = prepared(tiny_model, tmp_path / "before", context)
    assert prepared(tiny_model, tmp_path / "after", {**context, name: value}) != before


def test_the_same_data_are_the_same(tiny_model: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    assert prepared(tiny_model, tmp_path / "one", {}) == prepared(tiny_model, tmp_path / "two", {})
