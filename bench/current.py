"""How long one account waits: current charges, preview and explanation, among many accounts.

Two accounts have many events in the period, the one compacted, the other in segments that came just
now, among segments of everybody else. Each answer is asked for again and again in one process, as
a server does; the 95th percentile counts.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.company import BILLING_DATE, METERS, NOW, add_usage, make_company
from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.billing.commands import run_bills
from counterfoil.business.billing.current import current_charges
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.store import EVENT_SCHEMA
from counterfoil.platform.engine.duck import open_engine

COMPACTED, FRESH, ORDINARY = 7, 8, 11
"""Numbers of the accounts that are asked for; the first two have many events."""
FRESH_SEGMENTS = 10
OTHER_SEGMENTS = 50
OTHER_EVENTS = 2_000
_WARM_UP = 3

# Accounts have the number of their subscription for minutes; see bench/company.py.
_EVENTS = """
SELECT 'bench' AS source, '{name}' || i AS event_id,
       TIMESTAMP '2026-10-01 08:00' + to_seconds(CAST(hash(i, 1) % 2592000 AS BIGINT)) AS time,
       CAST({subscription} AS BIGINT) AS subscription_id,
       CAST([{meters}][CAST(hash(i, 3) % 3 + 1 AS BIGINT)] AS BIGINT) AS meter_id,
       CAST(hash(i, 4) % 3600 + 1 AS DECIMAL(38,15)) AS quantity,
       {batch}::BIGINT AS batch_id, i AS line, '{{}}' AS attributes
FROM range({events}) t(i)
"""


@dataclass(frozen=True, slots=True)
class CurrentResult:
    """Milliseconds at the 95th percentile, and what was there."""

    accounts: int
    events: int
    current: float
    current_fresh: float
    preview: float
    preview_fresh: float
    explain: float


def measure_current(settings: Settings, accounts: int, events: int, rounds: int) -> CurrentResult:
    """Ask for accounts with so many events in the period, in a company of so many accounts."""
    with scratch_organisation(settings) as organisation:
        make_company(organisation, accounts)
        add_usage(organisation, accounts)
        _add_events(organisation, "compacted", str(COMPACTED), events)
        compact(organisation.database, organisation.usage_store, now=NOW)
        for number in range(FRESH_SEGMENTS):
            _add_events(organisation, f"fresh-{number}-", str(FRESH), events // FRESH_SEGMENTS)
        for number in range(OTHER_SEGMENTS):
            everybody = f"hash(i, {number}) % {accounts} + 1"
            _add_events(organisation, f"other-{number}-", everybody, OTHER_EVENTS)
        return CurrentResult(
            accounts,
            events,
            current=_percentile(lambda: _current(organisation, COMPACTED), rounds),
            current_fresh=_percentile(lambda: _current(organisation, FRESH), rounds),
            preview=_percentile(lambda: _preview(organisation, COMPACTED), rounds),
            preview_fresh=_percentile(lambda: _preview(organisation, FRESH), rounds),
            explain=_percentile(_explanation(organisation), rounds),
        )


def _add_events(organisation: Organisation, name: str, subscription: str, events: int) -> None:
    """One fresh segment, as the import of a file leaves it; compacted later or not."""
    store = organisation.usage_store
    with organisation.database.transaction(now=NOW) as uow, open_engine() as engine:
        meters = uow.ids_by("meter", "external_id", METERS)
        batch = int(uow.query("SELECT min(id) AS id FROM usage_batch")[0]["id"])
        select = _EVENTS.format(
            name=name,
            subscription=subscription,
            meters=", ".join(str(meters[meter]) for meter in METERS),
            batch=batch,
            events=events,
        )
        with store.writing() as writer:
            writer.append(engine.arrow(select).cast(EVENT_SCHEMA))
        store.publish(uow, writer.files, batch_id=batch, first_only=True)


def _name(number: int) -> str:
    return f"A{number:07d}"


def _current(organisation: Organisation, number: int) -> None:
    database, store = organisation.database, organisation.usage_store
    # The last day of the month that is measured: all its events are there.
    asked = NOW.replace(month=10, day=31)
    found = current_charges(database, store, _name(number), now=asked)
    if found.problems or not found.running:
        raise RuntimeError(f"nothing is running: {found.problems}")


def _preview(organisation: Organisation, number: int) -> None:
    database, store = organisation.database, organisation.usage_store
    found = preview_invoice(database, store, _name(number), BILLING_DATE, now=NOW)
    if found.problems or found.invoice is None:
        raise RuntimeError(f"nothing is due: {found.problems}")


def _explanation(organisation: Organisation) -> Callable[[], None]:
    database, store = organisation.database, organisation.usage_store
    run_bills(database, store, BILLING_DATE, now=NOW, accounts=[ORDINARY])
    with database.transaction(now=NOW) as uow:
        line = uow.query(
            "SELECT l.id FROM invoice_line l JOIN rated_charge r ON r.id = l.rated_charge_id "
            "WHERE r.kind = 'usage' ORDER BY l.id LIMIT 1"
        )[0]["id"]

    def explain() -> None:
        with database.transaction(now=NOW) as uow:
            if not explain_line(uow, store, int(line)).events:
                raise RuntimeError("an explanation without events")

    return explain


def _percentile(ask: Callable[[], None], rounds: int) -> float:
    """The 95th percentile of some rounds, in milliseconds."""
    seconds: list[float] = []
    for number in range(_WARM_UP + rounds):
        begin = time.perf_counter()
        ask()
        if number >= _WARM_UP:
            seconds.append(time.perf_counter() - begin)
    return _ninety_fifth(seconds) * 1000


def _ninety_fifth(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]
