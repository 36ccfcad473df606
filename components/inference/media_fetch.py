"""Media that a request names by a URL, from hosts that the operator names: never from an address of a private network,
whatever a name or a redirect leads to."""

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Container
from urllib.parse import SplitResult, urljoin, urlsplit

from components.inference.api import RequestError

TIMEOUT_S, TOTAL_S = 5.0, 20.0
"""Seconds without a byte, and seconds altogether, after which a download is given up."""
MAX_REDIRECTS = 3
PIECE_BYTES = 1 << 16
PORTS = {"http": 80, "https": 443}


def fetched(url: str, hosts: Container[str], max_bytes: int) -> bytes:
    """Return the content of a URL.

    Raises:
        RequestError: its host, or that of a redirect, is none of `hosts` or has a private address; it cannot be read
            in time, or is too large.
    """
    deadline = time.monotonic() + TOTAL_S
    for _ in range(1 + MAX_REDIRECTS):
        parts = _checked(url, hosts)
        connection = _connection(parts)
        try:
            target = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
            connection.request("GET", target, headers={"User-Agent": "martlet", "Accept-Encoding": "identity"})
            response = connection.getresponse()
            if response.status == http.client.OK:
                return _content(response, deadline, max_bytes)
            if not 300 <= response.status < 400 or not (place := response.headers["Location"]):
                raise RequestError(f"the medium cannot be fetched: {parts.hostname} answers {response.status}")
            url = urljoin(url, place)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise RequestError(f"the medium cannot be fetched from {parts.hostname}: {reason}") from None
        finally:
            connection.close()
    raise RequestError(f"the medium cannot be fetched: more than {MAX_REDIRECTS} redirects")


def _checked(url: str, hosts: Container[str]) -> SplitResult:
    """Return the parts of a URL whose host is allowed."""
    try:
        parts = urlsplit(url)
        port_is_one = parts.port != 0
    except ValueError:
        raise RequestError("a medium's URL cannot be read") from None
    if parts.scheme not in PORTS or not parts.hostname or parts.username is not None or not port_is_one:
        raise RequestError("a medium's URL must be http(s)://HOST/PATH")
    if parts.hostname not in hosts:
        raise RequestError(
            f"media of {parts.hostname[:100]} are not fetched; send the medium as a data URI, or start the server with "
            "--allowed_media_domains"
        )
    if not (parts.path + parts.query).isascii() or any(c <= " " for c in parts.path + parts.query):
        raise RequestError("a medium's URL must be percent-encoded")
    return parts


def _connection(parts: SplitResult) -> http.client.HTTPConnection:
    """Return a connection to a public address of a host; no other look-up follows the one that is checked."""
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise RequestError(f"the medium cannot be fetched: there is no host {host}") from None
    if not all(map(is_public, addresses)):
        raise RequestError(f"media of {host} are not fetched: its address is of a private network")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        plain = socket.create_connection((min(addresses), port), TIMEOUT_S)
        secure = parts.scheme == "https"
        connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if secure else plain
    except OSError as error:
        raise RequestError(f"the medium cannot be fetched from {host}: {error}") from None
    return connection


def is_public(address: str) -> bool:
    """Return whether an address belongs to no private, local or otherwise special network."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(plain, "ipv4_mapped", None) or getattr(plain, "sixtofour", None)
    return (mapped or plain).is_global and not plain.is_multicast


def _content(response: http.client.HTTPResponse, deadline: float, max_bytes: int) -> bytes:
    data = bytearray()
    while piece := response.read1(PIECE_BYTES):
        data += piece
        if len(data) > max_bytes:
            raise ValueError(f"it has more than {max_bytes >> 20} MiB")
        if time.monotonic() > deadline:
            raise ValueError(f"it takes longer than {TOTAL_S:g} s")
    return bytes(data)
