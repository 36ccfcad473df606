"""`martlet sft` and `martlet pt` on ways to train that are not LoRA on chats: from the flags to the answers."""

import json
import re
import shutil
from pathlib import Path

import pytest

from components.files import read_json, sha256
from components.texts import number
from components.tokens import TokenRows
from tests.apps.test_plugins import write_rows
from tests.commands import Command, martlet

SHORT = ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1", "--report_to", "none",
         "--logging_steps", "1", "--add_version", "false"]  # fmt: skip


HALVES = """\
import shutil
from safetensors.torch import load_file, save_file

TENSOR = "weight"

def quantize(source, folder, rows, settings):
    weights = load_file(source / "model.safetensors")
    save_file({name: weight.half() for name, weight in weights.items()}, folder / "model.safetensors")
    shutil.copy(source / "config.json", folder)
"""


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "logs/train/progress.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"query": f"{n}?", "response": f"it is {n}"} for n in range(32)]
    return write_rows(tmp_path_factory.mktemp("data") / "chats.jsonl", rows)


def test_pre_training_learns_every_token_of_plain_text(tiny_model: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"text": f"the number {n} is followed by {n + 1}"} for n in range(40)]
    data = write_rows(tmp_path / "texts.jsonl", [*rows, {"query": "1?", "response": "one"}])
    martlet(
        tmp_path, "pt", "--model", tiny_model, "--dataset", data, "--tuner_type", "full", "--learning_rate", 3e-3,
        "--packing", "true", "--max_length", 64, "--num_train_epochs", 2, *SHORT, "--output_dir", "run",
    )  # fmt: skip
    tokens = TokenRows(tmp_path / "run/data/tokens/train.arrow")
    assert tokens.shape == "text"
    assert (tokens.learned() == tokens.lengths).all()
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]


def test_qlora_trains_merges_by_its_rule_and_answers(tiny_model: Path, chats: Path, tmp_path: Path) -> None:
    quantized = ["--quant_method", "bnb", "--quant_bits", "4"]
    words = ["sft", "--model", tiny_model, "--dataset", chats, "--learning_rate", 1e-2, "--lora_dropout", 0, *SHORT]
    martlet(tmp_path, *words, *quantized, "--num_train_epochs", 2, "--output_dir", "run")
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0]
    checkpoint = "run/checkpoint-16"
    ask = ["--max_new_tokens", 4, "--temperature", 0]
    martlet(tmp_path, "infer", "--adapters", checkpoint, *ask, text="7?\n")  # on the base as it was trained
    rows = [{"query": "{{NAME}}?"}, {"query": "7? " * 2000}]
    questions = ["--val_dataset", write_rows(tmp_path / "questions.jsonl", rows), "--model_name", "Martlet"]
    (tmp_path / "system.txt").write_text("Be brief.")
    ended = Command(tmp_path, "infer", "--adapters", "run", *ask, *questions, "--system", "system.txt").wait()
    assert "run is a run: checkpoint-16 is taken, its newest checkpoint" in ended.stderr
    assert ended.stdout.startswith("1 answers in result.jsonl\n1 row could not be answered")
    answered, too_long = map(json.loads, (tmp_path / "result.jsonl").read_text().splitlines())
    assert [message["content"] for message in answered["messages"][:2]] == ["Be brief.", "Martlet?"]
    assert "context" in too_long["error"]
    error = martlet(tmp_path, "infer", "--adapters", "run", "--result_path", "a.jsonl", code=2)
    assert "--result_path has no effect without --val_dataset" in error
    error = martlet(tmp_path, "infer", "--adapters", "run", "--model_name", "Martlet", code=2)
    assert "--model_name has no effect without --val_dataset" in error
    assert "trained_on_bnb: by " in martlet(tmp_path, "export", "--adapters", checkpoint, "--merge_lora", "true")
    proof = read_json(tmp_path / f"{checkpoint}-merged/merge.json")
    assert proof["merged"]["max_abs_difference"] < 1e-3
    assert proof["trained_on_bnb"]["max_abs_difference"] > proof["merged"]["max_abs_difference"]
    assert "quantization_config" not in read_json(tmp_path / f"{checkpoint}-merged/config.json")
    card, data = (tmp_path / f"{checkpoint}-merged/README.md").read_text(), tmp_path / "run/data/tokens/manifest.json"
    assert read_json(data)["files"]["train.arrow"]["sha256"] in card
    assert read_json(tmp_path / f"{checkpoint}/args.json")["model"]["sha256"] in card
    export = ["export", "--adapters", checkpoint, "--merge_lora", "true", "--output_dir"]
    assert f"merged into {tmp_path}/elsewhere" in martlet(tmp_path, *export, "elsewhere")
    assert (tmp_path / "elsewhere/model.safetensors").is_file()
    assert "would be removed; name another folder" in martlet(tmp_path, *export, "run", code=2)
    assert "checkpoint-16 are sealed" in martlet(tmp_path, *export, f"{checkpoint}/merged", code=2)
    results = {
        "questions.jsonl": "holds the questions",
        "run": "not a file",
        "system.txt/a": "its folder cannot be made",
    }
    for file, problem in results.items():
        error = martlet(tmp_path, "infer", "--adapters", "run", *questions, "--result_path", file, code=2)
        assert f"--result_path {file}: {problem}" in error
    adapter = tmp_path / checkpoint / "adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-1] + b"\x40")
    for command in (["infer"], ["deploy"], ["export", "--merge_lora", "true"]):
        error = martlet(tmp_path, *command, "--adapters", checkpoint, code=2)
        assert "adapter_model.safetensors damaged or edited since the training; take another" in error
    error = martlet(tmp_path, *words, *quantized, "--tuner_type", "full", "--output_dir", "full", code=2)
    assert "full needs weights that are not quantized" in error


