"""A month of conference calls as the files such a company gets, with the defects of real life.

The bridge in Denver writes one CSV row per connection, in its local time; the self-service
platform writes nested JSON lines in UTC. Both deliver a file per week. The writer notes how
many defects of each kind it planted, so that an import can be checked record by record.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import NamedTuple

from counterfoil.interfaces.demo.organisation import DemoAccount, DemoOrganisation
from counterfoil.interfaces.demo.parameters import month_after, month_before

RECORDS_PER_ACCOUNT = 170
"""Connections of an average account in a month, about eight minutes each."""

PLATFORM_SHARE = 0.2
"""Share of the connections made on the self-service platform."""

DEFECT_SHARE = 0.005
"""Share of the records that carry a defect, all kinds together."""

DEFECTS = (
    "duplicate",
    "unknown_subscriber",
    "negative_duration",
    "absurd_duration",
    "unparsable_time",
    "unknown_service",
    "late_arrival",
)
"""The kinds of defect; late arrivals are good usage of the month before, the others are not."""

BRIDGE = "bridge-denver"
PLATFORM = "self-service-platform"
"""External ids of the collectors the files are for."""

_BRIDGE_SERVICES = (("PRM", 20), ("STD", 40), ("UNA", 25), ("INS", 15))
_PLATFORM_SERVICES = (("UNA", 60), ("INS", 40))
_ACCESS = {
    "PRM": (("DO", 30), ("TF", 45), ("TL", 25)),
    "STD": (("DO", 25), ("TF", 45), ("TL", 30)),
    "UNA": (("TF", 60), ("TL", 40)),
    "INS": (("DO", 20), ("TF", 45), ("TL", 35)),
}
_PLATFORM_WORDS = {
    "UNA": "unattended",
    "INS": "instant",
    "DO": "dial-out",
    "TF": "toll-free",
    "TL": "toll",
}
_BRIDGE_COLUMNS = (
    "record_id", "bridge", "conference_id", "account_code", "service", "access", "start_local",
    "duration_s", "participant", "site",
)  # fmt: skip
_EVENT_CALL_SHARE = 0.0016  # operator-attended event calls among conferences
_DAYS_PER_FILE = 7
_ABSURD_SECONDS = 40_000_000


class Connection(NamedTuple):
    """One participant's connection to a conference; ``start`` is naive, local to the source."""

    start: datetime
    conference: int
    account_code: str
    service: str
    access: str
    seconds: int
    participant: str
    site: str


@dataclass(frozen=True, slots=True)
class UsageFile:
    """A written file: its path, the collector that reads it, and its number of records."""

    path: Path
    collector: str
    records: int


@dataclass(slots=True)
class Planted:
    """What was written: records and defects by kind (of duplicates, how many in other files)."""

    records: int = 0
    defects: dict[str, int] = field(default_factory=dict)
    duplicates_across_files: int = 0


def bridge_code(index: int) -> str:
    """Account code on the bridge of the organisation's ``index``-th account."""
    return f"{4_100_003 + 7 * index}"


def platform_tenant(account: DemoAccount) -> str:
    """Name of an account on the self-service platform."""
    return f"tenant-{account.external_id.lower()}"


