"""Usage records taken in per second: from a file, and over HTTP in batches of CloudEvents.

Both are durable when the clock stops, and an event that came before counts once.
"""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, SimpleQueue

from bench.company import METERS, NOW, make_company
from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.usage.commands import import_file
from counterfoil.business.usage.compaction import compact
from counterfoil.platform.engine.duck import open_engine

ACCOUNTS = 1000
EVENTS_PER_REQUEST = 1000
CLIENTS = 4

_COLLECTOR = {
    "format": "csv",
    "source": "bridge/denver",
    "time_zone": "America/Denver",
    "time_formats": ["%Y-%m-%d %H:%M:%S"],
    "fields": {
        "event_id": "record_id",
        "time": "start_local",
        "identifier": "account_code",
        "quantity": "duration_s",
        "meter": {
            "template": "{service}/{access}",
            "map": dict(zip(("PRM/DO", "PRM/TF", "PRM/TL"), METERS, strict=True)),
        },
    },
    "maximum_quantity": 86400,
}

# One row per connection of a conference bridge; every thousandth stands in the file twice.
_RECORDS = """
COPY (
    SELECT printf('DEN-2610-%08d', n) AS record_id, 'DEN-' || (n % 2 + 1) AS bridge,
           n // 6 AS conference_id, 4100003 + 7 * (n % {accounts} + 1) AS account_code,
           'PRM' AS service, ['DO', 'TF', 'TL'][n % 3 + 1] AS access,
           strftime(TIMESTAMP '2026-10-01' + to_seconds(n * 7919 % 2592000), '%Y-%m-%d %H:%M:%S')
               AS start_local,
           n * 31 % 3600 + 1 AS duration_s, '+1303555' || printf('%04d', n % 10000) AS participant,
           'Site ' || n % 40 AS site
    FROM (SELECT CASE WHEN i % 1000 = 999 THEN i - 500 ELSE i END AS n FROM range({records}) t(i))
) TO '{path}' (FORMAT csv, HEADER)
"""


@dataclass(frozen=True, slots=True)
class FileResult:
    """Seconds to import a file of so many records and, apart from that, to compact it."""

    records: int
    megabytes: float
    seconds: float
    compact_seconds: float


@dataclass(frozen=True, slots=True)
class HttpResult:
    """Seconds from the first request to the last answer."""

    events: int
    clients: int
    seconds: float


def measure_file(settings: Settings, records: int) -> FileResult:
    """Import a CSV file of a conference bridge's call records."""
    with scratch_organisation(settings) as organisation:
        make_company(organisation, ACCOUNTS)
        with organisation.database.transaction(now=NOW) as uow:
            uow.create(
                "collector", {"external_id": "bridge", "name": "Bridge", "definition": _COLLECTOR}
            )
        path = organisation.home / "bridge.csv"
        with open_engine() as engine:
            engine.run(_RECORDS.format(accounts=ACCOUNTS, records=records, path=path))
        begin = time.perf_counter()
        summary = import_file(
            organisation.database, organisation.usage_store, "bridge", path, now=NOW
        )
        imported = time.perf_counter()
        compact(organisation.database, organisation.usage_store, now=NOW)
        compacted = time.perf_counter()
        size = path.stat().st_size / 1e6
    if (summary.accepted, summary.duplicate) != (records - records // 1000, records // 1000):
        raise RuntimeError(f"not what was in the file: {summary}")
    return FileResult(records, size, imported - begin, compacted - imported)


def measure_http(settings: Settings, events: int) -> HttpResult:
    """Post events in batches to a server in a process of its own, with threads as clients."""
    with scratch_organisation(settings) as organisation:
        make_company(organisation, ACCOUNTS)
        bodies: SimpleQueue[bytes] = SimpleQueue()
        for start in range(0, events, EVENTS_PER_REQUEST):
            bodies.put(_body(start, min(start + EVENTS_PER_REQUEST, events)))
        server = start_server(organisation)
        try:
            port = port_of(server)
            _post(port, _body(-1, 0))
            begin = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                accepted = sum(pool.map(lambda _: _client(port, bodies), range(CLIENTS)))
            seconds = time.perf_counter() - begin
        finally:
            server.terminate()
            server.wait()
    if accepted != events:
        raise RuntimeError(f"{accepted} of {events} events were accepted")
    return HttpResult(events, CLIENTS, seconds)


def _body(start: int, end: int) -> bytes:
    return json.dumps(
        [
            {
                "specversion": "1.0",
                "id": f"call-{number}",
                "source": "/bridges/den-1",
                "type": METERS[number % 3],
                "subject": str(4_100_003 + 7 * (number % ACCOUNTS + 1)),
                "time": f"2026-10-{number % 28 + 1:02}T{number % 24:02}:{number % 60:02}:00Z",
                "data": {"quantity": number * 31 % 3600 + 1},
            }
            for number in range(start, end)
        ],
        separators=(",", ":"),
    ).encode()


TOKEN = "correct horse battery staple"
_ADDRESS = re.compile(r"answers on http://127\.0\.0\.1:(\d+)")


def start_server(organisation: Organisation) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "COUNTERFOIL_HOME": str(organisation.home),
        "COUNTERFOIL_DATABASE_URL": organisation.database.url,
        "COUNTERFOIL_ADMIN_TOKEN": TOKEN,
        "PYTHONUNBUFFERED": "1",
    }
    program = Path(sys.executable).with_name("counterfoil")
    return subprocess.Popen(
        [str(program), "serve", "--port", "0"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def port_of(server: subprocess.Popen[str]) -> int:
    for line in server.stdout or ():
        found = _ADDRESS.search(line)
        if found:
            return int(found[1])
    raise RuntimeError("the server did not start")


def _client(port: int, bodies: SimpleQueue[bytes]) -> int:
    """Post bodies over one connection until there are none; how many events were accepted."""
    connection = HTTPConnection("127.0.0.1", port)
    accepted = 0
    try:
        while True:
            accepted += _send(connection, bodies.get_nowait())
    except Empty:
        return accepted
    finally:
        connection.close()


def _post(port: int, body: bytes) -> None:
    """The first request, which makes the collector: before the clock starts."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    _send(connection, body)
    connection.close()


def _send(connection: HTTPConnection, body: bytes) -> int:
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/cloudevents-batch+json",
    }
    connection.request("POST", "/api/v1/usage/events", body, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {text[:500]!r}")
    return int(json.loads(text)["accepted"])
