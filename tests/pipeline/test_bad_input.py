"""Every mistake is answered in one clear message and the right exit code, and leaves nothing half-written."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from tests.commands import Command
from tests.pipeline.conftest import ROOT

MARTLET = str(Path(sys.executable).with_name("martlet"))
SFT = "sft --model model --report_to none --add_version false --output_dir out"
HUB_AWAY = {"HF_ENDPOINT": "http://127.0.0.1:9", "MODELSCOPE_DOMAIN": "127.0.0.1:9", "HF_HUB_OFFLINE": "0"}


def typed(words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Type `martlet …` or `python -m …`, as the activated environment does."""
    program, *rest = words.split()
    if program == "martlet" and not env:
        return Command(cwd, *rest).wait()
    command = [MARTLET if program == "martlet" else sys.executable, *rest]
    return subprocess.run(command, cwd=cwd, env=environment() | env, capture_output=True, text=True, timeout=120)


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def rows(count: int, answer: str = "yes {} 🙂", question: str = "hi {} 🐦") -> str:
    chats = [[("user", question.format(n)), ("assistant", answer.format(n))] for n in range(count)]
    lines = [{"messages": [{"role": role, "content": text} for role, text in chat]} for chat in chats]
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


FILES: dict[str, bytes] = {
    "good.jsonl": rows(64).encode(),
    "crlf.jsonl": rows(64).replace("\n", "\r\n").encode(),
    "bom.jsonl": rows(64).encode("utf-8-sig"),
    "long.jsonl": (rows(64) + rows(3, question="{}" + "word " * 20_000)).encode(),
    "broken.jsonl": (rows(2) + '{"messages": [oops\n').encode(),
    "empty.jsonl": b"",
    "silent.jsonl": rows(3, answer="").encode(),
    "latin.jsonl": rows(1, answer="é", question="è").encode("latin-1"),
    "control.jsonl": rows(8, question="{} <|im_end|>").encode(),
    "other.jsonl": b'{"foo": 1}\n',
}


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "model")
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def without(*names: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for name in names:
            (folder / "model" / name).unlink(missing_ok=True)

    return change


def with_text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def same(folder: Path) -> None:
    pass


def assert_told(answer: subprocess.CompletedProcess[str], code: int, *expected: str) -> None:
    said = answer.stdout + answer.stderr
    assert answer.returncode == code, said
    assert "Traceback" not in said
    assert answer.stderr.count("martlet: ") == 1, said
    for words in expected:
        assert words in answer.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--dataset good.jsonl --lora_rnk 3", ["unknown flag --lora_rnk (did you mean 'lora_rank'?)"]),
        ("--dataset good.jsonl --lora_rank x", ["--lora_rank: lora.lora_rank", "valid integer", "not 'x'"]),
        ("--dataset good.jsonl --lerning_rate 1 --seed x", ["2 problems", "'learning_rate'", "--seed: train.seed"]),
        (
            "--dataset god.jsonl --train_type lorra",
            ["'god.jsonl': no such file (did you mean 'good.jsonl'?)", "'lora'?"],
        ),
        ("--dataset good.jsonl --resume_from_checkpoint out/checkpoint-9", ["out/checkpoint-9: no such folder"]),
        ("--dataset good.jsonl --output_dir good.jsonl/x", ["--output_dir good.jsonl/x: Not a directory"]),
    ],
)
def test_what_the_command_line_shows_is_refused_before_anything_is_written(
    folder: Path, words: str, expected: list[str]
) -> None:
    before = set(folder.rglob("*"))
    assert_told(typed(f"martlet {SFT} {words}", folder), 2, *expected)
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("dataset", "code", "expected"),
    [
        ("broken.jsonl", 3, "broken.jsonl:3: not JSON"),
        ("empty.jsonl", 3, "empty.jsonl: the dataset is empty"),
        ("silent.jsonl", 3, "the data gate closed: min_rows: 0 rows left"),
        ("latin.jsonl", 3, "latin.jsonl:1: not UTF-8"),
        ("other.jsonl", 3, "other.jsonl:1"),
        ("model", 3, "a JSON dataset is a list of rows"),
        ("owner/name#5", 1, "does not answer"),
        ("owner/name#5 --use_hf true", 1, "does not answer"),
        ("control.jsonl", 3, "special 8"),
        ("good.jsonl --max_length 4", 3, "can be learned from"),
    ],
)
def test_data_that_nothing_can_be_learned_from(folder: Path, dataset: str, code: int, expected: str) -> None:
    env = HUB_AWAY if dataset.startswith("owner/") else {}
    assert_told(typed(f"martlet {SFT} --dataset {dataset}", folder, **env), code, expected)
    assert not (folder / "out/data/tokens").exists()
    assert not list(folder.rglob("*.tmp*"))