def test_an_adapter_is_not_merged_into_a_folder_of_quantized_weights(
    tiny_model: Path, chats: Path, tmp_path: Path
) -> None:
    martlet(
        tmp_path, "export", "--model", tiny_model, "--quant_method", "bnb", "--quant_bits", "4", "--output_dir", "q4"
    )
    (tmp_path / "halves.py").write_text(HALVES)
    words = ["--quant_method", "halves", "--external_plugins", "halves.py", "--output_dir", "half"]
    assert "halves in " in martlet(tmp_path, "export", "--model", tiny_model, *words)
    assert (tmp_path / "half/model.safetensors").is_file()
    error = martlet(tmp_path, "export", "--model", tiny_model, "--quant_method", "bnb-int9", code=2)
    assert "there is no quantizer 'bnb-int9' (did you mean 'bnb-int8'?)" in error
    again = ["export", "--quant_method", "bnb", "--model"]
    assert "q4 are quantized already, by bitsandbytes" in martlet(tmp_path, *again, "q4", code=2)
    words = ["export", "--model", tiny_model, "--quant_bits", 8, "--merge_lora", "true"]
    assert "--quant_bits has no effect without --quant_method" in martlet(tmp_path, *words, code=2)
    error = martlet(tmp_path, *again, tiny_model, "--max_shard_size", "1GB", code=2)
    assert "--max_shard_size has no effect without --merge_lora true" in error
    (tmp_path / "file.txt").touch()
    error = martlet(tmp_path, *again, tiny_model, "--output_dir", "file.txt/sub", code=2)
    assert "file.txt/sub cannot be written" in error
    error = martlet(tmp_path, "export", "--model", tiny_model, "--merge_lora", "true", code=2)
    assert "is a whole model, with no adapter to merge" in error
    words = ["sft", "--model", "q4", "--dataset", chats, "--max_steps", 2, *SHORT, "--output_dir", "run"]
    martlet(tmp_path, *words)
    error = martlet(tmp_path, "export", "--adapters", "run/checkpoint-2", "--merge_lora", "true", code=2)
    assert "holds weights quantized by bitsandbytes" in error
    martlet(tmp_path, "infer", "--adapters", "run/checkpoint-2", "--max_new_tokens", 2, text="7?\n")  # on its base
    error = martlet(tmp_path, *words, "--quant_method", "bnb", "--output_dir", "twice", code=2)
    assert "are quantized already" in error


