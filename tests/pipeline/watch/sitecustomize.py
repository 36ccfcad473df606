"""Loaded by every Python process of a watched run: notes each connection or name lookup beyond loopback."""

import ipaddress
import os
import sys


def _beyond_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if not isinstance(host, str) or host in ("", "localhost", "0.0.0.0", "::"):
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _watch(event: str, arguments: tuple) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if _beyond_loopback(host):
        with open(os.environ["MARTLET_TEST_CONNECTIONS"], "a") as log:  # noqa: PTH123 (as early as possible)
            log.write(f"{event} {host!r} {sys.argv}\n")


if "MARTLET_TEST_CONNECTIONS" in os.environ:
    sys.addaudithook(_watch)
