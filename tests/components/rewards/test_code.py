"""Programs are tested in a cage: real processes that try to get out, and what a system without cages says."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.config import Params
from components.errors import ConfigError, MartletError
from components.rewards import Reward, code, score
from tests.components.rewards.judged import given, sample

ROOT = Path(__file__).parents[3]


def cages() -> str:
    try:
        code.check(Params())
    except ConfigError as error:
        return str(error)
    return ""


caged = pytest.mark.skipif(bool(reason := cages()), reason=reason)


def block(program: str) -> str:
    return f"Here it is:\n```python\n{program}\n```\nDone."


def prints(program: str, expected: str, given_input: str = "", **settings: Any) -> bool:
    """Whether a program ends well and prints what is expected."""
    row = sample(block(program), test_cases=[{"input": given_input, "output": expected}])
    return given("code", row, **settings) == [1.0]


ADD = "def add(a, b):\n    return a + b"


@caged
@pytest.mark.parametrize(
    ("program", "tests", "expected"),
    [
        (ADD, "assert add(1, 2) == 3", 1),
        (ADD, ["assert add(1, 2) == 3", "assert add(1, 2) == 4", "assert add('a', 'b') == 'ab'"], 2 / 3),
        (ADD, "def test_sum():\n    assert add(1, 2) == 4", 0),
        (ADD, "def test_sum():\n    assert add(1, 2) == 3", 1),
        (ADD, "nosuch", 0),
        ("def add(", "assert True", 0),
        ("raise ValueError", "assert True", 0),
        ("import sys; sys.exit(0)", "assert False", 0),
        ("import os; os._exit(0)", "assert False", 0),
        ("def add(a, b): import os; os._exit(0)", "assert add(1, 2) == 3", 0),
        ("print('\\n' + '0' * 32)", "assert False", 0),
        ("import sys; print(sys.stdin.read())", "assert False", 0),
        ("import os\nassert os.read(0, 9) == b'' and os.listdir('/tmp') == ['program.py']", "assert True", 1),
        ("if __name__ == '__main__':\n    1 / 0", "assert True", 1),
        ("def test_mine(): 1 / 0", "assert True", 1),
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\nimport numpy as np",
            "assert P(3).x == np.arange(3).sum()",
            1,
        ),
        ("print('é', '\\ud800'.encode(errors='replace'))", "assert True", 1),
        ("from threading import Thread\nt = Thread(target=print)\nt.start()\nt.join()", "assert not t.is_alive()", 1),
        ("import subprocess\nout = subprocess.run(['ls', '/'], capture_output=True).stdout", "assert b'usr' in out", 1),
    ],
)
def test_scripts(program: str, tests: Any, expected: float) -> None:
    assert given("code", sample(block(program), tests=tests)) == [pytest.approx(expected)]


@caged
def test_inputs_and_outputs() -> None:
    program = "n = int(input())\nprint(n * 2, ' ')\nif n == 3:\n    exit(1)"
    table = {"inputs": ["1\n", "2", "3", ["4", "x"]], "outputs": ["2", "4\n\n", "6", ["8"]]}
    rows = [{"input_output": table}, {"input_output": json.dumps(table)}]
    rows += [{"test_cases": [{"input": "1", "output": 2}, {"input": "x", "output": ""}]}]
    assert given("code", *(sample(block(program), **row) for row in rows)) == [0.75, 0.75, 0.5]


@caged
def test_the_last_block_of_python_counts() -> None:
    tests = {"tests": "assert x == 2"}
    fence = "```"
    rows = {
        f"{fence}python\nx = 1\n{fence}\nor\n{fence}python\nx = 2\n{fence}": 1.0,
        f"{fence}python\nx = 2\n{fence}\nor\n{fence}py\nx = 1\n{fence}": 0.0,
        f"{fence}Python3\nx = 2\n{fence}\n{fence}bash\nx=1\n{fence}": 1.0,
        f"{fence}\nx = 2\n{fence}": 0.0,
        f"{fence}python\nx = 2": 0.0,
        "x = 2": 0.0,
        "": 0.0,
        f"{fence}python\r\nx = 2\r\n{fence}": 1.0,
    }
    assert given("code", *(sample(text, **tests) for text in rows)) == [*rows.values()]
    assert given("code", sample(block("x = 2")), sample(block("x = 2"), tests=[])) == [None, None]


@pytest.mark.parametrize(
    "columns",
    [
        {"tests": "assert ("},
        {"tests": 5},
        {"tests": ["assert 1", 5]},
        {"input_output": "{"},
        {"input_output": [1, 2]},
        {"input_output": {"inputs": ["1"], "outputs": []}},
        {"input_output": {"inputs": ["1"]}},
        {"input_output": {"inputs": [[1]], "outputs": [[1]], "fn_name": "f"}},
        {"test_cases": 7},
        {"test_cases": [{"input": "1"}]},
        {"test_cases": ["1"]},
        {"test_cases": "null"},
    ],
    ids=str,
)
def test_tests_that_cannot_be_read_are_an_error_of_the_row(columns: dict[str, Any]) -> None:
    reward = Reward("code", 1.0, lambda samples: code.rewards(samples, Params()))
    with pytest.raises(MartletError, match=r"code failed on all of 1 answers: .*: (column |.*JSONDecodeError)"):
        score([reward], [sample(block("x = 1"), **columns)], 60)
    assert score([reward], [sample(block("x"), **columns), sample("")], 60).errors == {"code": 1}


TRIES = {
    "the network": "import socket; socket.create_connection(('127.0.0.1', {port}), 3)",
    "the network by UDP": "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "the host's processor of the network": "import socket; socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)",
    "a socket of the system's": "import socket; socket.socket(socket.AF_UNIX).connect({unix!r})",
    "an abstract socket": "import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + {abstract!r})",
    "writing into /etc": "open('/etc/motd', 'w')",
    "writing into /usr": "open('/usr/x', 'w')",
    "writing into Python": "import os; open(os.path.dirname(os.__file__) + '/os.py', 'a')",
    "writing into packages": "open({packages!r} + '/x.py', 'w')",
    "writing beside": "open('/x', 'w')",
    "a folder beside": "import os; os.mkdir('/etc/x')",
    "reading a home": "open({secret!r}).read()",
    "reading passwords": "open('/etc/passwd').read()",
    "reading shadows": "open('/etc/shadow').read()",
    "seeing the project": "open({root!r} + '/pyproject.toml').read()",
    "the processes": "import os; os.listdir('/proc/1')",
    "the old root": "import os; os.listdir('/old/etc')",
    "a signal to a process outside": "import os; os.kill({pid}, 0)",
    "mounting": "import ctypes; assert not ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None)",
    "becoming root": "import os; os.setuid(0)",
    "a namespace of its own": "import ctypes; assert not ctypes.CDLL(None).unshare(0x10000000)",
    "looking into the first process": "import ctypes; assert not ctypes.CDLL(None).ptrace(16, 1, 0, 0)",
    "keys": "import ctypes; assert ctypes.CDLL(None).syscall({keyctl}, 0, -3, 0) >= 0",
    "memory that no limit counts": "import os; os.memfd_create('x')",
    "a large file": "open('big', 'wb').write(bytes(5 << 20))",
    "a full disk": "for n in range(40): open(str(n), 'wb').write(bytes(3 << 20))",
    "many files": "for n in range(9999): open(str(n), 'w')",
    "many open files": "x = [open('/dev/null') for _ in range(99)]",
    "running what it wrote": "import os; open('x', 'w').write('#!/bin/sh'); os.chmod('x', 511); os.execv('x', 'x')",
    "a disk": "import os; os.mknod('/tmp/x', 0o60644, os.makedev(8, 0))",
    "memory": "x = bytearray(2 << 30)",
    "device of the terminal": "open('/dev/tty', 'w')",
}


@caged
@pytest.mark.parametrize("name", TRIES)
def test_a_program_does_not_get_out(name: str, tmp_path: Path) -> None:
    """The same program without the line does what is expected, so it is the line that fails."""
    (tmp_path / "secret").write_text("s3cret")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        with socket.socket(socket.AF_UNIX) as abstract:
            abstract.bind(f"\0martlet-{os.getpid()}")
            abstract.listen()
            line = TRIES[name].format(
                port=server.getsockname()[1], unix=str(tmp_path / "socket"), abstract=f"martlet-{os.getpid()}",
                packages=sysconfig.get_path("purelib"), secret=str(tmp_path / "secret"), root=str(ROOT),
                pid=os.getpid(), keyctl={"x86_64": 250}.get(os.uname().machine, 219),
            )  # fmt: skip
            program = "print('before', flush=True)\n{}\nprint('after')"
            assert prints(program.format(""), "before\nafter")
            assert not prints(program.format(line), "before\nafter")
            refused = "try:\n    {}\nexcept BaseException as error:\n    print('refused')\nelse:\n    print('got out')"
            assert prints(f"import os\n{refused.format(line)}", "refused")


@caged
def test_no_secret_of_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    names = "HOME LANG OMP_NUM_THREADS OPENBLAS_NUM_THREADS PATH"
    assert prints("import os\nprint(*sorted(set(os.environ) - {'LC_CTYPE'}))", names)
    assert prints("import glob\nprint(glob.glob('/proc/*/environ'))", "[]")


def alive(mark: str) -> list[psutil.Process]:
    """The processes with a text in their command line."""
    return [process for process in psutil.process_iter(["cmdline"]) if mark in str(process.info["cmdline"])]


@caged
@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time\ntime.sleep(999)",
        "import os\nwhile True: os.fork()",
        "import os, signal\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except Exception: 0\nwhile True: pass",
        "import os, time\nos.setsid()\nif os.fork(): time.sleep(99)\nos.setsid()\nwhile True: pass",
        "import os, signal\nwhile True: os.kill(1, signal.SIGSTOP); os.kill(1, signal.SIGKILL)",
    ],
    ids=["loop", "sleep", "fork bomb", "deaf", "session", "shoots the watcher"],
)
def test_what_does_not_end_is_ended(program: str) -> None:
    start = time.monotonic()
    assert given("code", sample(block(program), tests="assert True"), code_timeout=1.5) == [0.0]
    assert time.monotonic() - start < 15
    assert alive("run_path('program.py'") == []


@caged
def test_all_tests_of_an_answer_share_its_time() -> None:
    start = time.monotonic()
    tests = ["assert True", "while True: pass", *["assert True"] * 50]
    assert given("code", sample(block("x = 1"), tests=tests), code_timeout=2) == [pytest.approx(1 / 52)]
    assert time.monotonic() - start < 10


@caged
def test_a_child_does_not_outlive_its_program() -> None:
    mark = f"martlet-{os.getpid()}"
    program = (
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '{mark}'], start_new_session=True)\n"
        "print('started')"
    )
    start = time.monotonic()
    assert prints(program, "started")
    assert time.monotonic() - start < 20
    assert alive(mark) == []


@caged
def test_memory_is_that_of_all_processes_together() -> None:
    """Each of 8 children is within the limit of one process; together they are ended."""
    program = (
        "import os, time\npids = []\nfor _ in range(8):\n    pid = os.fork()\n    if not pid:\n"
        "        x = bytearray({}); time.sleep(2); os._exit(0)\n    pids.append(pid)\n"
        "for pid in pids: assert os.waitpid(pid, 0)[1] == 0\nprint('done')"
    )
    assert prints(program.format(1 << 10), "done", code_memory_gb=0.4)
    assert not prints(program.format(150 << 20), "done", code_memory_gb=0.4)


@caged
def test_output_has_a_limit() -> None:
    assert prints("print('x' * 1000000)", "x" * 1000000)
    assert not prints("import sys\nwhile True: sys.stdout.write('x' * 100000)", "x" * 4000000)


@caged
def test_the_cage_ends_with_its_parent() -> None:
    mark = f"time.sleep(3.{os.getpid()}) or time.sleep(99)"
    job = {"program": f"import time\n{mark}", "input": "", "packages": [], "seconds": 99, "memory": 1 << 30}
    parent = (
        "import subprocess, sys, time\n"
        "cage = subprocess.Popen([sys.executable, '-I', '-S', sys.argv[1]], stdin=subprocess.PIPE)\n"
        "cage.stdin.write(sys.argv[2].encode()); cage.stdin.close(); print(cage.pid, flush=True); time.sleep(99)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent, ROOT / "components/rewards/_cage.py", json.dumps(job)], stdout=subprocess.PIPE
    )
    assert process.stdout
    cage = psutil.Process(int(process.stdout.readline()))
    wait_for(lambda: len(cage.children(recursive=True)) >= 2)
    family = [cage, *cage.children(recursive=True)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))
    process.stdout.close()


def wait_for(condition: Any, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@caged
def test_many_answers_from_several_threads() -> None:
    rows = [sample(block(f"print({n} % 3)"), test_cases=[{"input": "", "output": "0"}]) for n in range(12)]
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(code.rewards(rows, Params()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[float(n % 3 == 0) for n in range(12)]] * 2


@caged
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to be another user")
def test_a_user_without_rights_has_the_same_cage(tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if not python:
        pytest.skip("no Python that another user may run")
    for name in ("_cage.py", "_seccomp.py"):
        shutil.copy(ROOT / "components/rewards" / name, tmp_path)
    place = Path("/var/tmp") / f"martlet-cage-{os.getpid()}"
    program = (
        "import os\nprint(os.getuid(), sorted(os.listdir('/')))\n"
        f'for line in (\'os.setuid(0)\', \'open("/x", "w")\', \'open("{place}/_cage.py", "a")\'):\n'
        "    try: exec(line)\n    except OSError: print('no')\n    else: print(line)"
    )
    job = {"program": program, "input": "", "packages": [str(place)], "seconds": 20, "memory": 1 << 30}
    outcome = run_as_user(tmp_path, place, python, job)
    assert outcome["status"] == 0
    assert outcome["output"].startswith("65534 ['bin', 'dev'")
    assert outcome["output"].splitlines()[1:] == ["no"] * 3


def run_as_user(folder: Path, place: Path, python: str, job: dict[str, Any]) -> dict[str, Any]:
    """The outcome of a job in a cage that a user without rights makes, from a folder of this user's."""
    shutil.copytree(folder, place)
    for file in (place, *place.iterdir()):
        os.chown(file, 1234, 1234)
    try:
        ended = subprocess.run(
            ["setpriv", "--reuid", "1234", "--regid", "1234", "--clear-groups", python, "-I", "-S", place / "_cage.py"],
            input=json.dumps(job), capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        shutil.rmtree(place)
    return json.loads(ended.stdout)


@caged
def test_where_no_namespaces_are_allowed_nothing_is_run() -> None:
    check = (
        "from components.config import Params\nfrom components.rewards import rewards_of\n"
        "try: rewards_of(Params.model_validate({'reward': {'reward_funcs': ['code']}}), [])\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    words = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" -c "$1"'
    told = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", words, sys.executable, check],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.startswith(
        "ConfigError reward_funcs: code is refused, because this system lets no cage be made (unshare: No space left"
    )
    assert len(told.stdout.splitlines()) == 1


@caged
def test_limits_in_which_python_does_not_start_are_told() -> None:
    with pytest.raises(ConfigError, match="code_timeout, code_memory_gb: Python does not start within these limits"):
        given("code", sample(""), code_memory_gb=0.001)
