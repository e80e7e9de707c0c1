"""Records over REST: clients that read and write while fields are added to what they write.

Every answer is checked: no server error, and no update lost. A counter in a custom field is raised
by all clients with ``If-Match``; in the end it stands at the number of raises that were answered.
"""

import itertools
import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection

from bench.company import NOW
from bench.ingest import TOKEN, port_of, start_server
from counterfoil.bootstrap import Settings, scratch_organisation

CLIENTS = 16
ACCOUNTS = 2_000
COUNTERS = 20
ROWS_PER_BULK = 100
SECONDS_BETWEEN_FIELDS = 2.0

Latencies = dict[str, list[float]]


@dataclass(slots=True)
class Tally:
    """What one client has seen: seconds of each request by kind, and the raises answered."""

    seconds: Latencies = field(default_factory=lambda: {"read": [], "write": []})
    raises: int = 0
    conflicts: int = 0


@dataclass(frozen=True, slots=True)
class RestResult:
    """What all clients have seen in so many seconds."""

    seconds: float
    requests: int
    read_p95_ms: float
    write_p95_ms: float
    raises: int
    conflicts: int
    fields_added: int


class Client:
    """One caller on a connection of its own."""

    def __init__(self, port: int, number: int) -> None:
        self.tally = Tally()
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._chance = random.Random(number)
        self._number = number

    def work(self, until: float) -> Tally:
        """Read three times as often as write, until the time has come."""
        with closing(self._connection):
            for turn in itertools.count():
                if time.perf_counter() >= until:
                    return self.tally
                if turn % 4 < 3:
                    self._read(turn % 4)
                elif turn % 16 < 15:
                    self._raise_counter()
                else:
                    self._write_many(turn)
        return self.tally

    def ask(
        self, method: str, path: str, body: object = None, tag: str = ""
    ) -> tuple[int, dict[str, object], str]:
        """One request: status, the JSON answered, and its ETag; a server error ends all."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        headers |= {"If-Match": tag} if tag else {}
        text = None if body is None else json.dumps(body)
        begin = time.perf_counter()
        self._connection.request(method, f"/api/v1{path}", text, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        writing = method == "PATCH" or path.endswith("/bulk")
        self.tally.seconds["write" if writing else "read"].append(time.perf_counter() - begin)
        if answer.status >= 500:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return answer.status, json.loads(content or b"{}"), answer.headers.get("ETag", "")

    def _read(self, kind: int) -> None:
        number = self._chance.randrange(1, ACCOUNTS)
        if kind == 0:
            self.ask("GET", f"/accounts/{number}")
        elif kind == 1:
            self.ask("GET", f"/accounts?name__contains={number}&sort=-name&limit=20")
        else:
            where = {"field": "parent.external_id", "value": f"A-{number % COUNTERS}"}
            query = {"where": where, "fields": ["name", "parent.name"], "limit": 20}
            self.ask("POST", "/accounts/query", query)

    def _raise_counter(self) -> None:
        account = self._chance.randrange(1, COUNTERS + 1)
        while True:
            _, record, tag = self.ask("GET", f"/accounts/{account}")
            counted = int(str(record["x_counter"] or 0))
            change = {"x_counter": counted + 1}
            status, _, _ = self.ask("PATCH", f"/accounts/{account}", change, tag)
            if status == 200:
                self.tally.raises += 1
                return
            self.tally.conflicts += 1

    def _write_many(self, turn: int) -> None:
        rows = [
            {"external_id": f"B-{number}", "name": f"{self._number} in turn {turn}"}
            for number in self._chance.sample(range(1_000), ROWS_PER_BULK)
        ]
        body = {"operation": "upsert", "by": "external_id", "records": rows}
        status, answer, _ = self.ask("POST", "/accounts/bulk", body)
        if status != 200:
            raise RuntimeError(f"{status}: {answer}")


def measure_rest(settings: Settings, seconds: float) -> RestResult:
    """Let the clients work for so long while fields are added, and look for what was lost."""
    with scratch_organisation(settings) as organisation:
        with organisation.database.transaction(now=NOW) as uow:
            rows = [{"external_id": f"A-{n}", "name": f"Account {n}"} for n in range(ACCOUNTS)]
            ids = uow.create_many("account", rows)
            below = [(one, {"parent_id": ids[n % COUNTERS]}) for n, one in enumerate(ids)]
            uow.update_many("account", below[COUNTERS:])
        server = start_server(organisation)
        try:
            port = port_of(server)
            _add_field(port, "x_counter")
            begin = time.perf_counter()
            until = begin + seconds
            clients = [Client(port, number) for number in range(CLIENTS)]
            with ThreadPoolExecutor(CLIENTS + 1) as pool:
                adding = pool.submit(lambda: sum(_add_fields(port, until)))
                tallies = list(pool.map(lambda client: client.work(until), clients))
                fields_added = adding.result()
            took = time.perf_counter() - begin
        finally:
            server.terminate()
            server.wait()
        with organisation.database.transaction(now=NOW) as uow:
            counted = uow.query("SELECT sum(x_counter) AS n FROM account")[0]["n"]
    raises = sum(tally.raises for tally in tallies)
    if int(counted or 0) != raises:
        raise RuntimeError(f"{raises} raises were answered, the counters stand at {counted}")
    return _result(tallies, took, raises, fields_added)


def _result(tallies: list[Tally], took: float, raises: int, fields_added: int) -> RestResult:
    reads = sorted(one for tally in tallies for one in tally.seconds["read"])
    writes = sorted(one for tally in tallies for one in tally.seconds["write"])
    return RestResult(
        seconds=took,
        requests=len(reads) + len(writes),
        read_p95_ms=1000 * reads[int(len(reads) * 0.95)],
        write_p95_ms=1000 * writes[int(len(writes) * 0.95)],
        raises=raises,
        conflicts=sum(tally.conflicts for tally in tallies),
        fields_added=fields_added,
    )


def _add_fields(port: int, until: float) -> Iterator[int]:
    """A further custom field every other second."""
    for number in itertools.count(1):
        if time.perf_counter() + SECONDS_BETWEEN_FIELDS / 2 >= until:
            return
        _add_field(port, f"x_field_{number}")
        yield 1
        time.sleep(SECONDS_BETWEEN_FIELDS)


def _add_field(port: int, name: str) -> None:
    content = f"change_set: {name}\nfields: {{account: {{{name}: {{kind: number}}}}}}\n"
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/yaml"}
        connection.request("POST", "/api/v1/model/apply", content, headers)
        answer = connection.getresponse()
        text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{name} was not added: {answer.status} {text[:500]!r}")
