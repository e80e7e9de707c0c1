"""The way to receivers: only to addresses of the public network, and never for long.

Who may create a webhook must not thereby reach what only this machine can reach: its own ports,
its neighbours, a cloud's metadata. A name is resolved here and the very address that was checked
is connected to, so that a name cannot change its mind in between.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

SETTING = "COUNTERFOIL_PRIVATE_WEBHOOKS"

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public network, looking into IPv6 that carries IPv4."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address.teredo is not None:
            inner = address.teredo[1]
        if address in _TRANSLATED:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        if inner is not None:
            return is_public(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast


def addresses_of(host: str, port: int) -> list[Address]:
    """All addresses of a name, or the one that is written; OSError when there is none."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


class GuardedNetwork(httpcore.NetworkBackend):
    """Connects to public addresses, with ``private`` to all; keeps each thread's deadline."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._sockets = httpcore.SyncBackend()
        self._limits = threading.local()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Whatever this thread does on the network in here ends by a timeout after that time."""
        self._limits.deadline = time.monotonic() + seconds
        try:
            yield
        finally:
            self._limits.deadline = None

    def remaining(self) -> float:
        """Seconds left to this thread; raises ReadTimeout when there are none."""
        deadline = getattr(self._limits, "deadline", None)
        if deadline is None:
            raise RuntimeError("the network is used without a deadline")
        left = float(deadline) - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the thread's deadline counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers; ConnectError when one is not allowed."""
        try:
            addresses = addresses_of(host, port)
        except (OSError, UnicodeError) as fault:
            raise httpcore.ConnectError(f"{host} is not known: {fault}") from None
        for address in addresses:
            if not self._private and not is_public(address):
                message = f"{host} is not in the public network ({address}); see {SETTING}"
                raise httpcore.ConnectError(message)
        failure = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._sockets.connect_tcp(
                    str(address), port, self.remaining(), local_address, socket_options
                )
            except httpcore.ConnectError as error:
                failure = error
            else:
                return _TimedStream(stream, self)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step has to end by the deadline of the thread that uses it."""

    def __init__(self, stream: httpcore.NetworkStream, network: GuardedNetwork) -> None:
        self._stream = stream
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, self._network.remaining())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, self._network.remaining())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._network.remaining())
        return _TimedStream(secured, self._network)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
