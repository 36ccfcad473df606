"""A filter of system calls for the processes of a cage: what no program of a model's needs and what reaches over
namespaces is refused (keys, other processes' memory, sockets but those of Unix, memory that nothing counts)."""

import ctypes
import errno
import os
import platform
import struct

MACHINES = {
    "x86_64": (
        0xC000003E, 155, 41, 435,
        (29, 64, 68, 101, 165, 166, 175, 176, 246, 248, 249, 250, 272, 298, 304, 308, 310, 311, 312, 313, 319, 320, 321,
         323),
    ),
    "aarch64": (
        0xC00000B7, 41, 198, 435,
        (194, 190, 186, 117, 40, 39, 105, 106, 104, 217, 218, 219, 97, 241, 265, 268, 270, 271, 272, 273, 279, 294, 280,
         282),
    ),
}  # fmt: skip
"""By machine its number in <linux/audit.h>, `pivot_root`, `socket`, `clone3`, and what is refused: shmget, semget,
msgget, ptrace, mount, umount2, init_module, delete_module, kexec_load, add_key, request_key, keyctl, unshare,
perf_event_open, open_by_handle_at, setns, process_vm_readv, process_vm_writev, kcmp, finit_module, memfd_create,
kexec_file_load, bpf, userfaultfd."""
EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 447)
"""Refused, with one number for all machines: io_uring_setup, io_uring_enter, io_uring_register, open_tree, move_mount,
fsopen, fsconfig, fsmount, fspick, pidfd_getfd, mount_setattr, memfd_secret."""
AUDIT, PIVOT_ROOT, SOCKET, CLONE3, REFUSED = MACHINES.get(platform.machine(), (0, 0, 0, 0, ()))
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
"""Instructions of <linux/bpf_common.h>."""
KILL, ALLOW = 0x80000000, 0x7FFF0000
X32 = 0x40000000


def refuse_system_calls() -> None:
    """Have the kernel refuse them to this process and all that it starts, and no rights be gained by any.

    Raises:
        OSError: the kernel has no filters, or there is none of ours for this machine.
    """
    if not AUDIT:
        raise OSError(errno.ENOSYS, "", f"filter of system calls on {platform.machine()}")
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _instructions())
    buffer = ctypes.create_string_buffer(code)
    program = struct.pack("HP", len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    for name, call in (("PR_SET_NO_NEW_PRIVS", (38, 1, 0, 0, 0)), ("PR_SET_SECCOMP", (22, 2, program, 0, 0))):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


def _instructions() -> list[tuple[int, int, int, int]]:
    """Return the filter: (instruction, steps if true, steps if false, value)."""
    refuse = (RETURN, 0, 0, 0x50000 | errno.EPERM)
    lines = [
        (LOAD, 0, 0, 4),  # the machine
        (EQUAL, 1, 0, AUDIT),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),  # the number of the call
        (AT_LEAST, 0, 1, X32),
        (RETURN, 0, 0, KILL),
        (EQUAL, 0, 1, CLONE3),  # its flags lie in memory, where no filter sees them; libc falls back to clone
        (RETURN, 0, 0, 0x50000 | errno.ENOSYS),
    ]
    for number in (*REFUSED, *EVERYWHERE):
        lines += [(EQUAL, 0, 1, number), refuse]
    lines += [(EQUAL, 0, 3, SOCKET), (LOAD, 0, 0, 16), (EQUAL, 1, 0, 1), refuse]  # AF_UNIX is 1
    return [*lines, (RETURN, 0, 0, ALLOW)]