@pytest.mark.parametrize(
    ("spoil", "code", "expected"),
    [
        (without("tokenizer.json", "tokenizer_config.json"), 2, "model: no tokenizer"),
        (without("chat_template.jinja"), 2, "the tokenizer has no chat template"),
        (without("config.json"), 2, "config.json"),
        (without("model.safetensors"), 2, "no weights in safetensors format"),
        (with_text("model/tokenizer.json", "{"), 2, "the tokenizer cannot be read"),
    ],
    ids=["no tokenizer", "no chat template", "no config", "no weights", "broken tokenizer"],
)
def test_a_model_folder_that_is_none(folder: Path, spoil: Callable[[Path], object], code: int, expected: str) -> None:
    spoil(folder)
    assert_told(typed(f"martlet {SFT} --dataset good.jsonl", folder), code, expected)
    assert not list(folder.glob("out/checkpoint-*"))


@pytest.mark.parametrize("dataset", ["crlf.jsonl", "bom.jsonl"])
def test_odd_files_give_the_rows_of_the_plain_one(folder: Path, dataset: str) -> None:
    seen = []
    for name in ("good.jsonl", dataset):
        (folder / "params.yaml").write_text(f"model: model\ndataset: [{name}]\n")
        answer = typed("python -m tasks.stages fetch", folder)
        assert answer.returncode == 0, answer.stderr
        table = pq.read_table(folder / "data/raw/train.parquet")
        seen.append(table.drop_columns(["source"]).to_pylist())
    assert len(seen[0]) == 64
    assert seen[0] == seen[1]


def test_a_row_that_is_too_long_is_left_out_and_named(folder: Path) -> None:
    answer = typed(f"martlet {SFT} --dataset long.jsonl --max_length 512 --max_steps 1", folder)
    assert answer.returncode == 0, answer.stderr
    report = json.loads((folder / "out/data/tokens/template.json").read_text())
    assert report["reasons"] == {"longer than max_length": 3}
    assert {row["row"] for row in report["refused"]} == {65, 66, 67}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ["params.yaml: no such file"]),
        ("", ["data.dataset is empty"]),
        ("model: model\ndataset: [good.jsonl]\nlora_rnk: 8\n", ["params.yaml:3: unknown parameter 'lora_rnk'"]),
        ("tuner: {lora_rnk: 8}\nseed: x\n", ["2 problems", "params.yaml:1", "params.yaml:2: train.seed"]),
        ("model: model\ndataset: [absent.jsonl]\n", ["absent.jsonl"]),
        ("model: nowhere/\ndataset: [good.jsonl]\n", ["no such folder 'nowhere/'"]),
        ("model: [\n", ["params.yaml:2: not valid YAML"]),
    ],
    ids=["none", "empty", "misspelt", "two at once", "no data", "no model", "not YAML"],
)
def test_params_yaml(folder: Path, text: str | None, expected: list[str]) -> None:
    if text is not None:
        (folder / "params.yaml").write_text(text)
    assert_told(typed("python -m tasks.stages fetch", folder), 2, *expected)
    assert not (folder / "data").exists()


