"""Orders are placed: many with many lines in one call, all or none.

What they ask for is done once as if it were due already, and undone: so an order is refused by the
very code that would refuse its activation later.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from decimal import Decimal

import msgspec

from counterfoil.business.orders.activation import LinesRefused, begin_lines
from counterfoil.business.orders.discounts import read_discounts, sets_prices
from counterfoil.business.orders.events import tell_submitted
from counterfoil.business.orders.limits import discount_limit
from counterfoil.business.orders.names import (
    Named,
    find_unknown,
    find_unknown_of_line,
    read_names,
)
from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.rules import number_of
from counterfoil.business.orders.words import find_line_problems
from counterfoil.business.subscriptions.invoicing import profiles_of_accounts
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.exact_json import plain
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOTHING = Decimal(0)
MOST_LINES = 10_000
"""Lines in one call."""

# Of two that place the same order at the same time the second sees what the first has placed. The
# names share some locks, as a server has only so many.
_ONE_BY_ONE = """
SELECT pg_advisory_xact_lock(hashtext('order'), k.place)
FROM (SELECT DISTINCT hashtext(name) & 255 AS place FROM unnest(CAST(:names AS text[])) AS name
      ORDER BY 1) k
"""

_STANDING = """
SELECT o.id, o.external_id, o.number, o.status, o.content_digest
FROM "order" o WHERE o.external_id = ANY(:names)
"""

_PROMISED = """
SELECT l.subscription_external_id AS name, o.external_id AS "order"
FROM order_line l JOIN "order" o ON o.id = l.order_id
WHERE l.kind = 'add' AND l.status NOT IN ('activated', 'cancelled')
  AND l.subscription_external_id = ANY(:names)
"""

_LIMITS = "SELECT currency, amount FROM order_limit"


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that stands; ``created`` is False when it stood before, asked for alike."""

    id: int
    external_id: str
    number: str
    status: str
    created: bool


def place_orders(uow: UnitOfWork, orders: Sequence[NewOrder]) -> list[Placed]:
    """Place orders with their lines, each under a number; submits those that are no drafts.

    A fixed number of queries for any number of lines. An order with an external id that stands
    already is left alone when it was asked for alike, and else refused (409). Refuses all with
    every problem at once, each with its line.
    """
    _refuse_bad_calls(orders)
    uow.query(_ONE_BY_ONE, names=[order.external_id for order in orders])
    rows = uow.query(_STANDING, names=[order.external_id for order in orders])
    standing = {str(row["external_id"]): row for row in rows}
    _refuse_others(orders, standing)
    fresh = [order for order in orders if order.external_id not in standing]
    made = iter(_place(uow, fresh) if fresh else ())
    return [
        next(made)
        if (row := standing.get(order.external_id)) is None
        else Placed(row["id"], order.external_id, row["number"], row["status"], created=False)
        for order in orders
    ]


def status_when_submitted(
    order: Record, limits: Mapping[object, object], discount: Decimal
) -> Record:
    """What becomes of an order that is submitted: approved at once up to the limit of its amount,
    when its discount is one that who submits it may give."""
    limit, amount = limits.get(order["currency"]), order["amount"]
    given = order["discount_percent"]
    if limit is None or amount is None or amount > limit or given > discount:
        return {"status": "submitted"}
    return {"status": "approved", "approved_by": "limit"}


def read_limits(uow: UnitOfWork) -> dict[object, object]:
    """Up to which amount orders need nobody's approval, by currency."""
    return {row["currency"]: row["amount"] for row in uow.query(_LIMITS)}


def _refuse_bad_calls(orders: Sequence[NewOrder]) -> None:
    problems = []
    seen: set[str] = set()
    for order in orders:
        about = f"order {order.external_id}"
        if order.external_id in seen:
            wrong = Problem("not_unique", "stands twice among the orders", "external_id")
            problems.append(order.place.locate(wrong, about))
        seen.add(order.external_id)
        if not order.lines:
            wrong = Problem("required", "an order needs a line", "lines")
            problems.append(order.place.locate(wrong, about))
    if sum(len(order.lines) for order in orders) > MOST_LINES:
        problems.append(Problem("too_many", f"at most {MOST_LINES} lines in one call", "lines"))
    if problems:
        raise Refused(problems)


def _refuse_others(orders: Sequence[NewOrder], standing: Mapping[str, Record]) -> None:
    problems = []
    for order in orders:
        if order.external_id in standing:
            stands = str(standing[order.external_id]["content_digest"]).split()
            parts = zip(_PARTS, stands, digest_of(order).split(), strict=True)
            others = [name.replace("_", " ") for name, was, now in parts if was != now]
            if others:
                message = f"stands already, with other contents: {', '.join(others)}"
                wrong = Problem("other_order", message, "external_id")
                problems.append(order.place.locate(wrong, f"order {order.external_id}"))
    if problems:
        raise Refused(problems, status=409)


