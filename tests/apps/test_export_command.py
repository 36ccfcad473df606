"""`martlet export` as users type it: what it writes, what it says, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from components.files import is_intact, read_json
from tests.apps.test_plugins import write_rows
from tests.commands import martlet
from tests.components.hub import upload_server
from tests.components.media.files import picture
from tests.tasks.stages.test_quantize import COUNTS, GARBLES

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"query": f"{n}?", "response": f"it is {n}"} for n in range(60)]
    rows.append({"query": "long?", "response": "it is long " * 40})
    return write_rows(tmp_path_factory.mktemp("data") / "chats.jsonl", rows)


def test_a_quantizer_calibrates_on_the_datasets_as_the_flags_say(tiny_model: Path, chats: Path, tmp_path: Path) -> None:
    (tmp_path / "counts.py").write_text(COUNTS)
    words = ["export", "--model", tiny_model, "--quant_method", "counts", "--external_plugins", "counts.py"]
    words += ["--output_dir", "q", "--dataset", chats, "--max_length", 64]
    settings = ["--quant_n_samples", 40, "--group_size", 32, "--quant_batch_size", 2]
    printed = martlet(tmp_path, *words, *settings)
    given, report = read_json(tmp_path / "q/given.json"), read_json(tmp_path / "q/quantize.json")
    assert len(given["rows"]) == 40
    assert (given["group_size"], given["quant_batch_size"]) == (32, 2)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = {tokenizer.decode(row) for row in given["rows"]}
    every = {f"<|im_start|>user\n{n}?<|im_end|>\n<|im_start|>assistant\nit is {n}<|im_end|>\n" for n in range(60)}
    assert (
        texts <= {text.rstrip("\n") for text in every} | every
    )  # the row that is longer than --max_length is not there
    assert report["greedy"]["prompts_from"] == "validation rows"
    assert report["greedy"]["prompts"] == 6  # a tenth is held out
    assert "greedy answers to 6 validation rows" in printed
    held_out = write_rows(tmp_path / "held.jsonl", [{"query": f"what {n}?", "response": "it"} for n in range(3)])
    assert "is there already: remove it" in martlet(tmp_path, *words, "--val_dataset", held_out, code=2)
    martlet(tmp_path, *words, "--val_dataset", held_out, "--exist_ok", "true")
    assert read_json(tmp_path / "q/quantize.json")["greedy"]["prompts"] == 3
    assert len(read_json(tmp_path / "q/given.json")["rows"]) == 60


def test_what_a_quantizer_cannot_do_is_said_before_any_work(tiny_model: Path, chats: Path, tmp_path: Path) -> None:
    words = ["export", "--model", tiny_model, "--output_dir", "q", "--quant_method"]

    def refused(*more: object) -> str:
        return martlet(tmp_path, *words, *more, code=2, MARTLET_ENVIRONMENTS=str(tmp_path / "none"))

    assert "--quant_bits 8: awq has 4 bits" in refused("awq", "--quant_bits", 8)
    assert "--quant_bits 3: gptq has 4 or 8 bits" in refused("gptq", "--quant_bits", 3)
    error = refused("gptq", "--group_size", 48, "--dataset", chats)
    assert "is not installed; run `martlet env install llmcompressor`" in error
    assert "group_size: 48 does not divide the 64 inputs of model.layers.0.self_attn.q_proj; take 64 or 32" in error
    assert "must be a multiple of 8, or -1" in refused("gptq", "--group_size", 12)
    assert "--group_size has no effect without --quant_method gptq or awq" in refused("bnb", "--group_size", 64)
    assert "--max_length has no effect without --dataset" in refused("bnb", "--max_length", 64)
    (tmp_path / "counts.py").write_text(COUNTS)
    error = refused("counts", "--external_plugins", "counts.py")
    assert "counts: calibrates on 16 rows at least, and there are 0; name more with --dataset" in error
    few = write_rows(tmp_path / "few.jsonl", [{"query": f"{n}?", "response": "it"} for n in range(10)])
    error = refused("counts", "--external_plugins", "counts.py", "--dataset", few)
    assert "calibrates on 16 rows at least, and there are 9" in error
    assert not (tmp_path / "q").exists()


def test_a_model_that_garbles_is_not_exported_unless_min_agreement_says_so(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "garbles.py").write_text(GARBLES.replace("FACTOR", "-9"))
    words = ["export", "--model", tiny_model, "--quant_method", "garbles", "--external_plugins", "garbles.py"]
    words += ["--output_dir", "garbled"]
    error = martlet(tmp_path, *words, code=1)
    assert "garbles: the quantized model garbles: it chooses only" in error
    assert not list(tmp_path.glob("*garbled*"))
    assert "garbles in " in martlet(tmp_path, *words, "--min_agreement", 0)
    assert read_json(tmp_path / "garbled/quantize.json")["greedy"]["following"] < 0.5


@pytest.mark.parametrize(("bits", "variant"), [(8, "bnb-int8"), (4, "bnb-nf4")])
def test_a_quantized_model_says_what_it_is_and_how_it_answers(
    tiny_model: Path, tmp_path: Path, bits: int, variant: str
) -> None:
    words = ["export", "--model", tiny_model, "--quant_method", "bnb", "--quant_bits", bits, "--output_dir", "q"]
    printed = martlet(tmp_path, *words)
    report = read_json(tmp_path / "q/quantize.json")
    assert f"{variant} in {tmp_path}/q\n" in printed
    assert f"{report['bits_per_weight_after']:g} bits a weight" in printed
    assert f"greedy answers to 16 questions of Martlet's own: {report['greedy']['token_agreement']:.1%}" in printed
    assert "tokens a second: " in printed
    assert bits < report["bits_per_weight_after"] < 20 < report["bits_per_weight_before"]
    assert is_intact(tmp_path / "q")
    assert f"# model, {variant}" in (tmp_path / "q/README.md").read_text()
    model, tokenizer = (cls.from_pretrained(tmp_path / "q") for cls in (AutoModelForCausalLM, AutoTokenizer))
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(tiny_model).chat_template


def test_a_modelfile_lies_in_a_folder_of_its_own_and_names_the_model(tiny_model: Path, tmp_path: Path) -> None:
    words = ["export", "--model", tiny_model, "--to_ollama", "true", "--output_dir", "o"]
    assert f"ollama create o -f {tmp_path}/o/Modelfile" in martlet(tmp_path, *words)
    text = (tmp_path / "o/Modelfile").read_text()
    assert text.startswith(f"FROM {tiny_model.resolve()}\n")
    assert 'PARAMETER stop "<|im_end|>"' in text
    assert "is there already" in martlet(tmp_path, *words, code=2)
    error = martlet(tmp_path, *words, "--quant_method", "bnb", code=2)
    assert "--quant_method has no effect with --to_ollama true" in error
    error = martlet(tmp_path, "export", "--model", tiny_model, "--to_gguf", "true", code=2)
    assert "--to_gguf: llama.cpp writes GGUF" in error
    assert "convert_hf_to_gguf.py" in error


def test_a_model_that_sees_is_compared_on_a_picture_and_keeps_its_tower(sighted_model: Path, tmp_path: Path) -> None:
    words = ["export", "--model", sighted_model, "--output_dir", "q"]
    assert "sees or hears, and its towers would not be" in martlet(tmp_path, *words, "--to_ollama", "true", code=2)
    error = martlet(tmp_path, *words, "--quant_method", "awq", code=2)
    assert "AutoAWQ does not read this version of a Qwen2VLForConditionalGeneration" in error
    (tmp_path / "a.png").write_bytes(picture(1, (64, 48)))
    row = {"query": "<image>What?", "response": "A cat.", "images": ["a.png"]}
    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps(row | {"query": f"<image>What of {i}?"}) + "\n" for i in range(6))
    )
    martlet(tmp_path, *words, "--quant_method", "bnb", "--dataset", "rows.jsonl", "--min_agreement", 0)
    report = read_json(tmp_path / "q/quantize.json")
    assert report["rows"] == 5 + 1, "five of text, and one with its picture"
    assert report["config"]["llm_int8_skip_modules"] == ["model.visual", "lm_head"]
    assert report["quantized_layers"] == 2 * 7
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n")
    martlet(tmp_path, "infer", "--model", "q", "--val_dataset", "q.jsonl", "--max_new_tokens", 4)
    assert "error" not in json.loads((tmp_path / "result.jsonl").read_text())


def test_nothing_but_an_earlier_export_is_replaced(tiny_model: Path, tmp_path: Path) -> None:
    """Neither the source, nor a folder with it, nor the current folder, nor other people's files."""
    source = Path(shutil.copytree(tiny_model, tmp_path / "models/base"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/thesis.txt").write_text("years")
    (tmp_path / "empty").mkdir()
    words = ["export", "--model", source, "--to_ollama", "true", "--exist_ok", "true", "--output_dir"]
    martlet(tmp_path, *words, "o")
    martlet(tmp_path, *words, "o")
    martlet(tmp_path, *words, "empty")
    (tmp_path / "o/mine.txt").write_text("mine")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for output, reason in {
        source: f"{source} would be removed",
        "models": f"{source} would be removed",
        ".": f"{source} would be removed",
        "notes": "notes is no earlier export",
        "notes/thesis.txt": "thesis.txt is no earlier export",
        "o": "o/mine.txt was not written by an export; move it away",
    }.items():
        assert reason in martlet(tmp_path, *words, output, code=2)
    martlet(source.parent, "export", "--model", "base", *words[3:], "..", code=2)
    words = ["export", "--model", source, "--quant_method", "bnb", "--exist_ok", "true", "--output_dir", source]
    assert "would be removed" in martlet(tmp_path, *words, code=2)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_model_is_uploaded_to_the_hub_that_takes_it(tiny_model: Path, tmp_path: Path) -> None:
    words = ["export", "--model", tiny_model, "--quant_method", "bnb", "--output_dir", "q", "--push_to_hub", "true"]
    error = martlet(tmp_path, *words, code=2, HF_TOKEN="", HF_HOME=str(tmp_path / "home"))
    for sentence in ("name it with --hub_model_id OWNER/NAME", "add --use_hf true", "there is no token; set HF_TOKEN"):
        assert sentence in error
    assert not (tmp_path / "q").exists()
    where = ["--hub_model_id", "owner/name", "--use_hf", "true"]
    whole = ["export", "--model", tiny_model, "--push_to_hub", "true", *where]  # as it is
    with upload_server.serve() as uploads:
        hub = {"HF_ENDPOINT": uploads.endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": upload_server.TOKEN}
        hub |= {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "home")}
        printed = program(tmp_path, *words, *where, "--hub_private_repo", "true", "--commit_message", "first", **hub)
        assert f"uploaded: {uploads.endpoint}/owner/name/commit/" in printed.stdout
        assert uploads.repositories["owner/name"]["visibility"] == "private"
        assert uploads.messages == ["first"]
        files = {path.name: path.read_bytes() for path in (tmp_path / "q").iterdir()}
        assert uploads.files == files
        assert upload_server.TOKEN not in printed.stdout + printed.stderr
        refused = program(tmp_path, *whole, **{**hub, "HF_TOKEN": "hf_reads"})
        assert refused.returncode == 2
        assert "model 'owner/name': HF_TOKEN gives no right to write there" in refused.stderr
    away = program(tmp_path, *whole, **hub)
    assert away.returncode == 1
    assert "does not answer" in away.stderr


def program(folder: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `martlet WORDS` as a program of its own: the hub's client reads its variables when it is imported."""
    command = [sys.executable, "-m", "apps.cli.main", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **env}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
