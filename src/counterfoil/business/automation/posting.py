"""Webhooks over HTTP: one POST per attempt, signed, bounded in time and size."""

import http
from datetime import datetime

import httpcore

from counterfoil import __version__
from counterfoil.business.automation.messages import LONGEST_RESPONSE, Message, Outcome
from counterfoil.business.automation.network import SETTING, GuardedNetwork
from counterfoil.business.automation.signing import signature_headers

TIMEOUT = 15.0
"""Seconds a receiver has, from the first packet to the end of its answer."""

_MOST_READ = 4096
_GONE = 410


class HttpPoster:
    """Posts messages over HTTPS; with ``private`` also over HTTP and to private addresses.

    Redirects are not followed: what is signed for one receiver is not for another. May be used
    from several threads; close it at the end.
    """

    def __init__(self, *, private: bool, timeout: float = TIMEOUT) -> None:
        self._private = private
        self._timeout = timeout
        self._network = GuardedNetwork(private=private)
        trusted = httpcore.default_ssl_context()
        # Those of this machine too, such as a company's own authority.
        trusted.load_default_certs()
        self._pool = httpcore.ConnectionPool(
            ssl_context=trusted, network_backend=self._network, keepalive_expiry=10.0
        )

    def post(self, url: str, secret: str, message: Message, now: datetime) -> Outcome:
        """Post one message; 2xx means delivered."""
        if not self._private and not url.lower().startswith("https://"):
            return Outcome(f"the URL is not https; see {SETTING}")
        body = message.body
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": f"Counterfoil/{__version__}",
            **signature_headers(secret, message.message_id, now, body),
        }
        try:
            with (
                self._network.within(self._timeout),
                self._pool.stream("POST", url, headers=headers, content=body) as response,
            ):
                return _outcome(response.status, _beginning(response))
        except httpcore.TimeoutException:
            return Outcome(f"did not answer within {self._timeout:g} seconds")
        except (httpcore.NetworkError, httpcore.ProtocolError) as fault:
            return Outcome(f"could not be reached: {fault or type(fault).__name__}"[:1000])

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._pool.close()


def _beginning(response: httpcore.Response) -> str:
    """The first bytes of an answer, as text; the rest is not read."""
    read = b""
    for part in response.iter_stream():
        read += part
        if len(read) >= _MOST_READ:
            break
    text = read[:_MOST_READ].decode("utf-8", "replace").replace("\x00", "")
    return text[:LONGEST_RESPONSE]


def _outcome(status: int, response: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status_code=status, response=response)
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = "an unknown status"
    error = f"answered {status} {phrase}"
    if 300 <= status < 400:
        error += "; redirects are not followed"
    return Outcome(error, status, response, gone=status == _GONE)