_DIGITS = 12
"""Of the SHA-256 of a field of an order, that are kept."""

_PARTS = tuple(one.name for one in fields(NewOrder) if one.name not in ("external_id", "place"))


def digest_of(order: NewOrder) -> str:
    """What is the same of two orders that ask for the same: a word for each field, in order."""
    lines = [astuple(replace(line, place=NewLine().place)) for line in order.lines]
    said = [lines if name == "lines" else getattr(order, name) for name in _PARTS]
    return " ".join(
        hashlib.sha256(msgspec.json.encode(one, order="sorted")).hexdigest()[:_DIGITS]
        for one in said
    )


def _place(uow: UnitOfWork, orders: Sequence[NewOrder]) -> list[Placed]:
    named = read_names(uow, orders)
    problems = [found for order in orders for found in _find_problems(order, named)]
    problems += _find_promised(uow, orders)
    if problems:
        raise Refused(problems)
    accounts = [named.ids["account"][order.account] for order in orders]
    profiles = profiles_of_accounts(uow, accounts)
    _refuse_other_currencies(orders, [profiles.get(one, {}).get("currency") for one in accounts])
    limits = read_limits(uow)
    rows = [
        _order_row(uow, order, named, profiles.get(account, {}), limits)
        for order, account in zip(orders, accounts, strict=True)
    ]
    ids = _create(uow, "order", rows, [(order, None) for order in orders])
    asked = [
        (order, line, position, order_id)
        for order, order_id in zip(orders, ids, strict=True)
        for position, line in enumerate(order.lines, start=1)
    ]
    line_ids = _create(
        uow,
        "order_line",
        [_line_row(*one, named) for one in asked],
        [(order, line) for order, line, *_ in asked],
    )
    percents = _rehearse(uow, dict(zip(line_ids, asked, strict=True)))
    _note_discounts(uow, dict(zip(ids, rows, strict=True)), percents, limits)
    tell_submitted(uow, ids)
    return [
        Placed(made, order.external_id, number_of(made), str(row["status"]), created=True)
        for made, order, row in zip(ids, orders, rows, strict=True)
    ]


def _refuse_other_currencies(orders: Sequence[NewOrder], billed_in: Sequence[object]) -> None:
    """An amount in another currency would be held against the limit of that one."""
    problems = [
        order.place.locate(
            Problem(
                "other_currency",
                f"{order.account} is billed in {currency}",
                "currency",
                (str(currency),),
            ),
            f"order {order.external_id}",
        )
        for order, currency in zip(orders, billed_in, strict=True)
        if currency is not None and order.currency not in (None, currency)
    ]
    if problems:
        raise Refused(problems)


def _find_problems(order: NewOrder, named: Named) -> Iterator[Problem]:
    about = f"order {order.external_id}"
    for one in find_unknown(order, named):
        yield order.place.locate(one, about)
    if order.currency is not None and order.amount is None:
        wrong = Problem("half_amount", "a currency goes with an amount", "currency")
        yield order.place.locate(wrong, about)
    names: set[str] = set()
    for position, line in enumerate(order.lines, start=1):
        found = [*find_line_problems(line), *find_unknown_of_line(line, order, named)]
        name = _subscription_name(order, line, position)
        if line.kind == "add" and name in names:
            message = f"two lines would begin the subscription {name!r}"
            found.append(Problem("not_unique", message, "subscription"))
        names.add(name)
        for one in found:
            yield _located(order, line, position, one)


def _located(order: NewOrder, line: NewLine, position: int, problem: Problem) -> Problem:
    place = line.place if line.place.line is not None else replace(line.place, line=position)
    return place.locate(problem, f"order {order.external_id}, line {position}", within="lines")


def _subscription_name(order: NewOrder, line: NewLine, position: int) -> str:
    return line.subscription or f"{order.external_id}-{position}"


def _find_promised(uow: UnitOfWork, orders: Sequence[NewOrder]) -> list[Problem]:
    """Subscriptions that lines of other orders are going to begin."""
    asked = {
        _subscription_name(order, line, position): (order, line, position)
        for order in orders
        for position, line in enumerate(order.lines, start=1)
        if line.kind == "add"
    }
    problems = []
    for row in uow.query(_PROMISED, names=list(asked)):
        message = f"order {row['order']} is going to begin the subscription {row['name']!r}"
        wrong = Problem("not_unique", message, "subscription")
        problems.append(_located(*asked[str(row["name"])], wrong))
    return problems


def _order_row(
    uow: UnitOfWork, order: NewOrder, named: Named, profile: Record, limits: Mapping[object, object]
) -> Record:
    today = local_date(uow.now, str(profile.get("time_zone", "UTC")))
    ordered = order.order_date or today
    currency = order.currency or profile.get("currency")
    row: Record = {
        **order.custom,
        "external_id": order.external_id,
        "account_id": named.id_of("account", order.account),
        "order_date": ordered,
        "accepted_on": order.accepted_on or ordered,
        "purchase_order": order.purchase_order,
        "contract_id": named.id_of("contract", order.contract),
        "term_months": order.term_months,
        "amount": order.amount,
        "currency": currency if order.amount is not None else None,
        "discount_percent": NOTHING,
        "placed_by": uow.actor,
        "content_digest": digest_of(order),
        "status": "draft" if order.draft else "submitted",
    }
    if order.draft or any(sets_prices(line.kind, line.prices) for line in order.lines):
        return row
    return row | submitted(uow, row, limits, NOTHING)


