"""``counterfoil serve`` as a user starts it: a process of its own, ended by a signal."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from counterfoil.bootstrap import Organisation, Settings

COMMAND = [sys.executable, "-m", "counterfoil.interfaces.cli.main", "serve"]
SECRET = re.compile(r"^  (\S{43})$", re.MULTILINE)
PASSWORD = re.compile(r"^  (\S{20})$", re.MULTILINE)


@pytest.fixture(scope="module")
def server(server: Settings) -> Settings:
    """As a user has it who names no database: the server is found in the data folder."""
    return replace(server, database_url=os.environ.get("COUNTERFOIL_DATABASE_URL") or None)


def environment(server: Settings, token: str = "") -> dict[str, str]:
    return {
        **os.environ,
        "COUNTERFOIL_HOME": str(server.home),
        "COUNTERFOIL_DATABASE_URL": server.database_url or "",
        "COUNTERFOIL_ADMIN_TOKEN": token,
    }


@contextmanager
def serving(env: dict[str, str], *options: str) -> Iterator[str]:
    """What a server prints before it answers; it is told to stop at the end, and has to."""
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", *options], env=env, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        printed = ""
        for line in process.stdout:
            printed += line
            if line.startswith("Ctrl-C"):
                break
        yield printed
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, "Stopped.\n")


def url_in(printed: str) -> str:
    found = re.search(r"answers on (\S+)", printed)
    assert found is not None, printed
    return found[1]


def status(url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{url}/api/v1/accounts", headers=headers, timeout=60).status_code


def test_the_token_is_shown_once_and_can_be_renewed(server: Settings) -> None:
    with serving(environment(server)) as first:
        secret = SECRET.search(first)
        assert secret is not None
        assert url_in(first).startswith("http://127.0.0.1:")
        assert "WARNING" not in first
        assert status(url_in(first), secret[1]) == 200
        assert status(url_in(first), "another") == 401
    with serving(environment(server)) as second:
        assert SECRET.search(second) is None
        assert status(url_in(second), secret[1]) == 200
    with serving(environment(server), "--new-token", "--host", "0.0.0.0") as third:
        renewed = SECRET.search(third)
        assert renewed is not None
        assert "WARNING" in third
        assert status(url_in(third).replace("0.0.0.0", "127.0.0.1"), secret[1]) == 401


@pytest.mark.parametrize("given", ["", "a horse in the rain"])
def test_the_first_start_makes_the_administrator(
    organisation: Organisation, tmp_path: Path, given: str
) -> None:
    env = environment(Settings(tmp_path, organisation.database.url), "correct horse battery staple")
    with serving({**env, "COUNTERFOIL_ADMIN_PASSWORD": given}) as first:
        shown = PASSWORD.search(first)
        assert (shown is None) == bool(given)
        assert "horse" not in first
        password = given if shown is None else shown[1]
        signed_in = httpx.post(
            f"{url_in(first)}/api/v1/sessions", json={"username": "admin", "password": password}
        )
        assert signed_in.status_code == 201
        assert status(url_in(first), signed_in.json()["token"]) == 200
    with serving({**env, "COUNTERFOIL_ADMIN_PASSWORD": "another password"}) as second:
        assert PASSWORD.search(second) is None
        assert status(url_in(second), signed_in.json()["token"]) == 200


def test_a_taken_port_is_said_plainly(server: Settings) -> None:
    with serving(environment(server, "correct horse battery staple")) as printed:
        assert SECRET.search(printed) is None
        assert status(url_in(printed), "correct horse battery staple") == 200
        port = url_in(printed).rpartition(":")[2]
        second = subprocess.run(
            [*COMMAND, "--port", port],
            env=environment(server, "correct horse battery staple"),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert second.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in second.stderr


@pytest.mark.parametrize("host", ["192.0.2.1"])
def test_an_address_of_another_machine_is_refused(server: Settings, host: str) -> None:
    refused = subprocess.run(
        [*COMMAND, "--host", host],
        env=environment(server, "correct horse battery staple"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused.returncode == 2
    assert "cannot listen" in refused.stderr
