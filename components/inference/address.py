"""Where a server listens: on loopback, or with a key anywhere."""

import ipaddress
import socket

from components.errors import ConfigError


def bind(host: str = "127.0.0.1", port: int = 8000, api_key: str | None = None) -> socket.socket:
    """Return a listening socket; port 0 takes a free port.

    Raises:
        ConfigError: the port is in use, the address is not of this machine, or there is no key and it is not loopback.
    """
    if not key_or_none(api_key) and not is_loopback(host):
        raise ConfigError(
            f"--host {host} opens the server to the network: set a key in MARTLET_API_KEY, or use --host 127.0.0.1"
        )
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}. Choose another with --port") from error
    # Connections inherit TCP_NODELAY; without it the last packet of every answer waits for a delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def key_or_none(text: str | None) -> str | None:
    """Return an API key without blanks around it, or None for a blank one."""
    return (text or "").strip() or None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is of this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