@pytest.mark.slow  # half a minute; each has a test of its own
def test_galore_with_lisa_and_lora_plus(tiny_model: Path, chats: Path, tmp_path: Path) -> None:
    words = ["sft", "--model", tiny_model, "--dataset", chats, *SHORT]
    full = ["--tuner_type", "full", "--optimizer", "galore", "--galore_rank", 8, "--galore_update_proj_gap", 5,
            "--callbacks", "lisa", "--lisa_activated_layers", 1, "--lisa_step_interval", 3]  # fmt: skip
    martlet(tmp_path, *words, *full, "--learning_rate", 1e-2, "--save_steps", 5, "--output_dir", "whole")
    assert losses(tmp_path / "whole")[-1] < losses(tmp_path / "whole")[0]
    again = [*words, *full, "--learning_rate", 1e-2, "--save_steps", 5]
    again += ["--resume_from_checkpoint", "whole/checkpoint-10"]
    assert "goes on in its own folder" in martlet(tmp_path, *again, "--output_dir", "again", code=2)
    martlet(tmp_path, *again)
    whole, resumed = (read_json(tmp_path / f"whole/checkpoint-24/{n}") for n in ("manifest.json", "trainer_state.json"))
    assert whole["step"] == resumed["global_step"] == 24
    martlet(tmp_path, *words, "--optimizer", "loraplus", "--learning_rate", 1e-3, "--output_dir", "plus")
    assert losses(tmp_path / "plus")[-1] < losses(tmp_path / "plus")[0]
    refused = ["--optimizer", "loraplus", "--tuner_type", "full", "--output_dir", "x", "--add_version", "true"]
    assert "loraplus works with --tuner_type lora or dora" in martlet(tmp_path, *words, *refused, code=2)
    assert not list((tmp_path / "x").glob("*"))  # no run folder is left of a start that failed


def test_a_refused_resume_touches_nothing_and_names_what_to_put_back(
    tiny_model: Path, chats: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copy(chats, tmp_path / "chats.jsonl"))
    shutil.copytree(tiny_model, tmp_path / "base")
    words = ["sft", "--model", "base", "--dataset", data, *SHORT, "--max_steps", 3, "--save_steps", 2]
    words += ["--output_dir", "run"]
    printed = martlet(tmp_path, *words)
    assert re.search(r"assistant\n⟦it is \d+<\|im_end\|>", printed)  # what is learned stands in brackets
    assert "tokens a row, half of them up to" in printed
    assert "\nsteps: 3\n" in printed
    assert printed.count("token acc 0.") == 3
    check_page(tmp_path / "run")
    everything, before = contents(tmp_path / "run", logs=True), contents(tmp_path / "run")
    for again in ([], ["--resume_from_checkpoint", "run/checkpoint-3"]):
        printed = martlet(tmp_path, *words, *again)
        assert "nothing to do: the run has ended" in printed
        assert "martlet infer --adapters run/checkpoint-3" in printed
        assert contents(tmp_path / "run", logs=True) == everything
    adapter = tmp_path / "run/models/adapter/adapter_model.safetensors"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "nothing to do" not in martlet(tmp_path, *words)
    assert adapter.read_bytes() == whole
    everything, before = contents(tmp_path / "run", logs=True), contents(tmp_path / "run")
    write_rows(tmp_path / "bad.jsonl", [{"query": "q", "response": ""}])
    error = martlet(tmp_path, *words, "--dataset", "bad.jsonl", code=3)
    assert f"see {tmp_path}/.martlet/data.html" in error
    assert "go on with" not in error
    assert "empty" in (tmp_path / ".martlet/data.html").read_text()
    assert contents(tmp_path / "run", logs=True) == everything
    for change, reason in [
        (["--learning_rate", 3e-4], "--learning_rate was 0.0001 and is 0.0003"),
        (["--split_dataset_ratio", 0.2], "--split_dataset_ratio was 0.0 and is 0.2"),
        (["--system", "Be brief."], "--system was None and is Be brief."),
    ]:
        for resume in ([], ["--resume_from_checkpoint", "run/checkpoint-2"]):
            error = martlet(tmp_path, *words, *change, *resume, code=2)
            assert reason in error
            assert "go on with" not in error
            assert contents(tmp_path / "run", logs=True) == everything
    data.write_text(data.read_text().replace("it is", "that is"))
    assert "the rows are others than the run's" in martlet(tmp_path, *words, code=2)
    assert contents(tmp_path / "run") == before
    shutil.copy(chats, data)
    printed = martlet(tmp_path, *words, "--resume_from_checkpoint", "run/checkpoint-2")
    assert "checkpoint-3 of the steps after checkpoint-2: moved to" in printed
    after = contents(tmp_path / "run")
    assert "aside/checkpoint-3/optimizer.pt" in after
    kept = {name: sha for name, sha in after.items() if not name.startswith("aside")}
    assert kept == before | {"args.json": after["args.json"]}
    assert "is at step 3, and the run ends at step 2" in martlet(
        tmp_path, *words, "--max_steps", 2, "--resume_from_checkpoint", "run/checkpoint-3", code=2
    )
    settings = tmp_path / "base/generation_config.json"
    settings.write_text(settings.read_text() + "\n")
    assert "the folder's files have changed since" in martlet(tmp_path, *words, code=2)
    assert contents(tmp_path / "run") == after
    export = ["export", "--adapters", "run/checkpoint-3", "--merge_lora", "true"]
    error = martlet(tmp_path, *export, code=2)
    assert "the files of its base base have changed since the training" in error
    assert "merged into" in martlet(tmp_path, *export, "--model", "base")


