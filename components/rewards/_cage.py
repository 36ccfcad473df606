"""A program that runs a Python program of a model's in a cage: `python -I -S _cage.py`, one job as JSON in, its outcome
as JSON out.

    {"program": "print(input())", "input": "3", "packages": ["/…/site-packages"], "seconds": 10, "memory": 1073741824}
    {"status": 0, "output": "3\\n"}  or  {"fault": "mount: Operation not permitted"}

The cage is made of Linux's namespaces, as bubblewrap's is. The program sees a root of its own: Python and the system's
libraries, read-only, and an empty /tmp in memory. It has no network, no environment, no process but its own, no rights
even where this program has root's, and limits of time, memory, files and processes. All its processes end with it.
This needs no rights, but that the system lets users make namespaces. Where it does not, nothing is run.

Three processes: this one, which ends with its parent; the first process of the cage, which builds it and watches; the
program.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))
from _seccomp import PIVOT_ROOT, refuse_system_calls

INSIDE = 65534
"""User and group of the program, inside; outside it is the user that runs this, for root nobody."""
NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x08000000 | 0x04000000 | 0x20000000
"""<sched.h>: of users, mounts, network, IPC, host name, processes."""
READ_ONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
"""<sys/mount.h>, and the first four in <linux/mount.h> too."""
OLD = "/old"
"""Where the system's root lies until the cage is built."""
SCRATCH = "size=64m,nr_inodes=4096,mode=777"
OUTPUT = 4 << 20
"""Bytes of a file, and of the output."""
LIMITS = {
    resource.RLIMIT_NPROC: 64,
    resource.RLIMIT_NOFILE: 64,
    resource.RLIMIT_FSIZE: OUTPUT,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_MEMLOCK: 0,
}
PYTHON, PREFIX = os.path.realpath(sys.executable), os.path.realpath(sys.base_prefix)
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
               "OPENBLAS_NUM_THREADS": "1"}  # fmt: skip
START = "import runpy, sys; sys.path += {}; sys.argv = ['program.py']; runpy.run_path('program.py', None, '__main__')"
_C = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    outcome = _outcome_of(_caged, json.load(sys.stdin))
    print(json.dumps(outcome))


def _outcome_of(work: Any, job: dict[str, Any]) -> dict[str, Any]:
    try:
        return work(job)
    except OSError as error:
        return {"fault": f"{error.filename or 'a system call'}: {error.strerror}"}


def _caged(job: dict[str, Any]) -> dict[str, Any]:
    """Run a job in a cage and return its outcome.

    Raises:
        OSError: the system does not let a cage be made; nothing was run.
    """
    _enter_namespaces()
    _die_with_parent()
    reading, writing = os.pipe()
    first = os.fork()
    if not first:
        outcome = _outcome_of(_watch, job)
        with os.fdopen(writing, "w") as stream:
            json.dump(outcome, stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(first, 0)
    return json.loads(text) if text else {"status": -signal.SIGKILL, "output": ""}


def _enter_namespaces() -> None:
    """Put this process into namespaces of its own; the next that it forks is the first of the cage.

    A helper writes the map of users from outside: root maps two, itself to build and nobody to run as.
    """
    is_root, parent = os.geteuid() == 0, os.getpid()
    if is_root:
        with contextlib.suppress(PermissionError):  # of a namespace that forbids it
            os.setgroups([])
    ready, go = os.pipe()
    helper = os.fork()
    if not helper:
        os.close(go)
        os.read(ready, 1)
        try:
            Path(f"/proc/{parent}/setgroups").write_text("deny")
            for name, number in (("gid_map", os.getegid()), ("uid_map", os.geteuid())):
                users = f"0 0 1\n{INSIDE} {INSIDE} 1" if is_root else f"{INSIDE} {number} 1"
                Path(f"/proc/{parent}/{name}").write_text(users)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    try:
        _call("unshare", NAMESPACES)
    finally:
        os.close(go)
        status = os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1])
    if status:
        raise OSError(status, os.strerror(status), "uid_map")


