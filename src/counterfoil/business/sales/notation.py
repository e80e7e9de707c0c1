"""Quotes as they are asked for: the values a command takes, and how plain ones are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Record, check_values
from counterfoil.platform.metadata.fields import date as day
from counterfoil.platform.metadata.fields import decimal, document, integer, text
from counterfoil.platform.metadata.validation import read_value

QUOTE_FORM = Entity(
    name="new_quote",
    plural="quotes",
    fields=(
        text("number", max_length=40, help="Given by a counter where absent."),
        text("account", help="External id of whom it is for; or else the lead."),
        text("lead", help="External id."),
        text("opportunity", help="External id."),
        text("title", help="What it is about."),
        day("start_date", required=True, help="First day of service."),
        integer("term_months", minimum=1, maximum=1200, default=12),
        day("valid_until", help="Last day on which it can be accepted; 30 days where absent."),
        text("terms", max_length=20_000, help="What is agreed besides prices."),
        document("lines", required=True, help="What is offered."),
    ),
)

LINE_FORM = Entity(
    name="new_quote_line",
    plural="lines",
    fields=(
        text("rate_plan", required=True, help="External id."),
        text("site", help="External id of a site of the account or the lead."),
        text("description", max_length=500),
        decimal("quantity", 18, 6, minimum=0, help="Of the recurring charges; 1 where absent."),
        document("quantities", help="External id of a charge to its quantity."),
        document("prices", help="External id of a charge to the agreed price of a unit."),
        day("start_date", help="That of the quote where absent."),
        integer("term_months", minimum=1, maximum=1200, help="That of the quote where absent."),
        decimal("discount_percent", 9, 6, minimum=0, maximum=100, default=Decimal(0)),
        document("usage", help="What is expected: meter, quantity a month, events, attributes."),
    ),
)

USAGE_FORM = Entity(
    name="new_estimate",
    plural="usage",
    fields=(
        text("meter", required=True, help="External id."),
        decimal("quantity", 27, 15, required=True, minimum=0, help="A month, in its unit."),
        integer("events", minimum=1, maximum=1000, default=1, help="In how many events a month."),
        document("attributes", help="Of the events."),
    ),
)

_AMOUNT = decimal("amount", 28, 10)
MOST_LINES = 2000
"""Lines of one quote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is expected to be used of a meter (external id) a month."""

    meter: str
    quantity: Decimal
    events: int = 1
    attributes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuoteLine:
    """A line to be offered; names are external ids. ``quantity`` is of recurring charges;
    ``quantities`` and ``prices`` by charge."""

    rate_plan: str
    site: str | None = None
    description: str | None = None
    quantity: Decimal | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    start_date: date | None = None
    term_months: int | None = None
    discount_percent: Decimal = Decimal(0)
    usage: Sequence[Estimate] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuote:
    """A quote to be made for an account or a lead; names are external ids."""

    start_date: date
    lines: Sequence[NewQuoteLine]
    number: str | None = None
    account: str | None = None
    lead: str | None = None
    opportunity: str | None = None
    title: str | None = None
    term_months: int = 12
    valid_until: date | None = None
    terms: str | None = None


def read_quotes(rows: Sequence[Record]) -> list[NewQuote]:
    """Quotes of plain values, such as of JSON; refuses with every problem at once. A problem's
    line is the position of the line in its quote, from 1."""
    problems: list[Problem] = []
    quotes = []
    for row in rows:
        values = _typed(row, QUOTE_FORM, None, "", problems)
        lines = _objects(values.pop("lines", None), "lines", None, problems)
        if len(lines) > MOST_LINES:
            problems.append(Problem("too_many", f"at most {MOST_LINES} lines in a quote", "lines"))
            continue
        read = [_line(one, number, problems) for number, one in enumerate(lines, start=1)]
        if not problems:
            quotes.append(NewQuote(**cast("Any", values), lines=cast("Any", read)))
    if problems:
        raise Refused(problems)
    return quotes


def _line(row: Record, number: int, problems: list[Problem]) -> NewQuoteLine | None:
    before = len(problems)
    values = _typed(row, LINE_FORM, number, "lines", problems)
    for name in ("quantities", "prices"):
        values[name] = _amounts(values.get(name), name, number, problems)
    usage = []
    for one in _objects(values.get("usage") or [], "lines.usage", number, problems):
        estimate = _typed(one, USAGE_FORM, number, "lines.usage", problems)
        attributes = estimate.get("attributes") or {}
        if not isinstance(attributes, Mapping):
            message = "has to be an object: name of an attribute to its value"
            problems.append(Problem("wrong_type", message, "lines.usage.attributes", line=number))
        usage.append({**estimate, "attributes": attributes})
    if len(problems) > before:
        return None
    values["usage"] = tuple(Estimate(**cast("Any", one)) for one in usage)
    return NewQuoteLine(**cast("Any", values))


def _typed(
    row: Record, form: Entity, number: int | None, within: str, problems: list[Problem]
) -> Record:
    values, wrong = check_values(form, row)
    for one in wrong:
        name = f"{within}.{one.field}" if within and one.field else one.field or within
        problems.append(replace(one, field=name, line=number))
    return {
        one.name: one.default if values.get(one.name) is None else values[one.name]
        for one in form.fields
    }


def _objects(value: object, name: str, number: int | None, problems: list[Problem]) -> list[Record]:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return value
    problems.append(Problem("not_a_list", "has to be a list of JSON objects", name, line=number))
    return []


def _amounts(given: object, name: str, number: int, problems: list[Problem]) -> dict[str, Decimal]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        message = "has to be an object: external id of a charge to a number"
        problems.append(Problem("wrong_type", message, f"lines.{name}", line=number))
        return {}
    amounts: dict[str, Decimal] = {}
    for charge, amount in given.items():
        try:
            amounts[charge] = _not_negative(cast("Decimal", read_value(_AMOUNT, amount)))
        except ValueError as error:
            field_name = f"lines.{name}.{charge}"
            problems.append(Problem("wrong_value", str(error), field_name, line=number))
    return amounts


def _not_negative(amount: Decimal) -> Decimal:
    if amount < 0:
        raise ValueError("must be at least 0")
    return amount
