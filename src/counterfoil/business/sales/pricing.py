"""What a quote comes to: the bills that its subscriptions would get, made and undone.

Within a savepoint the quote becomes what it would become when accepted: account, discounts,
subscriptions, and the usage that is expected. Then bill runs are made one after the other, over the
whole term, and all is undone but what was read of it.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import cast

import msgspec
import pyarrow as pa

from counterfoil.business.billing.prospects import (
    begin_prospects,
    bill_prospects,
    end_prospects,
    next_billing_day,
    read_prospects,
)
from counterfoil.business.orders.activation import begin_lines
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.products.agreed_prices import both_off
from counterfoil.business.sales.agreements import agree_discounts, order_of
from counterfoil.business.sales.leads import Conversion, convert_leads
from counterfoil.business.sales.queries import Quote, read_quotes
from counterfoil.business.subscriptions.invoicing import profiles_of, who_is_billed
from counterfoil.business.usage.store import EVENT_SCHEMA, UsageStore, count_beside
from counterfoil.core.money.written import without_zeros
from counterfoil.core.periods.cadence import Cadence, cycle_start
from counterfoil.core.periods.zones import local_midnight
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

SERVED = ("one_time", "recurring", "usage")
NOON = timedelta(hours=12)
_SMALLEST = Decimal(1).scaleb(-15)


@dataclass(frozen=True, slots=True)
class _Billed:
    """What was billed in the rehearsal: rows of billing.prospects, the line (id) of each
    subscription, the ids of the quote's own discounts, the first days of billing, and by line what
    its agreed prices take off, in percent."""

    rows: list[Record]
    lines: Mapping[int, int]
    discounts: frozenset[int]
    days: tuple[date, ...]
    agreed: Mapping[int, Decimal]


def price_quotes(uow: UnitOfWork, store: UsageStore, ids: Sequence[int]) -> None:
    """Compute quotes (ids) and store their amounts, and their counterfoil by charge.

    The number of statements does not grow with the lines of a quote. Refuses (422) what cannot be
    billed, such as a rate plan without a price in the currency.
    """
    for quote in read_quotes(uow, ids):
        with uow.rehearsed(), tempfile.TemporaryDirectory() as folder:
            billed = _bill(uow.unrestricted(), store, quote, Path(folder))
        _save(uow, quote, billed)


def _bill(uow: UnitOfWork, store: UsageStore, quote: Quote, folder: Path) -> _Billed:
    name = quote.account
    if name is None:
        (made,) = convert_leads(uow, [Conversion(lead=str(quote.lead))])
        name = made.account
    account = who_is_billed(uow, name)
    if account.currency != quote.row["currency"]:
        message = f"{name} is billed in {account.currency}, the quote is in {quote.row['currency']}"
        raise Refused(Problem("other_currency", message, "currency", (account.currency,)))
    holder = uow.ids_by("account", "external_id", [name])[name]
    discounts = agree_discounts(uow, [(quote, holder)])
    agreed = _begin(uow, quote, name)
    subscriptions = list(agreed)
    lines = dict(zip(subscriptions, quote.lines, strict=True))
    _expect_usage(uow, lines, account.time_zone, folder)
    starts = [line["start_date"] for line in quote.lines]
    ends = {one: _end(line) for one, line in lines.items()}
    of = begin_prospects(uow, account.id, subscriptions, min(starts))
    days = [min(starts)]
    cycle_day = int(profiles_of(uow, subscriptions[:1])[subscriptions[0]]["cycle_day"])
    following = next_billing_day(uow, of, days[0], cycle_day)
    if following is not None and following <= max(ends.values()):
        days.append(following)
    for day in days:
        bill_prospects(uow, store, of, day)
    end_prospects(uow, ends)
    bill_prospects(uow, store, of, max(ends.values()) + timedelta(days=1))
    rows = read_prospects(uow, of)
    by_subscription = {one: int(line["id"]) for one, line in lines.items()}
    taken_off = {by_subscription[one]: percent for one, percent in agreed.items()}
    return _Billed(rows, by_subscription, frozenset(discounts), tuple(days), taken_off)


_BEGUN = "SELECT id FROM order_line WHERE order_id = :id ORDER BY position"

_SUBSCRIPTIONS = """
SELECT subscription_id AS id, discount_percent FROM order_line
WHERE order_id = :id ORDER BY position
"""


def _begin(uow: UnitOfWork, quote: Quote, account: str) -> dict[int, Decimal]:
    """Place the order that the quote would become and carry it out; the ids of the subscriptions,
    line by line, each with what its agreed prices take off, in percent."""
    order = order_of(quote, account, quote.row["start_date"])
    (placed,) = place_orders(uow, [order])
    lines = [int(row["id"]) for row in uow.query(_BEGUN, id=placed.id)]
    begin_lines(uow, lines, done={})
    rows = uow.query(_SUBSCRIPTIONS, id=placed.id)
    return {int(row["id"]): row["discount_percent"] for row in rows}


def _end(line: Record) -> date:
    """The first day after the term of a line."""
    return cycle_start(line["start_date"], Cadence("month", int(line["term_months"])), 1)


def _expect_usage(
    uow: UnitOfWork, lines: Mapping[int, Record], time_zone: str, folder: Path
) -> None:
    """Let the usage that is expected have come, on the first day of every month of the terms."""
    rows = [
        row
        for subscription, line in lines.items()
        for row in expected_events(line, subscription, time_zone)
    ]
    if not rows:
        return
    with UsageStore(folder).writing() as writer:
        writer.append(pa.Table.from_pylist(rows, EVENT_SCHEMA))
    count_beside(uow, writer.files)


def expected_events(line: Record, subscription: int, time_zone: str) -> Iterable[Record]:
    """The events that a line of a quote expects, of a subscription (id): columns of the store."""
    month = Cadence("month", 1)
    for estimate in line["estimates"]:
        count = int(estimate["events"])
        part = (estimate["quantity"] / count).quantize(_SMALLEST, ROUND_DOWN)
        parts = [part] * (count - 1) + [estimate["quantity"] - part * (count - 1)]
        attributes = msgspec.json.encode(estimate["attributes"] or {}).decode()
        for number in range(int(line["term_months"])):
            day = cycle_start(line["start_date"], month, number)
            noon = local_midnight(day, time_zone) + NOON
            for place, quantity in enumerate(parts):
                yield {
                    "source": "quote",
                    "event_id": f"{line['id']}-{estimate['id']}-{number}-{place}",
                    "time": noon.astimezone(UTC).replace(tzinfo=None),
                    "subscription_id": subscription,
                    "meter_id": estimate["meter_id"],
                    "quantity": quantity,
                    "batch_id": None,
                    "line": place + 1,
                    "attributes": attributes,
                }


def cycle_word(row: Record) -> str:
    """How long a cycle of a charge is: once, month, 3 months."""
    if row["charge_kind"] == "one_time":
        return "once"
    unit, count = row["period_unit"], int(row["period_count"])
    return str(unit) if count == 1 else f"{count} {unit}s"


def _standard(rows: Sequence[Record]) -> list[Record]:
    """The rows of one cycle of each charge: of its first full cycle, or else its longest; with
    what applies to them."""
    cycles: dict[tuple[int, int], dict[date, list[Record]]] = {}
    for row in rows:
        if row["kind"] in SERVED:
            of_charge = cycles.setdefault((row["subscription_id"], row["charge_id"]), {})
            of_charge.setdefault(row["cycle_start"], []).append(row)
    chosen: set[int] = set()
    for of_charge in cycles.values():
        full = [start for start, parts in of_charge.items() if _is_full(parts)]
        first = min(full) if full else max(of_charge, key=lambda one: _days(of_charge[one]))
        chosen |= {row["id"] for row in of_charge[first]}
    return [row for row in rows if row["id"] in chosen or row["applies_to_id"] in chosen]


def _is_full(parts: Sequence[Record]) -> bool:
    return bool(
        min(row["service_start"] for row in parts) == parts[0]["cycle_start"]
        and max(row["service_end"] for row in parts) == parts[0]["cycle_end"]
    )


def _days(parts: Sequence[Record]) -> int:
    return sum(int(row["days"]) for row in parts)


def _save(uow: UnitOfWork, quote: Quote, billed: _Billed) -> None:
    standard = _standard(billed.rows)
    of_lines = _line_amounts(quote, billed, standard)
    uow.update_many("quote_line", of_lines, by_command=True)
    uow.execute(
        "DELETE FROM quote_charge WHERE quote_line_id = ANY(:lines)",
        lines=[line["id"] for line in quote.lines],
    )
    expected = _charges(billed, standard)
    unexpected = _unexpected(uow, quote, expected)
    uow.create_many("quote_charge", [*expected, *unexpected], by_command=True)
    own = [row for row in billed.rows if row["discount_id"] in billed.discounts]
    value = _total(billed.rows)
    uow.update(
        "quote",
        quote.id,
        {
            "one_off": _total(row for row in standard if row["charge_kind"] == "one_time"),
            "discount_percent": max(line["given_percent"] for _, line in of_lines),
            "contract_value": value,
            "list_value": value - _total(own),
            "per_cycle": _per_cycle(standard),
            "invoices": [
                {
                    "date": day.isoformat(),
                    "total": _plain(
                        _total(row for row in billed.rows if row["invoice_date"] == day)
                    ),
                }
                for day in billed.days
            ],
        },
        by_command=True,
    )


def _line_amounts(
    quote: Quote, billed: _Billed, standard: Sequence[Record]
) -> list[tuple[int, Record]]:
    changes: dict[int, Record] = {
        line["id"]: dict.fromkeys(
            ("one_off", "recurring", "usage", "contract_value", "list_value"), Decimal(0)
        )
        | {"given_percent": both_off(line["discount_percent"], billed.agreed[line["id"]])}
        for line in quote.lines
    }
    names = {"one_time": "one_off", "recurring": "recurring", "usage": "usage"}
    for row in standard:
        changes[billed.lines[row["subscription_id"]]][names[row["charge_kind"]]] += row["amount"]
    for row in billed.rows:
        of_line = changes[billed.lines[row["subscription_id"]]]
        of_line["contract_value"] += row["amount"]
        if row["discount_id"] not in billed.discounts:
            of_line["list_value"] += row["amount"]
    return list(changes.items())


def _charges(billed: _Billed, standard: Sequence[Record]) -> list[Record]:
    positions: dict[int, int] = {}
    rows = []
    for row in sorted(standard, key=lambda one: billed.lines[one["subscription_id"]]):
        line = billed.lines[row["subscription_id"]]
        positions[line] = positions.get(line, 0) + 1
        rows.append(
            {
                **{name: row[name] for name in _KEPT},
                "quote_line_id": line,
                "position": positions[line],
                "cycle": cycle_word(row),
                "unit": row["line_unit"] or None,
                # An agreed price is made with the subscription, and undone with it.
                "price_id": None if row["layer"] == "subscription" else row["price_id"],
                "explanation": list(_told(row)),
            }
        )
    return rows


_OF_PLANS = """
SELECT id AS charge_id, rate_plan_id, name, kind AS charge_kind, unit, period_unit, period_count
FROM charge WHERE rate_plan_id = ANY(:plans) ORDER BY id
"""


def _unexpected(uow: UnitOfWork, quote: Quote, expected: Sequence[Record]) -> list[Record]:
    """The charges of lines of which nothing comes to be billed: usage that nobody has estimated."""
    known = {(row["quote_line_id"], row["charge_id"]) for row in expected}
    plans: dict[int, list[Record]] = {}
    for row in uow.query(_OF_PLANS, plans=sorted({line["rate_plan_id"] for line in quote.lines})):
        plans.setdefault(row["rate_plan_id"], []).append(row)
    return [
        {
            "quote_line_id": line["id"],
            "position": 1000 + place,
            "charge_id": charge["charge_id"],
            "kind": charge["charge_kind"],
            "description": charge["name"],
            "cycle": cycle_word(charge),
            "service_start": line["start_date"],
            "service_end": _end(line),
            "quantity": Decimal(0),
            "unit": charge["unit"],
            "exact_amount": Decimal(0),
            "amount": Decimal(0),
            "steps": [],
            "explanation": ["Nothing of it is expected; it is billed as it comes."],
        }
        for line in quote.lines
        for place, charge in enumerate(plans[line["rate_plan_id"]])
        if (line["id"], charge["charge_id"]) not in known
    ]


_KEPT = (
    *("charge_id", "kind", "description", "service_start", "service_end", "quantity"),
    *("unit_amount", "exact_amount", "amount", "price_id", "layer", "steps"),
)


def _told(row: Record) -> tuple[str, ...]:
    """The sentences of a rated charge; a discount names the records of the rehearsal, which are
    gone, so it is told by what it takes off."""
    if row["kind"] != "discount":
        return cast("tuple[str, ...]", row["sentences"])
    step = row["steps"][0]
    line, taken = (without_zeros(Decimal(str(step[name]))) for name in ("line", "taken"))
    return (row["sentences"][0], f"Of {line} {row['currency']} it takes {taken}.")


def _per_cycle(standard: Sequence[Record]) -> list[Record]:
    found: dict[str, dict[str, Decimal]] = {}
    for row in standard:
        if row["charge_kind"] != "one_time":
            sums = found.setdefault(cycle_word(row), {"recurring": Decimal(0), "usage": Decimal(0)})
            sums[row["charge_kind"]] += row["amount"]
    return [
        {"cycle": cycle, **{name: _plain(amount) for name, amount in sums.items()}}
        for cycle, sums in found.items()
    ]


def _total(rows: Iterable[Record]) -> Decimal:
    return sum((row["amount"] for row in rows), Decimal(0))


def _plain(amount: Decimal) -> str:
    return f"{without_zeros(amount)}"
