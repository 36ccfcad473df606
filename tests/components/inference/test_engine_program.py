"""Engines that are programs: started, checked and ended."""

import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from components.config.groups.template import Template
from components.errors import ConfigError, MartletError
from components.inference import ENGINES, ServeSettings
from components.inference.engines import _with_key
from components.inference.engines._program import reason
from tasks.loading import load_beside
from tasks.prompts import prompts
from tests.components.inference.test_adapters import FIRST, rewrite, save
from tests.components.inference.toy_engine import served

SETTINGS = ServeSettings(load_beside, lambda tokenizer, _: prompts(Template())(tokenizer), ["base"], api_key="sesame")
KEY = {"Authorization": "Bearer sesame"}


def is_gone(process: psutil.Process) -> bool:
    """Whether a process has ended; a dead one may wait for its parent to notice."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    folder = save(tiny_model, tmp_path / "adapter", target_modules=["down_proj"])
    rewrite(folder, lambda tensors: tensors[FIRST.replace("_A", "_B")].fill_(0.1))
    return folder


def test_a_program_serves_until_the_end_of_the_block(
    folder_of: Callable[[str], Path], adapter: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(folder_of("apply"), {"tuned": adapter}, SETTINGS) as url:
        process = psutil.Process(httpx.get(f"{url}/models", headers=KEY).json()["pid"])
        helpers = process.children()
        key = process.environ()["ENGINE_KEY"]
        assert key and key != "sesame"
        lines = [" ".join(other.info["cmdline"] or []) for other in psutil.process_iter(["cmdline"])]
        assert any("engine_program.py" in line for line in lines) and not any(key in line for line in lines)
        assert httpx.get(f"http://127.0.0.1:{process.cmdline()[2]}/v1/models", headers=KEY).status_code == 401
    assert helpers and all(map(is_gone, (process, *helpers)))
    name = capfd.readouterr().err.split("its output: ")[1].strip()
    assert not Path(name).exists()


def test_an_engine_that_does_not_apply_an_adapter_is_refused(folder_of: Callable[[str], Path], adapter: Path) -> None:
    model = folder_of("ignore")
    message = f"does not apply the adapter {adapter}"
    with pytest.raises(MartletError, match=message), served(model, {"tuned": adapter}, SETTINGS):
        pass
    commands = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not any("ignore" in words for words in commands)
    rewrite(adapter, lambda tensors: [tensor.zero_() for tensor in tensors.values()])
    with served(model, {"tuned": adapter}, SETTINGS):  # an adapter that changes nothing may answer alike
        pass


def test_a_program_that_dies_is_one_error_with_its_reason(folder_of: Callable[[str], Path]) -> None:
    message = "toy ended before it answered: ValueError: no such weights; "
    with pytest.raises(MartletError, match=message) as error, served(folder_of("die"), {}, SETTINGS):
        pass
    log = Path(str(error.value).rpartition(" ")[2])
    assert "bye" in log.read_text()


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
from tests.components.inference.test_engine_program import KEY, SETTINGS
from tests.components.inference.toy_engine import served
import httpx
with served(Path(sys.argv[1]), {}, SETTINGS) as url:
    print(httpx.get(f"{url}/models", headers=KEY).json()["pid"], flush=True)
    sys.stdin.read()
"""


def test_a_program_ends_with_a_parent_that_is_killed(folder_of: Callable[[str], Path]) -> None:
    words = [sys.executable, "-c", PARENT, folder_of("apply")]
    parent = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
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


def test_a_port_in_use_is_refused(folder_of: Callable[[str], Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = replace(SETTINGS, port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="Address already in use"), served(folder_of("apply"), {}, settings):
            pass


@pytest.mark.parametrize("name", ["vllm", "sglang", "lmdeploy"])
def test_an_engine_that_is_not_installed_names_the_command(
    name: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_ENVIRONMENTS", str(tmp_path))
    engine = ENGINES.load(name).served(tiny_model, {}, SETTINGS)
    with pytest.raises(ConfigError, match=rf"run `martlet env install {name}(-cpu)?`"), engine:
        pass