def _watch(job: dict[str, Any]) -> dict[str, Any]:
    """Build the cage, run the program in it, end it at a limit, and return its status and output."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the kernel keeps from the first process of a namespace
    _C.prctl(4, 0)  # PR_SET_DUMPABLE: no other process looks into this one
    processes = _build(job["packages"])
    Path("/tmp/program.py").write_text(job["program"], errors="surrogatepass")
    Path("/tmp/input").write_text(job["input"], errors="surrogatepass")
    output = os.memfd_create("output")
    deadline = time.monotonic() + job["seconds"]
    program = _start(job, output)
    status = None
    while status is None:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid == program:
            status = os.waitstatus_to_exitcode(code)
        elif not pid:
            if time.monotonic() > deadline or _memory(processes) > job["memory"]:
                status = -signal.SIGKILL
            time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return {"status": status, "output": os.pread(output, OUTPUT, 0).decode(errors="replace")}


def _build(packages: list[str]) -> int:
    """Give this process a root of its own, and return an open folder of its processes, which the program does not see.

    What is mounted is seen at the end of the links that lead to it, so that Python finds itself.
    """
    _mount(None, "/", None, REC | PRIVATE)
    _mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    Path(f"/tmp{OLD}").mkdir()
    _call("syscall", PIVOT_ROOT, b"/tmp", f"/tmp{OLD}".encode())
    os.chdir("/")
    for folder in ("/tmp", "/proc"):
        Path(folder).mkdir()
    _mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV | NOEXEC, SCRATCH)
    shown: list[str] = []
    for place in (*SYSTEM, *(f"{PREFIX}/{name}" for name in ("bin", "lib", "lib64")), *packages):
        if not any(f"{place}/".startswith(f"{other}/") for other in shown):
            shown += [place] if _show(place) else []
    for device in DEVICES:
        _show(device, NOSUID | NOEXEC)
    _mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")  # no second cage in which the program has rights
    processes = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    for folder in ("/proc", OLD):
        _call("umount2", folder.encode(), 2)  # MNT_DETACH
    Path(OLD).rmdir()
    _mount(None, "/", None, REMOUNT | BIND | READ_ONLY | NOSUID | NODEV)
    return processes


def _show(place: str, flags: int = NOSUID | NODEV) -> bool:
    """Mount a file, a folder or a link of the system's at its place, read-only; return False where there is none."""
    source = Path(f"{OLD}{place}")
    if source.is_symlink():
        Path(place).symlink_to(source.readlink())
        return False
    if not source.exists():
        return False
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).mkdir() if source.is_dir() else Path(place).touch()
    _mount(str(source), place, None, BIND | REC)
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY | flags)
    _call("syscall", 442, -100, place.encode(), 0x8000, attributes, 32)  # mount_setattr, with all mounts below
    return True


def _start(job: dict[str, Any], output: int) -> int:
    """Start the program and return its id.

    Raises:
        OSError: it was not started, because a limit cannot be set.
    """
    reading, writing = os.pipe()
    program = os.fork()
    if not program:
        try:
            _become_program(job, output)
        except OSError as error:
            os.write(writing, f"{error.errno} {error.filename}".encode())
        finally:
            os._exit(127)
    os.close(writing)
    with os.fdopen(reading) as stream:
        number, _, name = stream.read().partition(" ")
    if number:
        raise OSError(int(number), os.strerror(int(number)), name)
    return program


def _become_program(job: dict[str, Any], output: int) -> None:
    streams = (os.open("/tmp/input", os.O_RDONLY), output, os.open("/dev/null", os.O_WRONLY))
    for place, stream in enumerate(streams):
        os.dup2(stream, place)  # all others close with execve
    Path("/tmp/input").unlink()  # a script of tests closes it before the answer's program begins
    os.chdir("/tmp")
    os.setsid()
    for limit, value in (LIMITS | {resource.RLIMIT_AS: job["memory"]}).items():
        resource.setrlimit(limit, (value, value))
    os.setresgid(INSIDE, INSIDE, INSIDE)
    os.setresuid(INSIDE, INSIDE, INSIDE)
    refuse_system_calls()
    os.execve(PYTHON, [PYTHON, "-I", "-B", "-c", START.format(job["packages"])], ENVIRONMENT)


def _memory(processes: int) -> int:
    """Return the bytes of memory that the processes of the cage have, but for the first."""
    pages = 0
    for name in os.listdir(processes):
        if name.isdigit() and name != "1":
            with contextlib.suppress(OSError):  # it has just ended
                statm = os.open(f"{name}/statm", os.O_RDONLY, dir_fd=processes)
                pages += int(os.read(statm, 99).split()[1])
                os.close(statm)
    return pages * resource.getpagesize()


def _die_with_parent() -> None:
    _C.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])


def _call(name: str, *arguments: Any) -> None:
    """Call a function of libc.

    Raises:
        OSError: it fails.
    """
    if getattr(_C, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name if name != "syscall" else f"system call {arguments[0]}")


if __name__ == "__main__":
    main()
