"""Processes in which the hubs' clients are new, for they read their environment when they are imported.

The imports are most of such a process: a server that has all of them but the clients forks one process for each run.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[3]
SECONDS = 60


def run(code: str, *words: str, environment: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `python -c code words` with this environment in `folder`."""
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place, name) for name in ("stdout", "stderr")]
        wanted = [code, words, environment, str(folder), *map(str, outputs)]
        server = forking_server()
        assert server.stdin and server.stdout
        server.stdin.write(json.dumps(wanted) + "\n")
        server.stdin.flush()
        status = int(server.stdout.readline())
        return subprocess.CompletedProcess(words, status, *(output.read_text() for output in outputs))


@cache
def forking_server() -> subprocess.Popen[str]:
    """Start the server; it ends with this process, which holds the other end of its input."""
    words = [sys.executable, "-m", "tests.components.hub.processes"]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Fork a process for each line of the input; in it, return from here and run the code of the line."""
    import filelock  # noqa: F401
    import fsspec  # noqa: F401
    import httpcore  # noqa: F401
    import httpx  # noqa: F401
    import requests  # noqa: F401
    import tqdm.auto  # noqa: F401
    import yaml  # noqa: F401

    import components.data.hub_files
    import components.models  # noqa: F401
    from components.data.readers import kind_of

    kind_of("rows.jsonl")  # loads all readers
    gc.freeze()  # else each process would look through all of it when it ends
    assert not {"huggingface_hub", "modelscope", "modelscope_hub"} & set(sys.modules)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            return become(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    return None


def become(code: str, words: list[str], environment: dict[str, str], folder: str, *outputs: str) -> None:
    """Run the code as a process of its own would, for a minute at most."""
    signal.alarm(SECONDS)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, output in enumerate(outputs, 1):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["-c", *words]
    exec(code, {"__name__": "__main__"})


if __name__ == "__main__":
    main()