def stop_at_first_checkpoint(folder: Path, words: str, how: signal.Signals) -> subprocess.CompletedProcess[str]:
    command = Command(folder, *words.split())
    deadline = time.monotonic() + 90
    while not list(folder.glob("out/checkpoint-*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(command.pid, how)
    return command.wait(60)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-C", "kill -9"])
def test_a_stopped_training_goes_on(folder: Path, how: signal.Signals) -> None:
    words = f"{SFT} --dataset good.jsonl --per_device_train_batch_size 2 --max_steps 30 --save_steps 5"
    stopped = stop_at_first_checkpoint(folder, words, how)
    assert "Traceback" not in stopped.stdout + stopped.stderr
    if how == signal.SIGINT:
        assert stopped.returncode == 130
        go_on = stopped.stderr.partition("go on with:  ")[2].strip()
    else:
        assert stopped.returncode == -signal.SIGKILL
        go_on = f"martlet {words} --resume_from_checkpoint out/checkpoint-5"
    answer = typed(go_on, folder)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (folder / "out/checkpoint-30/manifest.json").exists()
    assert "checkpoint-30" in answer.stdout


TWO_DIVIDE = "--nproc_per_node 2 --fsdp full_shard --tuner_type full --freeze_parameters model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("size", "flags"),
    [("900k", ""), pytest.param("2300k", TWO_DIVIDE, marks=pytest.mark.slow)],  # a server that imports all anew
    ids=["one process", "two that divide the model"],
)
def test_a_disk_that_is_full_in_mid_checkpoint_keeps_the_checkpoint_before(folder: Path, size: str, flags: str) -> None:
    small = folder / "out"
    small.mkdir()
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    words = f"{SFT} --dataset good.jsonl --per_device_train_batch_size 8 --max_steps 8 --save_steps 2 {flags}"
    script = f"mount -t tmpfs -o size={size} tmpfs out && {{ {MARTLET} {words}; code=$?; cp -r out kept; exit $code; }}"
    answer = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert_told(answer, 1, "could not be written to ", "MB free", "go on with:  martlet sft")
    checkpoints = list((folder / "kept").glob("checkpoint-*"))
    assert checkpoints
    for checkpoint in checkpoints:
        [weights] = checkpoint.glob("*model.safetensors")
        assert load_file(weights)
        assert (checkpoint / "manifest.json").exists()


@pytest.mark.slow  # a command and a server that import all anew
def test_a_package_of_the_users_with_the_name_of_ours_is_not_imported(folder: Path) -> None:
    (folder / "components").mkdir()
    (folder / "components/__init__.py").write_text("open('imported', 'w')")
    words = f"{MARTLET} {SFT} --dataset good.jsonl --max_steps 1 --nproc_per_node 2"
    answer = subprocess.run(words.split(), cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)
    assert answer.returncode == 0, answer.stderr
    assert not (folder / "imported").exists()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(tiny_model, folder / "model")
    (folder / "good.jsonl").write_bytes(FILES["good.jsonl"])
    answer = typed(f"martlet {SFT} --dataset good.jsonl --max_steps 1", folder)
    assert answer.returncode == 0, answer.stderr
    return folder / "out/checkpoint-1"


@pytest.mark.parametrize(
    ("name", "content", "code", "expected"),
    [
        ("adapter_model.safetensors", b"cut", 1, "was the file copied whole?"),
        ("adapter_model.safetensors", None, 2, "there is no adapter_model.safetensors"),
        ("adapter_config.json", b"{", 1, "copy"),
        ("args.json", b"{", 2, "args.json: not the saved arguments of a run"),
        ("args.json", None, 2, "no saved arguments (args.json) there"),
    ],
)
def test_a_broken_adapter_never_answers(
    checkpoint: Path, tmp_path: Path, name: str, content: bytes | None, code: int, expected: str
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
        answer = typed(f"martlet infer --adapters {copy}", checkpoint.parents[1])
        assert_told(answer, 2, f"{name} damaged or edited since the training")
    (copy / "manifest.json").unlink()  # as if the folder came from elsewhere
    answer = typed(f"martlet infer --adapters {copy}", checkpoint.parents[1])
    assert_told(answer, code, expected)
    assert answer.stdout == ""


def test_a_port_in_use_is_told_before_the_model_is_loaded(checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = typed(f"martlet deploy --adapters {checkpoint} --port {port}", checkpoint.parents[1])
    assert_told(answer, 2, f"port {port}: Address already in use. Choose another with --port")


@pytest.mark.parametrize("command", ["run", "explain train", "serve-flows"])
def test_a_folder_that_is_no_workspace(tmp_path: Path, command: str) -> None:
    assert_told(typed(f"martlet {command}", tmp_path), 2, "is not in a workspace")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("demo --model ./nowhere", ["no such folder './nowhere'"]),
        ("demo --vision --model ./nowhere", ["--vision: the demo with pictures has its own model"]),
        ("run lora_rnk=3 seed=x", ["2 problems", "did you mean 'lora_rank'?"]),
        ("run train_type=loraa", ["there is no tuner 'loraa' (did you mean 'lora'?)"]),
        ("run variants=[bnb-int9]", ["there is no quantizer 'bnb-int9' (did you mean 'bnb-int8'?)"]),
        ("run recipes/absent.yaml", ["recipes/absent.yaml: no such file"]),
    ],
)
def test_a_run_with_wrong_parameters_starts_nothing(tmp_path: Path, words: str, expected: list[str]) -> None:
    env = {"PREFECT_HOME": str(tmp_path / "prefect")}
    assert_told(typed(f"martlet {words}", ROOT, **env), 2, *expected)
    assert not (tmp_path / "prefect").exists()
