"""Engines that are programs: started, asked, watched and ended."""

import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from components.config.groups.template import Template
from components.errors import ConfigError, MartletError
from components.inference import ENGINES, ServeSettings
from components.inference.engines import _with_key
from components.inference.engines._description import Description
from components.inference.engines._program import free_port, reason, running
from tasks.loading import load_beside
from tasks.prompts import prompts
from tests.components.inference.test_adapters import FIRST, rewrite, save

PROGRAM = Path(__file__).with_name("engine_program.py")
SETTINGS = ServeSettings(load_beside, lambda tokenizer, _: prompts(Template())(tokenizer), ["base"], api_key="sesame")
KEY = {"Authorization": "Bearer sesame"}


def engine(way: str, **adapters: Path) -> AbstractContextManager[str]:
    model = Description(Path("m"), ["base"], "127.0.0.1", free_port(SETTINGS), adapters)
    return running("toy", [sys.executable, PROGRAM, model.port, way], model, "sesame", "ENGINE_KEY")


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    folder = save(tiny_model, tmp_path / "adapter", target_modules=["down_proj"])
    rewrite(folder, lambda tensors: tensors[FIRST.replace("_A", "_B")].fill_(0.1))
    return folder


def test_a_program_serves_until_the_end_of_the_block(adapter: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with engine("apply", tuned=adapter) as url:
        process = psutil.Process(httpx.get(f"{url}/models", headers=KEY).json()["pid"])
        assert "sesame" not in " ".join(process.cmdline())
    assert not process.is_running()
    name = capfd.readouterr().err.split("its output: ")[1].strip()
    assert not Path(name).exists()


def test_an_engine_that_does_not_apply_an_adapter_is_refused(adapter: Path) -> None:
    with pytest.raises(MartletError, match=f"does not apply the adapter {adapter}"), engine("ignore", tuned=adapter):
        pass
    rewrite(adapter, lambda tensors: [tensor.zero_() for tensor in tensors.values()])
    with engine("ignore", tuned=adapter):  # an adapter that changes nothing may answer alike
        pass


def test_a_program_that_dies_is_one_error_with_its_reason(tmp_path: Path) -> None:
    message = "toy ended before it answered: ValueError: no such weights; "
    with pytest.raises(MartletError, match=message) as error, engine("die"):
        pass
    log = Path(str(error.value).rpartition(" ")[2])
    assert "bye" in log.read_text()
    log.unlink()


def test_a_program_that_dies_while_it_serves_ends_the_block_with_its_reason() -> None:
    with pytest.raises(MartletError, match="toy ended while it served: MemoryError; ") as error, engine("apply") as url:
        with suppress(httpx.HTTPError):
            httpx.post(f"{url}/completions", json={"model": "base", "prompt": "die"}, headers=KEY)
        time.sleep(60)
        pytest.fail("nobody noticed")
    Path(str(error.value).rpartition(" ")[2]).unlink()


def test_the_reason_in_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text, line in (
        ("", "it has said nothing"),
        ("loading\nkilled\n\n", "killed"),
        ("usage: x\nvllm serve: error: unrecognized arguments: --x\n", "error: unrecognized arguments: --x"),
        ("(a pid=1) ERROR 01-02 [core.py:7] torch.OutOfMemoryError: no room\nbye", "torch.OutOfMemoryError: no room"),
        ("(a pid=1) MemoryError\n(a pid=1) WARNING 01 like `OSError: [Errno 24] Too many files`.\n", "MemoryError"),
        ("RuntimeError: Engine core initialization failed.\n", "RuntimeError: Engine core initialization failed."),
    ):
        log.write_text(text)
        assert reason(log) == line


PARENT = """
import sys
from pathlib import Path
from tests.components.inference.test_engine_program import KEY, engine
import httpx
with engine("apply") as url:
    print(httpx.get(f"{url}/models", headers=KEY).json()["pid"], flush=True)
    sys.stdin.read()
"""


def test_a_program_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]
    )
    assert parent.stdout
    process = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    psutil.wait_procs([process], timeout=60)
    assert not process.is_running()


MODULE = """
import os, sys
from pathlib import Path
print(sys.argv[1:], "sesame" in Path("/proc/self/cmdline").read_text(), "sesame" in str(os.environ))
"""


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="Linux shows a process's arguments there")
def test_a_key_that_a_program_takes_as_an_argument_is_not_in_the_list_of_processes(tmp_path: Path) -> None:
    (tmp_path / "toy_server.py").write_text(MODULE)
    command = [sys.executable, _with_key.__file__, "--api-key", "toy_server", "--port", "1"]
    variables = {"PYTHONPATH": str(tmp_path), _with_key.VARIABLE: "sesame"}
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['--port', '1', '--api-key', 'sesame'] False False"
    del variables[_with_key.VARIABLE]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("['--port', '1']")


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServeSettings(load_beside, SETTINGS.prompts, ["m"], port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="Address already in use"):
            free_port(settings)


@pytest.mark.parametrize("name", ["vllm", "sglang", "lmdeploy"])
def test_an_engine_that_is_not_installed_names_the_command(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_ENVIRONMENTS", str(tmp_path))
    engine = ENGINES.load(name).served(tiny_model, {}, SETTINGS)
    with pytest.raises(ConfigError, match=rf"run `martlet env install {name}(-cpu)?`"), engine:
        pass
