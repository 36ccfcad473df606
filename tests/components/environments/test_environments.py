"""Side environments, made by the real code from a requirements file without packages."""

import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from apps.cli.main import dispatch
from components import environments
from components.environments import catalogue
from components.environments.catalogue import Environment
from components.errors import ConfigError, MartletError

SCRIPT = """
def run(request, report):
    print("what a library prints is no message")
    for done in range(request["steps"]):
        report({"done": done + 1})
    if request["steps"] == 3:
        raise ValueError("three steps\\nare too many")
    import importlib.metadata, sys
    return {"steps": request["steps"], "alias": importlib.metadata.version("tiny-tool"), "prefix": sys.prefix}
"""
CHECK = """
def run(request, report):
    import importlib.metadata
    return {"tiny-tool": importlib.metadata.version("tiny-tool")}
"""
BROKEN_CHECK = "def run(request, report):\n    import package_that_is_missing"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for environments of which the list has one, `tiny`; its check and its script lie beside it."""
    monkeypatch.setenv("MARTLET_ENVIRONMENTS", str(tmp_path / "venvs"))
    monkeypatch.setattr("components.environments.build.REQUIREMENTS", tmp_path)
    tiny = Environment("for tests", str(tmp_path / "check"), excluded=("torch",), alias=("tiny-tool", "1.0+cpu"))
    monkeypatch.setitem(catalogue.ENVIRONMENTS, "tiny", tiny)
    (tmp_path / "tiny.txt").write_text("# nothing\n")
    (tmp_path / "check.py").write_text(CHECK)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def test_an_environment_is_made_called_and_removed(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="run `martlet env install tiny`"):
        environments.require("tiny")
    assert environments.install("tiny") == {"tiny-tool": "1.0+cpu"}
    assert environments.state("tiny") is environments.State.READY
    reports: list[dict] = []
    result = environments.call("tiny", folder / "script.py", {"steps": 2}, reports.append)
    assert result == {"steps": 2, "alias": "1.0+cpu", "prefix": str(folder / "venvs/tiny")}
    assert reports == [{"done": 1}, {"done": 2}]
    assert "library" not in capfd.readouterr().out
    assert environments.uninstall("tiny")
    assert not environments.uninstall("tiny")
    assert environments.state("tiny") is environments.State.ABSENT


def test_an_exception_of_a_script_is_one_error(folder: Path) -> None:
    environments.install("tiny")
    with pytest.raises(MartletError, match=r"^script failed in .* 'tiny': ValueError: three steps are too many; ") as e:
        environments.call("tiny", folder / "script.py", {"steps": 3})
    log = Path(str(e.value).rpartition(" ")[2]).read_text()
    assert "what a library prints" in log and "Traceback" in log


def test_a_script_that_is_killed_is_an_error_with_its_last_line(folder: Path) -> None:
    environments.install("tiny")
    (folder / "script.py").write_text(
        "import os\ndef run(request, report):\n    print('before', flush=True)\n    os.kill(os.getpid(), 9)\n"
    )
    with pytest.raises(MartletError, match=r"memory ran out \(before\)"):
        environments.call("tiny", folder / "script.py", {})


def test_nothing_is_left_of_an_environment_that_fails_its_check(folder: Path) -> None:
    (folder / "check.py").write_text(BROKEN_CHECK)
    with pytest.raises(MartletError, match="No module named 'package_that_is_missing'"):
        environments.install("tiny")
    assert environments.state("tiny") is environments.State.ABSENT


def test_what_an_interruption_left_counts_as_absent_and_is_replaced(folder: Path) -> None:
    (folder / "venvs/tiny/bin").mkdir(parents=True)
    (folder / "venvs/tiny/bin/python").symlink_to(sys.executable)
    assert environments.state("tiny") is environments.State.INCOMPLETE
    with pytest.raises(ConfigError, match="not installed"):
        environments.require("tiny")
    environments.install("tiny")
    assert environments.state("tiny") is environments.State.READY


def test_other_pins_and_a_broken_environment_are_seen_and_replaced(folder: Path) -> None:
    environments.install("tiny")
    shutil.rmtree(next((folder / "venvs/tiny").rglob("tiny_tool-*.dist-info")))
    with pytest.raises(MartletError, match="tiny-tool"):
        environments.check("tiny")
    assert environments.install("tiny") == {"tiny-tool": "1.0+cpu"}
    (folder / "tiny.txt").write_text("# nothing else\n")
    assert environments.state("tiny") is environments.State.OUTDATED
    environments.install("tiny")
    assert environments.state("tiny") is environments.State.READY


CALLER = """
import sys
from pathlib import Path
from components.environments.calls import call_with
call_with(Path(sys.executable), "tiny", Path(sys.argv[1]), {}, lambda line: print(line["pid"], flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_script_ends_with_its_caller(folder: Path, number: signal.Signals) -> None:
    (folder / "script.py").write_text(
        "import os, time\ndef run(request, report):\n    report({'pid': os.getpid()})\n    time.sleep(600)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", CALLER, folder / "script.py"], stdout=subprocess.PIPE)
    assert caller.stdout
    script = psutil.Process(int(caller.stdout.readline()))
    caller.send_signal(number)
    caller.wait(60)
    with suppress(psutil.NoSuchProcess):
        script.wait(60)
    assert not script.is_running()


def test_the_command_lists_and_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["env"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in catalogue.ENVIRONMENTS)
    for words, message in (
        (["install", "vlm"], r"did you mean 'vllm'\?"),
        (["remove"], "env` lists the names"),
    ):
        with pytest.raises(ConfigError, match=message):
            dispatch(["env", *words])
    assert dispatch(["env", "install", "tiny"]) == 0
    assert dispatch(["env", "doctor"]) == 0
    shutil.rmtree(next((folder / "venvs/tiny").rglob("tiny_tool-*.dist-info")))
    assert dispatch(["env", "doctor"]) == 1
    assert dispatch(["env", "doctor", "awq"]) == 1
    assert dispatch(["env", "remove", "tiny"]) == 0
    assert dispatch(["env", "remove", "tiny"]) == 0
    assert dispatch(["env", "doctor"]) == 0
    printed = capsys.readouterr().out.replace(str(folder), "FOLDER").splitlines()
    assert [line for line in printed if "tiny" in line or "awq" in line or "nothing" in line] == [
        "installing 'tiny' into FOLDER/venvs/tiny (minutes, and some GB)",
        "ready: tiny-tool 1.0+cpu",
        "ok  tiny: tiny-tool 1.0+cpu",
        "!!  tiny: check failed in the environment 'tiny': PackageNotFoundError: No package metadata was found for"
        " tiny-tool; its output is in FOLDER/venvs/tiny.log",
        "!!  awq: the environment 'awq' (quantizer AutoAWQ: --quant_method awq) is not installed; run `martlet env"
        " install awq`",
        "removed FOLDER/venvs/tiny",
        "nothing is installed in FOLDER/venvs; `martlet env` lists the names",
    ]


@pytest.mark.skipif(environments.has_gpu(), reason="there is a GPU")
def test_what_needs_a_gpu_is_not_installed_without_one(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'vllm' .* needs a GPU"):
        environments.install("vllm")


def test_without_uv_the_error_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    with pytest.raises(ConfigError, match="pip install uv"):
        environments.install("tiny")
    assert environments.state("tiny") is environments.State.ABSENT


def test_every_requirement_is_pinned_and_has_no_address() -> None:
    files = {file.stem: file.read_text().splitlines() for file in catalogue.REQUIREMENTS.glob("*.txt")}
    assert files.keys() == catalogue.ENVIRONMENTS.keys()
    for name, lines in files.items():
        assert f"martlet env install {name}" in lines[0]
        assert all("==" in line and "://" not in line for line in lines if not line.startswith("#"))
        assert not set(catalogue.ENVIRONMENTS[name].excluded) & {line.partition("==")[0] for line in lines}
