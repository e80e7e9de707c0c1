"""Many processes that amend, bill, correct and pay the same accounts at the same time.

Nothing may go wrong by it: no period billed twice, no change lost, no deadlock answered, no gap in
the numbers, every account in balance. The time of each piece of work is measured meanwhile.
"""

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.contention_checks import find_violations
from bench.contention_work import DAYS, START, Done, Orders, begin_together, work
from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import Activation, activate_subscriptions
from counterfoil.business.usage.collectors import load_collector

HORIZON = START + timedelta(days=DAYS + 70)
NOW = datetime(START.year, START.month, START.day, tzinfo=UTC)
_PRICE_BOOK = """
products: [{id: conferencing, name: Conferencing}]
meters: [{id: units, name: Units, unit: unit}]
rate_plans:
  - id: rooms
    product: conferencing
    name: Rooms
    charges:
      - {id: rooms, name: Rooms, kind: recurring, timing: in_advance,
         prices: [{currency: USD, model: per_unit, amount: 249.95}]}
  - id: halls
    product: conferencing
    name: Halls
    charges:
      - {id: halls, name: Halls, kind: recurring, timing: in_arrears, alignment: anniversary,
         prices: [{currency: USD, model: per_unit, amount: 799.99}]}
  - id: units
    product: conferencing
    name: Units
    charges:
      - {id: units, name: Units, kind: usage, meter: units,
         prices: [{currency: USD, model: per_unit, amount: 0.25}]}
"""


@dataclass(frozen=True, slots=True)
class ContentionResult:
    """Pieces of work done, their 95th percentile in ms by kind and of all, refusals by code."""

    seconds: float
    done: int
    p95_ms: dict[str, float]
    refused: Counter[str]


def measure_contention(
    settings: Settings, processes: int, seconds: float, accounts: int
) -> ContentionResult:
    """Let so many processes work on the same accounts; RuntimeError with all that is wrong then."""
    with scratch_organisation(settings) as organisation:
        _make_accounts(organisation, accounts)
        done = _work_together(organisation, processes, seconds, accounts)
        end = NOW + timedelta(days=DAYS + 80)
        wrong = find_violations(organisation, done, accounts, HORIZON, end)
    if wrong:
        raise RuntimeError("\n".join(wrong[:30]))
    kinds = sorted({kind for one in done for kind in one.seconds})
    times = {kind: [s for one in done for s in one.seconds.get(kind, ())] for kind in kinds}
    every = [second for some in times.values() for second in some]
    return ContentionResult(
        seconds,
        len(every),
        {kind: _p95(some) for kind, some in ({"all": every} | times).items()},
        sum((one.refused for one in done), Counter()),
    )


def _make_accounts(organisation: Organisation, accounts: int) -> None:
    """Accounts with different days of the month, each with rooms, a hall and units."""
    book, problems = parse_price_book(_PRICE_BOOK, "bench/contention.py")
    if problems:
        raise RuntimeError(f"the price book is wrong: {problems}")
    numbers = range(1, accounts + 1)
    with organisation.database.transaction(now=NOW) as uow:
        save_price_book(uow, book)
        load_collector(uow, "cloudevents")
        names = [{"external_id": f"A{n}", "name": f"Customer {n}"} for n in numbers]
        ids = uow.create_many("account", names)
        profiles = [
            {
                "account_id": one,
                "currency": "USD",
                "cycle_day": n % 31 + 1,
                "grace_days": n % 9,
                "zero_amount": ("issue", "suppress", "carry")[n % 3],
            }
            for n, one in enumerate(ids)
        ]
        uow.create_many("billing_profile", profiles)
        activate_subscriptions(
            uow,
            [
                Activation(
                    external_id=f"{sort}{n}", account=f"A{n}", rate_plan=plan, start_date=START
                )
                for n in numbers
                for sort, plan in (("SR", "rooms"), ("SH", "halls"), ("U", "units"))
            ],
        )


def _work_together(
    organisation: Organisation, processes: int, seconds: float, accounts: int
) -> list[Done]:
    """All at once, each process with its own program and connections."""
    orders = [
        Orders(
            organisation.database.url,
            str(organisation.usage_store.folder),
            number,
            seconds,
            accounts,
        )
        for number in range(processes)
    ]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bench.contention_work"])
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, begin_together, (barrier,)) as pool:
        return list(pool.map(work, orders))


def _p95(seconds: list[float]) -> float:
    return 1000 * sorted(seconds)[int(len(seconds) * 0.95)] if seconds else 0.0