def test_interrupted_before_there_is_a_checkpoint_the_same_command_begins_anew(
    tiny_model: Path, chats: Path, tmp_path: Path
) -> None:
    stops = "from components.tuners.lora import *\n\ndef wrap(model, params, seed):\n    raise KeyboardInterrupt\n"
    (tmp_path / "stops.py").write_text(stops)
    error = martlet(
        tmp_path, "sft", "--model", tiny_model, "--dataset", chats, "--external_plugins", "stops.py",
        "--tuner_type", "stops", *SHORT, code=130,
    )  # fmt: skip
    assert "train: interrupted; there is no checkpoint yet, so the same command begins anew" in error


def test_auto_goes_on_with_the_newest_run_and_weights_alone_begin_a_new_one(
    tiny_model: Path, chats: Path, tmp_path: Path
) -> None:
    words = ["sft", "--model", tiny_model, "--dataset", chats, *SHORT, "--max_steps", 4, "--learning_rate", 1e-2]
    auto, run = ["--resume_from_checkpoint", "auto"], tmp_path / "out/v3-first"
    run.mkdir(parents=True)
    (run / "save").touch()  # asks for a checkpoint
    printed = martlet(tmp_path, *words, *auto, "--output_dir", run)  # with none to go on from
    assert "checkpoint asked for: written after step 1" in printed
    about = re.search(
        r"\nmodel: float32 on cpu, sdpa .*; lora: ([\d,]+) of ([\d,]+) parameters learn \(([\d.]+) %\)\n", printed
    )
    assert about
    learned, every = (int(count.replace(",", "")) for count in about.groups()[:2])
    report = read_json(run / "reports/train.json")
    assert (learned, every) == (report["trainable_parameters"], report["parameters"])
    assert float(about[3]) == pytest.approx(100 * learned / every, rel=0.01)
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-4"]
    assert not (run / "save").exists()
    first, adapter = losses(run), run / "checkpoint-4/adapter_model.safetensors"
    whole = adapter.read_bytes()
    adapter.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    words += ["--output_dir", "out", "--add_version", "true"]
    printed = martlet(tmp_path, *words, *auto)
    assert "going on from checkpoint-1" in printed
    assert "checkpoint-4 of the steps after checkpoint-1: moved to" in printed
    assert adapter.read_bytes() == whole
    assert "nothing to do: the run has ended" in martlet(tmp_path, *words, *auto)
    weights = ["--resume_from_checkpoint", run / "checkpoint-4", "--resume_only_model"]
    assert "run.resume_only_model = True" in martlet(tmp_path, *words, *weights)
    new = next((tmp_path / "out").glob("v4-*"))
    assert read_json(new / "args.json")["run"]["resume_only_model"] is True
    assert read_json(new / "checkpoint-4/trainer_state.json")["log_history"][0]["learning_rate"] == 1e-2
    assert losses(new)[0] < first[0] - 0.1
    for wrong, reason in [
        (
            [*weights, "--lora_alpha", 8],
            "are of another base or tuner; put these back:\n  --lora_alpha was 32 and is 8",
        ),
        ([*weights, "--tuner_type", "full"], "--tuner_type was lora and is full"),
        ([*auto, "--resume_only_model"], "--resume_only_model begins a new run: name a checkpoint"),
        (["--resume_only_model"], "--resume_only_model has no effect without --resume_from_checkpoint"),
    ]:
        assert reason in martlet(tmp_path, *words, *wrong, code=2)
    assert len(list((tmp_path / "out").iterdir())) == 2


