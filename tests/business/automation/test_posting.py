"""Where webhooks may go, and how long they may take."""

import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.business.automation.conftest import SECRET, Receiver

from counterfoil.business.automation import network
from counterfoil.business.automation.messages import Message, Outcome
from counterfoil.business.automation.network import is_public
from counterfoil.business.automation.posting import HttpPoster

NOW = datetime(2026, 2, 1, tzinfo=UTC)
MESSAGE = Message("evt_1", "invoice.finalized", "invoices/1", NOW, {})


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_addresses_of_the_public_network(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "224.0.0.251",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fd00::1",
        "fec0::1",
        "::127.0.0.1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_only_this_machine_can_reach(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


def test_a_name_that_leads_to_a_private_address_is_not_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.split(":")[2].partition("/")[0])
    poster = HttpPoster(private=False)
    url = f"https://localhost:{port}/hooks"
    refused = poster.post(url, SECRET, MESSAGE, NOW)
    assert "localhost is not in the public network" in refused.error
    assert "COUNTERFOIL_PRIVATE_WEBHOOKS" in refused.error
    # One private address among public ones is enough to be refused.
    both = [ipaddress.ip_address("93.184.215.14"), ipaddress.ip_address("10.0.0.1")]
    monkeypatch.setattr(network, "addresses_of", lambda *_: both)
    mixed = poster.post("https://two-faced.example/", SECRET, MESSAGE, NOW)
    assert mixed.error == (
        "could not be reached: two-faced.example is not in the public network (10.0.0.1); "
        "see COUNTERFOIL_PRIVATE_WEBHOOKS"
    )
    assert receiver.received == []


def test_without_tls_only_private_webhooks_are_posted(receiver: Receiver) -> None:
    refused = HttpPoster(private=False).post(receiver.url, SECRET, MESSAGE, NOW)
    assert refused.error == "the URL is not https; see COUNTERFOIL_PRIVATE_WEBHOOKS"
    assert receiver.received == []
    assert HttpPoster(private=True).post(receiver.url, SECRET, MESSAGE, NOW) == Outcome(
        status_code=204
    )


def test_a_receiver_that_does_not_answer_is_given_up_in_time(receiver: Receiver) -> None:
    receiver.holding.clear()
    poster = HttpPoster(private=True, timeout=0.3)
    began = time.monotonic()
    outcome = poster.post(receiver.url, SECRET, MESSAGE, NOW)
    assert outcome.error == "did not answer within 0.3 seconds"
    assert time.monotonic() - began < 5
    receiver.holding.set()
    receiver.silent = True
    assert poster.post(receiver.url, SECRET, MESSAGE, NOW).error.startswith("could not be reached")


def test_a_receiver_that_answers_byte_by_byte_is_given_up_in_time() -> None:
    """Each byte comes in time, the answer as a whole does not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not ended.wait(0.05):
                    connection.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        outcome = HttpPoster(private=True, timeout=0.5).post(url, SECRET, MESSAGE, NOW)
        ended.set()
        thread.join()
    assert outcome.error == "did not answer within 0.5 seconds"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody vouches for, for the name localhost, with its key."""
    file = tmp_path / "localhost.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost -keyout {file} -out {file}.crt"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl to make a certificate with")
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def read_request(connection: ssl.SSLSocket) -> None:
    """All of a request: whoever closes with something unread takes back what he answered."""
    file = connection.makefile("rb")
    length = 0
    while (line := file.readline().strip().lower()) != b"":
        name, _, value = line.partition(b":")
        length = int(value) if name == b"content-length" else length
    file.read(length)


@pytest.mark.parametrize(
    ("host", "trusted", "error"),
    [
        ("localhost", True, ""),
        ("127.0.0.1", True, "IP address mismatch"),
        ("localhost", False, "self-signed certificate"),
    ],
)
def test_a_receiver_has_to_be_who_its_name_says(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, error: str
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as secured:
                    read_request(secured)
                    secured.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
            except OSError:
                pass

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"https://{host}:{listener.getsockname()[1]}/"
        outcome = HttpPoster(private=True).post(url, SECRET, MESSAGE, NOW)
        thread.join()
    assert error in outcome.error
    assert bool(outcome.error) == bool(error)
