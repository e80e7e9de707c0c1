"""Lines become subscriptions and amendments, many at once, by the commands that make those."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.changing import change_subscriptions
from counterfoil.business.orders.starting import Starting, start_of
from counterfoil.business.products.price_terms import per_unit
from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.commands import Activation, activate_subscriptions
from counterfoil.business.subscriptions.invoicing import profiles_of_accounts
from counterfoil.business.subscriptions.own_prices import OwnPrice, save_own_prices
from counterfoil.business.subscriptions.renewals import next_term_end
from counterfoil.core.periods.cadence import Cadence, cycle_start
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_LINES = """
SELECT l.id, l.order_id, l.position, l.kind, l.subscription_external_id, l.subscription_id,
       l.account_id, l.effective_date, l.next_period, l.proration, l.billing_start, l.billing_date,
       l.quantity, l.quantities, l.prices, l.identifiers, l.end_date, l.trial_end, l.term_months,
       l.renewal, l.amount, l.uplift_percent, l.fee_percent, l.charged, l.until, l.successor,
       l.reason, l.purchase_order,
       o.accepted_on, o.number, a.external_id AS account, t.external_id AS site,
       n.external_id AS contact, k.external_id AS contract, i.external_id AS invoice_account,
       p.external_id AS rate_plan, c.external_id AS charge, ta.external_id AS to_account,
       ts.external_id AS to_site, s.start_date, s.term_end