def submitted(
    uow: UnitOfWork, order: Record, limits: Mapping[object, object], discount: Decimal
) -> Record:
    """:func:`status_when_submitted`, with the time of an approval."""
    new = status_when_submitted(order, limits, discount)
    return new | ({"approved_at": uow.now} if new["status"] == "approved" else {})


def _note_discounts(
    uow: UnitOfWork,
    orders: Mapping[int, Record],
    percents: Mapping[tuple[int, int], Decimal],
    limits: Mapping[object, object],
) -> None:
    """Keep what agreed prices take off, by order and line (ids), and approve what may be."""
    uow.update_many(
        "order_line",
        [(line, {"discount_percent": one}) for (_, line), one in percents.items()],
        by_command=True,
    )
    highest: dict[int, Decimal] = {}
    for (order, _), percent in percents.items():
        highest[order] = max(percent, highest.get(order, NOTHING))
    allowed = discount_limit(uow) if highest else NOTHING
    for order, percent in highest.items():
        orders[order]["discount_percent"] = percent
        if orders[order]["status"] == "submitted":
            orders[order].update(submitted(uow, orders[order], limits, allowed))
    names = ("discount_percent", "status", "approved_by", "approved_at")
    uow.update_many(
        "order",
        [(one, {name: orders[one].get(name) for name in names}) for one in highest],
        by_command=True,
    )


def _line_row(order: NewOrder, line: NewLine, position: int, order_id: int, named: Named) -> Record:
    name = _subscription_name(order, line, position)
    if line.kind == "add":
        served: Record = {
            "subscription_id": None,
            "account_id": named.id_of("account", line.account or order.account),
            "site_id": named.id_of("site", line.site),
            "contract_id": named.id_of("contract", line.contract or order.contract),
        }
    else:
        found = named.subscriptions[name]
        served = {
            "subscription_id": found["id"],
            "account_id": found["account_id"],
            "site_id": found["site_id"],
            "to_account_id": named.id_of("account", line.account),
            "to_site_id": named.id_of("site", line.site),
        }
    same = (
        *("kind", "quantity", "effective_date", "next_period", "proration", "billing_start"),
        *("billing_date", "end_date", "trial_end", "renewal", "amount", "charged", "until"),
        *("successor", "reason", "uplift_percent", "fee_percent"),
    )
    return {
        **line.custom,
        **{field: getattr(line, field) for field in same},
        **served,
        "order_id": order_id,
        "position": position,
        "status": "waiting",
        "subscription_external_id": name,
        "rate_plan_id": named.id_of("rate_plan", line.rate_plan),
        "charge_id": named.id_of("charge", line.charge),
        "contact_id": named.id_of("contact", line.contact),
        "invoice_account_id": named.id_of("account", line.invoice_account),
        "quantities": plain(line.quantities) if line.quantities else None,
        "prices": plain(line.prices) if line.prices else None,
        "identifiers": list(line.identifiers) or None,
        "term_months": line.term_months or order.term_months,
        "purchase_order": line.purchase_order or order.purchase_order,
    }


def _create(
    uow: UnitOfWork,
    entity: str,
    rows: Sequence[Record],
    asked: Sequence[tuple[NewOrder, NewLine | None]],
) -> list[int]:
    """Create the rows; what is refused, such as a custom field, is told where it was asked for."""
    try:
        return uow.create_many(entity, rows, by_command=True)
    except Refused as refused:
        problems = []
        for problem in refused.problems:
            order, line = asked[(problem.line or 1) - 1]
            if line is None:
                problems.append(order.place.locate(problem, f"order {order.external_id}"))
            else:
                position = int(rows[(problem.line or 1) - 1]["position"])
                problems.append(_located(order, line, position, problem))
        raise Refused(problems, refused.status) from refused


def _rehearse(
    uow: UnitOfWork, asked: Mapping[int, tuple[NewOrder, NewLine, int, int]]
) -> dict[tuple[int, int], Decimal]:
    """Do what the lines ask for, and undo it; refuses what cannot be done. Answers by order and
    line (ids) what agreed prices take off, in percent."""
    try:
        with uow.rehearsed():
            begin_lines(uow, list(asked), done={})
            return read_discounts(uow, list(asked))
    except LinesRefused as refused:
        problems = []
        for line_id, problem in refused.problems:
            order, line, position, _ = asked[line_id]
            problems.append(_located(order, line, position, problem))
        raise Refused(problems) from refused