def check_page(run: Path) -> None:
    """The page of a run shows its progress, and neither loads nor runs anything."""
    page = (run / "reports/train.html").read_text()
    lines = [json.loads(line) for line in (run / "logs/train/progress.jsonl").read_text().splitlines()]
    last = next(line for line in reversed(lines) if "loss" in line)
    assert f"<b>{number(last['loss'])}</b>" in page
    assert f"<b>{number(last['tokens_per_second'])}</b>" in page
    assert "<code>checkpoint-2</code>" in page
    assert page.count("<svg") == 6
    assert not re.search(r"<script|src=|href=|url\(|http:|https:|@import", page)


def contents(run: Path, logs: bool = False) -> dict[str, str]:
    """Return the sha256 of each file of a run folder; `logs` are those of its logs and its page, too, which say when it
    was run."""
    files = [file for file in run.rglob("*") if file.is_file() and (logs or not is_log(file.relative_to(run)))]
    return {str(file.relative_to(run)): sha256(file) for file in files}


def is_log(file: Path) -> bool:
    return "logs" in file.parts or file.name == "train.html"


def test_a_dry_run_tells_what_a_training_needs_and_leaves_nothing(
    tiny_model: Path, chats: Path, tmp_path: Path
) -> None:
    words = ["--model", tiny_model, "--dataset", chats, "--dry_run", "--report_to", "none"]
    printed = martlet(tmp_path, "sft", *words, "--per_device_train_batch_size", 4)
    need = re.search(r"\nmemory: about ([\d.]+) MB of .*weights 4.. kB.*optimizer .*activations .*tokens\)\n", printed)
    assert need
    assert re.search(r"\ndisk: about .* free, for 1 checkpoint and the result\n", printed)
    assert re.search(r"\ntime: about \d+ s of training", printed)
    assert not list(tmp_path.iterdir())
    wide = martlet(tmp_path, "sft", *words, "--per_device_train_batch_size", 32)
    more = re.search(r"\nmemory: about ([\d.]+) MB", wide)
    assert more
    assert float(more[1]) > 2 * float(need[1])
    write_rows(tmp_path / "texts.jsonl", [{"text": f"one two {n}"} for n in range(4)])
    told = martlet(
        tmp_path, "pt", "--model", tiny_model, "--dataset", "texts.jsonl", "--dry_run", "--on_duplicate", "warn"
    )
    assert "nothing was trained" in told


def test_what_cannot_fit_is_refused_before_it_is_loaded_and_what_runs_out_of_memory_says_what_needs_less(
    tiny_model: Path, chats: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "huge")
    config = read_json(tmp_path / "huge/config.json")
    (tmp_path / "huge/config.json").write_text(json.dumps(config | {"vocab_size": 10**11}))
    words = ["sft", "--dataset", chats, *SHORT, "--output_dir", "out", "--add_version", "true"]
    error = martlet(tmp_path, *words, "--model", "huge", code=2)
    assert re.search(r"the training needs about [\d,.]+ TB of memory, and there are [\d.]+ GB", error)
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "greedy.py").write_text(GREEDY)
    greedy = ["--external_plugins", "greedy.py", "--callbacks", "greedy", "--add_version", "false"]
    error = martlet(tmp_path, *words, "--model", tiny_model, *greedy, code=1)
    assert "the memory is used up" in error
    assert "less is needed with --per_device_train_batch_size 1 --gradient_accumulation_steps 4 (about" in error


GREEDY = """\
import torch
from transformers import TrainerCallback

class Greedy(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        torch.empty(10**16)

def callback(job):
    return Greedy()
"""