def write_usage_files(
    organisation: DemoOrganisation, month: date, seed: int, folder: Path
) -> tuple[list[UsageFile], dict[str, Planted]]:
    """Write the month's files into ``folder``; returns them and what was planted, by collector.

    Files are written under another name and renamed, so that a file is whole or absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files: list[UsageFile] = []
    planted: dict[str, Planted] = {}
    total = len(organisation.accounts) * RECORDS_PER_ACCOUNT
    for source, share in ((_BRIDGE_SOURCE, 1 - PLATFORM_SHARE), (_PLATFORM_SOURCE, PLATFORM_SHARE)):
        rng = Random(f"{source.collector} {month} {seed}")  # noqa: S311 - demo data
        connections = _conferences(rng, organisation, month, round(total * share), source)
        weeks, planted[source.collector] = _deliver(rng, connections, month, source)
        for number, lines in enumerate(weeks, start=1):
            name = f"{source.collector}-{month:%Y-%m}-week{number}.{source.suffix}"
            _write(folder / name, source.heading + "".join(lines))
            files.append(UsageFile(folder / name, source.collector, len(lines)))
    return files, planted


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".tmp")
    draft.write_text(text, encoding="utf-8", newline="")
    draft.replace(path)


def _conferences(
    rng: Random, organisation: DemoOrganisation, month: date, count: int, source: "_Source"
) -> list[Connection]:
    """About ``count`` connections of the month in order of their start."""
    accounts = organisation.accounts
    indexes = range(len(accounts))
    activity = list(accumulate(rng.lognormvariate(0, 0.9) for _ in accounts))
    days = [month + timedelta(days=n) for n in range((month_after(month) - month).days)]
    day_weights = list(accumulate(8 if day.weekday() < 5 else 1 for day in days))
    services = [service for service, _ in source.services]
    service_weights = [weight for _, weight in source.services]
    connections: list[Connection] = []
    conference = 0
    while len(connections) < count:
        index = rng.choices(indexes, cum_weights=activity)[0]
        day = rng.choices(days, cum_weights=day_weights)[0]
        quarters = int(rng.triangular(0, 48, 14))
        start = datetime.combine(day, time(7)) + timedelta(minutes=15 * quarters)
        service = rng.choices(services, service_weights)[0]
        account = accounts[index]
        code = source.account_code(index, account)
        site = rng.choice(organisation.sites_of[account.external_id]).external_id
        conference += 1
        size = min(2 + int(rng.expovariate(0.4)), 40)
        if source.event_calls and rng.random() < _EVENT_CALL_SHARE:
            service, size = "PRM", rng.randint(30, 80)
            length = rng.randint(1800, 5400)
            connections += [
                Connection(start, conference, code, "EVT", part, length, "operator", site)
                for part in ("SETUP", "REC")
            ]
        connections += _connections(rng, start, conference, code, service, size, site)
    connections.sort()
    return connections


def _connections(
    rng: Random, start: datetime, conference: int, code: str, service: str, size: int, site: str
) -> list[Connection]:
    words, weights = zip(*_ACCESS[service], strict=True)
    ways = rng.choices(words, weights, k=size)
    return [
        Connection(
            start + timedelta(seconds=int(rng.random() * 240)),
            conference,
            code,
            service,
            way,
            15 + int(rng.expovariate(1 / 480)) if rng.random() < 0.97 else 60 * rng.randint(1, 90),
            f"guest {number}" if number else "host",
            site,
        )
        for number, way in enumerate(ways)
    ]


def _deliver(
    rng: Random, connections: list[Connection], month: date, source: "_Source"
) -> tuple[list[list[str]], Planted]:
    """The connections as lines of weekly files, defects planted."""
    count = max(1, round(len(connections) * DEFECT_SHARE / len(DEFECTS)))
    calls = [n for n, connection in enumerate(connections) if connection.service != "EVT"]
    chosen = rng.sample(calls, count * len(DEFECTS))
    defect_of = {index: DEFECTS[n // count] for n, index in enumerate(chosen)}
    planted = Planted(len(connections), dict.fromkeys(DEFECTS, count))
    weeks: list[list[str]] = [
        [] for _ in range(-(-(month_after(month) - month).days // _DAYS_PER_FILE))
    ]
    render = source.renderer(month)
    for index, connection in enumerate(connections):
        week = (connection.start.day - 1) // _DAYS_PER_FILE
        defect = defect_of.get(index)
        if defect == "late_arrival":
            connection = _month_earlier(connection, month)
        line = render(index + 1, connection, defect)
        weeks[week].append(line)
        if defect == "duplicate":
            next_week = min(week + rng.randint(0, 1), len(weeks) - 1)
            weeks[next_week].append(line)
            planted.records += 1
            planted.duplicates_across_files += next_week != week
    return weeks, planted


def _month_earlier(connection: Connection, month: date) -> Connection:
    earlier = month_before(month)
    day = min(max(connection.start.day, 3), 26)
    return connection._replace(
        start=connection.start.replace(year=earlier.year, month=earlier.month, day=day)
    )


def _bridge_renderer(month: date) -> Callable[[int, Connection, str | None], str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")

    def render(number: int, connection: Connection, defect: str | None) -> str:
        start = connection.start.isoformat(sep=" ")
        code, service, seconds = connection.account_code, connection.service, connection.seconds
        if defect == "unknown_subscriber":
            code = f"99{code}"
        elif defect == "unparsable_time":
            start = f"{start[:8]}3I {start[11:]}"
        elif defect == "unknown_service":
            service = "VRX"
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(
            (
                f"DEN-{month:%y%m}-{number:07}",
                "DEN-1" if connection.conference % 3 else "DEN-2",
                f"{month:%y%m}{connection.conference:06}",
                code,
                service,
                connection.access,
                start,
                _spoilt_seconds(seconds, defect),
                connection.participant,
                connection.site,
            )
        )
        return buffer.getvalue()

    return render


def _spoilt_seconds(seconds: int, defect: str | None) -> int:
    if defect == "negative_duration":
        return -seconds
    if defect == "absurd_duration":
        return seconds + _ABSURD_SECONDS
    return seconds


def _platform_renderer(month: date) -> Callable[[int, Connection, str | None], str]:
    def render(number: int, connection: Connection, defect: str | None) -> str:
        tenant, joined = connection.account_code, f"{connection.start.isoformat()}Z"
        plan = _PLATFORM_WORDS[connection.service]
        if defect == "unknown_subscriber":
            tenant = f"trial-{tenant}"
        elif defect == "unparsable_time":
            joined = "yesterday afternoon"
        elif defect == "unknown_service":
            plan = "webinar"
        document = {
            "eventId": f"ssp-{month:%y%m}-{number:07}",
            "tenant": tenant,
            "meeting": {
                "id": f"m{month:%y%m}{connection.conference:06}",
                "plan": plan,
                "access": _PLATFORM_WORDS[connection.access],
                "site": connection.site,
            },
            "leg": {
                "joined": joined,
                "seconds": _spoilt_seconds(connection.seconds, defect),
                "participant": connection.participant,
            },
        }
        return json.dumps(document, separators=(",", ":")) + "\n"

    return render


@dataclass(frozen=True, slots=True)
class _Source:
    """One of the two systems that deliver files."""

    collector: str
    suffix: str
    heading: str
    services: tuple[tuple[str, int], ...]
    event_calls: bool
    account_code: Callable[[int, DemoAccount], str]
    renderer: Callable[[date], Callable[[int, Connection, str | None], str]]


_BRIDGE_SOURCE = _Source(
    BRIDGE,
    "csv",
    ",".join(_BRIDGE_COLUMNS) + "\n",
    _BRIDGE_SERVICES,
    event_calls=True,
    account_code=lambda index, _account: bridge_code(index),
    renderer=_bridge_renderer,
)
_PLATFORM_SOURCE = _Source(
    PLATFORM,
    "jsonl",
    "",
    _PLATFORM_SERVICES,
    event_calls=False,
    account_code=lambda _index, account: platform_tenant(account),
    renderer=_platform_renderer,
)