FROM order_line l
JOIN "order" o ON o.id = l.order_id
JOIN account a ON a.id = l.account_id
LEFT JOIN site t ON t.id = l.site_id
LEFT JOIN contact n ON n.id = l.contact_id
LEFT JOIN contract k ON k.id = l.contract_id
LEFT JOIN account i ON i.id = l.invoice_account_id
LEFT JOIN rate_plan p ON p.id = l.rate_plan_id
LEFT JOIN charge c ON c.id = l.charge_id
LEFT JOIN account ta ON ta.id = l.to_account_id
LEFT JOIN site ts ON ts.id = l.to_site_id
LEFT JOIN subscription s ON s.id = l.subscription_id
WHERE l.id = ANY(:ids) ORDER BY l.order_id, l.position
"""

_HOLD = "SELECT id FROM subscription WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE"

_AMENDED = "SELECT id, effective_date, billed_from FROM amendment WHERE id = ANY(:ids)"

_PLAN_CHARGES = """
SELECT c.id, c.external_id, p.external_id AS rate_plan
FROM charge c JOIN rate_plan p ON p.id = c.rate_plan_id WHERE p.external_id = ANY(:plans)
ORDER BY c.id
"""

_PROBLEM_FIELDS = {
    "external_id": "subscription",
    "day": "effective_date",
    "from_date": "effective_date",
    "start_date": "effective_date",
}
"""Where what activation and amendments refuse stands in a line."""

BUSY = 503
"""Of refusals that say nothing about what was asked for."""

Begun = tuple[Record, Starting]
"""A line, and from when it is served and billed."""


class LinesRefused(Exception):  # noqa: N818 - it is an answer, not a fault of the program
    """What lines (ids) ask for cannot be done."""

    def __init__(self, problems: Sequence[tuple[int, Problem]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for _, problem in problems))


def begin_lines(uow: UnitOfWork, line_ids: Sequence[int], *, done: Mapping[int, date]) -> None:
    """Do what lines ask for and mark them as activated; ``done`` is by line the day on which it
    was provisioned, absent where there was nothing to do.

    A fixed number of queries, unless an order changes a subscription several times. Raises
    LinesRefused with every problem that was met; what was written until then is the caller's to
    undo.
    """
    rows = uow.query(_LINES, ids=list(line_ids))
    profiles = profiles_of_accounts(uow, sorted({row["account_id"] for row in rows}))
    begun = []
    for row in rows:
        zone = str(profiles.get(row["account_id"], {}).get("time_zone", "UTC"))
        begun.append((row, start_of(row, done.get(row["id"]), local_date(uow.now, zone))))
    results = _amend(uow, [one for one in begun if one[0]["kind"] != "add"])
    results |= _activate(uow, [one for one in begun if one[0]["kind"] == "add"])
    _save_prices(uow, begun, results)
    uow.update_many(
        "order_line",
        [
            (
                row["id"],
                {
                    "status": "activated",
                    "problem": None,
                    "provisioned_on": done.get(row["id"]),
                    **results[row["id"]],
                },
            )
            for row, _ in begun
        ],
        by_command=True,
    )


def activate_lines(
    uow: UnitOfWork, line_ids: Sequence[int], *, done: Mapping[int, date]
) -> dict[int, list[Problem]]:
    """:func:`begin_lines` for the lines that can be; the others are marked as failed, with the
    reason. Answers the problems by line."""
    failed: dict[int, list[Problem]] = {}
    left = list(line_ids)
    while left:
        try:
            with uow.savepoint():
                begin_lines(uow, left, done=done)
            break
        except LinesRefused as refused:
            for line, problem in refused.problems:
                failed.setdefault(line, []).append(problem)
            left = [line for line in left if line not in failed]
    marks: list[tuple[int, Record]] = [
        (
            line,
            {
                "status": "failed",
                "provisioned_on": done.get(line),
                "problem": "; ".join(str(one) for one in problems)[:2000],
            },
        )
        for line, problems in failed.items()
    ]
    uow.update_many("order_line", marks, by_command=True)
    return failed


def _refused(lines: Sequence[Begun], refused: Refused) -> LinesRefused:
    """What a command has refused, by the lines that asked for it.

    Raises it as it is when others were in the way: that is no fault of a line, and all of it is
    done again.
    """
    if refused.status == BUSY:
        raise refused
    found = []
    for problem in refused.problems:
        row, _ = lines[(problem.line or 1) - 1]
        head, dot, rest = problem.field.partition(".")
        field = _PROBLEM_FIELDS.get(head, head.removesuffix("_id")) + dot + rest
        found.append((row["id"], replace(problem, line=None, field=field)))
    return LinesRefused(found)


def _activate(uow: UnitOfWork, lines: Sequence[Begun]) -> dict[int, Record]:
    """Begin the subscriptions of add lines."""
    if not lines:
        return {}
    try:
        ids = activate_subscriptions(uow, [_activation(row, start) for row, start in lines])
    except Refused as refused:
        raise _refused(lines, refused) from refused
    return {
        row["id"]: {
            "subscription_id": subscription,
            "activated_on": start.served,
            "billed_from": start.billed,
        }
        for subscription, (row, start) in zip(ids, lines, strict=True)
    }


def _activation(row: Record, start: Starting) -> Activation:
    months = cast("int | None", row["term_months"])
    return Activation(
        external_id=str(row["subscription_external_id"]),
        account=str(row["account"]),
        rate_plan=str(row["rate_plan"]),
        start_date=start.served,
        billing_start=start.billed,
        site=cast("str | None", row["site"]),
        contact=cast("str | None", row["contact"]),
        contract=cast("str | None", row["contract"]),
        invoice_account=cast("str | None", row["invoice_account"]),
        purchase_order=cast("str | None", row["purchase_order"]),
        end_date=cast("date | None", row["end_date"]),
        trial_end=cast("date | None", row["trial_end"]),
        quantities=_decimals(row["quantities"]),
        identifiers=tuple(cast("list[str]", row["identifiers"] or ())),
        term_end=None if months is None else cycle_start(start.billed, Cadence("month", months), 1),
        term_months=months,
        renewal=str(row["renewal"]),
        renewal_uplift_percent=cast("Decimal | None", row["uplift_percent"]),
    )


def _amend(uow: UnitOfWork, lines: Sequence[Begun]) -> dict[int, Record]:
    """Amend the subscriptions of change lines: those of one subscription one after the other."""
    if not lines:
        return {}
    uow.query(_HOLD, ids=[row["subscription_id"] for row, _ in lines])
    made: dict[int, int | None] = {}
    left = list(lines)
    while left:
        by_subscription: dict[int, Begun] = {}
        for one in left:
            by_subscription.setdefault(one[0]["subscription_id"], one)
        now = list(by_subscription.values())
        chosen = {row["id"] for row, _ in now}
        left = [one for one in left if one[0]["id"] not in chosen]
        try:
            ids = change_subscriptions(uow, [_change(row, start) for row, start in now])
        except Refused as refused:
            raise _refused(now, refused) from refused
        made |= {row["id"]: one for (row, _), one in zip(now, ids, strict=True)}
    rows = uow.query(_AMENDED, ids=[one for one in made.values() if one is not None])
    amended = {row["id"]: row for row in rows}
    results: dict[int, Record] = {}
    for row, start in lines:
        found = amended.get(made[row["id"]], {})
        results[row["id"]] = {
            "amendment_id": made[row["id"]],
            "activated_on": found.get("effective_date", start.billed),
            "billed_from": found.get("billed_from", start.billed),
        }
    return results


def _change(row: Record, start: Starting) -> Change:
    day: date | None = start.billed
    at_term_end = row["kind"] == "renew" and row["effective_date"] is None
    if row["next_period"] or (at_term_end and row["billing_start"] == "on_activation"):
        day = None
    until = cast("date | None", row["until"])
    if row["kind"] == "renew" and until is None and row["term_months"] is not None:
        begins = cast("date", row["term_end"] or start.billed)
        until = next_term_end(cast("date", row["start_date"]), begins, row["term_months"])
    reason = row["reason"] or f"order {row['number']}, line {row['position']}"
    return Change(
        subscription=int(row["subscription_id"]),
        kind=str(row["kind"]),
        day=day,
        next_period=bool(row["next_period"]),
        proration=str(row["proration"]),
        rate_plan=cast("str | None", row["rate_plan"]),
        charge=cast("str | None", row["charge"]),
        quantity=cast("Decimal | None", row["quantity"]),
        quantities=_decimals(row["quantities"]),
        amount=cast("Decimal | None", row["amount"]),
        uplift_percent=cast("Decimal | None", row["uplift_percent"]),
        fee_percent=cast("Decimal | None", row["fee_percent"]),
        charged=bool(row["charged"]),
        until=until,
        account=cast("str | None", row["to_account"]),
        site=cast("str | None", row["to_site"]),
        successor=cast("str | None", row["successor"]),
        reason=str(reason),
    )


def _save_prices(uow: UnitOfWork, lines: Sequence[Begun], results: Mapping[int, Record]) -> None:
    """The agreed prices of lines: so much for a unit, the most specific price layer."""
    priced = [one for one in lines if one[0]["prices"]]
    if not priced:
        return
    charges: dict[str, dict[str, int]] = {}
    for row in uow.query(_PLAN_CHARGES, plans=[row["rate_plan"] for row, _ in priced]):
        charges.setdefault(str(row["rate_plan"]), {})[str(row["external_id"])] = row["id"]
    agreed: list[OwnPrice] = []
    of_line: list[Begun] = []
    problems: list[tuple[int, Problem]] = []
    for row, start in priced:
        known = charges.get(str(row["rate_plan"]), {})
        done = results[row["id"]]
        begins = row["kind"] == "add"
        for name, amount in _decimals(row["prices"]).items():
            if name not in known:
                message = f"the rate plan has no charge {name!r}"
                wrong = Problem("unknown_charge", message, f"prices.{name}", tuple(known))
                problems.append((row["id"], wrong))
                continue
            agreed.append(
                OwnPrice(
                    subscription=done["subscription_id"] if begins else row["subscription_id"],
                    name=str(row["subscription_external_id"]),
                    charge=known[name],
                    day=None if begins else done["billed_from"],
                    terms=per_unit(amount),
                    line=len(agreed) + 1,
                )
            )
            of_line.append((row, start))
    if problems:
        raise LinesRefused(problems)
    try:
        save_own_prices(uow, agreed)
    except Refused as refused:
        raise _refused(of_line, refused) from refused


def _decimals(document: object) -> dict[str, Decimal]:
    given = cast("Mapping[str, object]", document or {})
    return {name: Decimal(str(value)) for name, value in given.items()}
