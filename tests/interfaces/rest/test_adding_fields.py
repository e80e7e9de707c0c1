"""Four servers answer while fields are added: nobody sees an error, and no update is lost."""

import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation

COMMAND = [sys.executable, "-m", "counterfoil.interfaces.cli.main", "serve", "--port", "0"]
TOKEN = "correct horse battery staple"
SERVERS = 4
FIELDS = 8


@contextmanager
def serving(organisation: Organisation) -> Iterator[list[str]]:
    """The URLs of server processes, started at the same time."""
    env = {
        **os.environ,
        "COUNTERFOIL_HOME": str(organisation.home),
        "COUNTERFOIL_DATABASE_URL": organisation.database.url,
        "COUNTERFOIL_ADMIN_TOKEN": TOKEN,
    }
    processes = [
        subprocess.Popen(COMMAND, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(SERVERS)
    ]
    try:
        yield [url_of(process) for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.communicate(timeout=60)


def url_of(process: subprocess.Popen[str]) -> str:
    """Where a server says that it answers."""
    assert process.stdout is not None
    printed = (re.search(r"answers on (\S+)", line) for line in process.stdout)
    found = next(one for one in printed if one is not None)
    return found[1]


@pytest.fixture
def servers(server: Settings) -> Iterator[list[httpx.Client]]:
    """Clients of four processes that serve one organisation."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        scratch_organisation(server) as organisation,
        serving(organisation) as urls,
        ExitStack() as opened,
    ):
        clients = [
            httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) for url in urls
        ]
        yield [opened.enter_context(client) for client in clients]


class Worker(threading.Thread):
    """Creates, changes, reads and lists accounts at one server until told to stop."""

    def __init__(self, client: httpx.Client, name: str, done: threading.Event) -> None:
        super().__init__()
        self.client, self.prefix, self.done = client, name, done
        self.answers: Counter[int] = Counter()
        self.changes = 0
        self.account: dict[str, object] = {}

    def run(self) -> None:
        self.account = self._ask("POST", "/accounts", {"external_id": self.prefix, "name": "0"})
        while not self.done.is_set():
            path = f"/accounts/{self.account['id']}"
            self._ask("PATCH", path, {"name": str(self.changes + 1)})
            self.changes += 1
            record = self._ask("GET", path)
            assert record["name"] == str(self.changes)
            self._ask("GET", "/accounts?sort=-id&limit=5")
            self._ask("GET", "/invoices?limit=1")

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, object]:
        answer = self.client.request(method, path, json=body)
        self.answers[answer.status_code] += 1
        return dict(answer.json())


@pytest.mark.timeout(180)
def test_four_servers_answer_while_fields_are_added(servers: list[httpx.Client]) -> None:
    done = threading.Event()
    workers = [Worker(client, f"A{n}", done) for n, client in enumerate(servers)]
    for worker in workers:
        worker.start()
    for number in range(FIELDS):
        kind = "{kind: number, default: 7}" if number % 2 else "{kind: text, indexed: true}"
        change_set = f"change_set: Nr {number}\nfields: {{account: {{x_f{number}: {kind}}}}}\n"
        applied = servers[number % SERVERS].post(
            "/model/apply", content=change_set, headers={"content-type": "application/yaml"}
        )
        assert applied.status_code == 200, applied.text
        # Whatever process answers next knows the field at once.
        other = servers[(number + 1) % SERVERS]
        made = other.post("/accounts", json={"external_id": f"M{number}", "name": "M"})
        assert made.json()[f"x_f{number}"] == (7 if number % 2 else None)
        found = servers[(number + 2) % SERVERS].get(f"/accounts?x_f{number}__is_null=true&limit=1")
        assert found.status_code == 200, found.text
    deadline = time.monotonic() + 60
    while min(worker.changes for worker in workers) < 10 and time.monotonic() < deadline:
        done.wait(0.05)
    done.set()
    for worker in workers:
        worker.join()
    statuses = sum((worker.answers for worker in workers), Counter())
    assert set(statuses) == {200, 201}, statuses
    for worker in workers:
        record = servers[0].get(f"/accounts/{worker.account['id']}").json()
        assert (record["name"], record["row_version"]) == (
            str(worker.changes),
            worker.changes + 1,
        )
