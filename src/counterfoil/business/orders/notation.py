"""Orders as they are asked for: the values a command takes, and how plain ones are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, cast

from counterfoil.business.orders.entities import BILLING_STARTS, LINE_KINDS, RENEWALS
from counterfoil.business.subscriptions.entities import PRORATIONS
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Field, Record, check_values
from counterfoil.platform.metadata.entity import CUSTOM
from counterfoil.platform.metadata.fields import (
    boolean,
    choice,
    decimal,
    document,
    integer,
    text,
)
from counterfoil.platform.metadata.fields import date as day
from counterfoil.platform.metadata.validation import read_value

LINE_FORM = Entity(
    name="new_order_line",
    plural="lines",
    fields=(
        choice("kind", LINE_KINDS, default="add", help="A new subscription, or a change of one."),
        text("subscription", help="External id; of a new one by default the order's and a number."),
        text("account", help="Whose service, when not the order's; of a transfer: the new one."),
        text("site", help="Where it is used; of a transfer: the new one."),
        text("contact"),
        text("contract", help="By default the order's."),
        text("invoice_account"),
        text("rate_plan"),
        text("charge", help="Whose quantity or price changes."),
        decimal("quantity", 18, 6, minimum=0, help="Its new quantity."),
        document("quantities", help="External id of a charge to its quantity; 1 where absent."),
        document("prices", help="External id of a charge to the agreed price of a unit."),
        document("identifiers", help="Tokens in usage records that mean the subscription."),
        day("effective_date", help="The day on which service or change is to begin."),
        boolean("next_period", default=False, help="Of a change: with the next cycle."),
        choice("proration", PRORATIONS, default="by_day"),
        choice("billing_start", BILLING_STARTS, default="on_activation"),
        day("billing_date", help="Of on_date."),
        day("end_date", help="First day no longer served."),
        day("trial_end"),
        integer("term_months", minimum=1, maximum=1200, help="By default the order's."),
        choice("renewal", RENEWALS, default="evergreen"),
        decimal("amount", 28, 10, minimum=0, help="Of a change: a new price, or a fee."),
        decimal(
            *("uplift_percent", 9, 4),
            minimum=0,
            maximum=1000,
            help="By how much prices rise with every renewal, or with this one.",
        ),
        decimal(
            *("fee_percent", 9, 4),
            minimum=0,
            maximum=1000,
            help="Of a cancellation: what it costs of the remaining term.",
        ),
        boolean("charged", default=False, help="Of a suspension: charges go on."),
        day("until", help="Of a change: the new end, end of the term or of the trial."),
        text("successor", help="Of a transfer."),
        text("purchase_order", max_length=60, help="By default the order's."),
        text("reason", max_length=1000),
    ),
)

ORDER_FORM = Entity(
    name="new_order",
    plural="orders",
    fields=(
        text("external_id", required=True, help="Asked again with it, nothing is added."),
        text("account", required=True, help="External id of who orders."),
        day("order_date", help="Today where absent."),
        day("accepted_on", help="When the customer accepted it; the order date where absent."),
        text("purchase_order", max_length=60),
        text("contract"),
        integer("term_months", minimum=1, maximum=1200, help="For lines that say none."),
        decimal("amount", 20, 4, minimum=0, help="What it is worth."),
        text("currency", max_length=3, help="Of the amount; that of the account where absent."),
        boolean("draft", default=False, help="Not submitted yet."),
        document("lines", required=True, help="What is asked for."),
    ),
)

_AMOUNT = decimal("amount", 28, 10, minimum=0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was asked for: a file and its lines, or only the position of a line."""

    file: str = ""
    line: int | None = None
    fields: Mapping[str, int] = field(default_factory=dict)

    def locate(self, problem: Problem, about: str, *, within: str = "") -> Problem:
        """The problem with its place, ``about`` what it is and in which part."""
        return replace(
            problem,
            message=f"{about}: {problem.message}",
            field=f"{within}.{problem.field}" if within and problem.field else problem.field,
            file=self.file,
            line=self.fields.get(problem.field.split(".")[0], self.line),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLine:
    """A line to be ordered; names are external ids. ``custom`` are values of custom fields."""

    kind: str = "add"
    subscription: str | None = None
    account: str | None = None
    site: str | None = None
    contact: str | None = None
    contract: str | None = None
    invoice_account: str | None = None
    rate_plan: str | None = None
    charge: str | None = None
    quantity: Decimal | None = None
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()
    effective_date: date | None = None
    next_period: bool = False
    proration: str = "by_day"
    billing_start: str = "on_activation"
    billing_date: date | None = None
    end_date: date | None = None
    trial_end: date | None = None
    term_months: int | None = None
    renewal: str = "evergreen"
    amount: Decimal | None = None
    uplift_percent: Decimal | None = None
    fee_percent: Decimal | None = None
    charged: bool = False
    until: date | None = None
    successor: str | None = None
    purchase_order: str | None = None
    reason: str | None = None
    custom: Mapping[str, object] = field(default_factory=dict)
    place: Place = Place()


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOrder:
    """An order to be placed; names are external ids. ``accepted_on`` is when the customer accepted
    it, by default the order date, which is by default today. A ``draft`` is not submitted."""

    external_id: str
    account: str
    lines: Sequence[NewLine]
    order_date: date | None = None
    accepted_on: date | None = None
    purchase_order: str | None = None
    contract: str | None = None
    term_months: int | None = None
    amount: Decimal | None = None
    currency: str | None = None
    draft: bool = False
    custom: Mapping[str, object] = field(default_factory=dict)
    place: Place = Place()


def read_orders(
    rows: Sequence[Record],
    places: Sequence[tuple[Place, Sequence[Place]]] | None = None,
) -> list[NewOrder]:
    """Orders of plain values, such as of JSON; refuses with every problem at once.

    ``places`` says where each order and each of its lines stands in a file.
    """
    problems: list[Problem] = []
    orders: list[NewOrder] = []
    for number, row in enumerate(rows):
        place, of_lines = places[number] if places else (Place(), ())
        about = f"order {row.get('external_id') or number + 1}"
        values, custom = _checked(row, ORDER_FORM, place, about, "", problems)
        lines = values.pop("lines", None)
        if not isinstance(lines, list) or not all(isinstance(one, dict) for one in lines):
            wrong = Problem("not_a_list", "has to be a list of JSON objects", "lines")
            problems.append(place.locate(wrong, about))
            continue
        read = [
            _line(one, of_lines[at] if of_lines else Place(line=at + 1), about, problems)
            for at, one in enumerate(lines)
        ]
        orders.append(NewOrder(**cast("Any", values), lines=read, custom=custom, place=place))
    if problems:
        raise Refused(problems)
    return orders


def _checked(
    row: Record, form: Entity, place: Place, about: str, within: str, problems: list[Problem]
) -> tuple[Record, Record]:
    """The typed values of a form, and those of custom fields as they are."""
    custom = {name: value for name, value in row.items() if name.startswith(CUSTOM)}
    values, wrong = check_values(form, {n: v for n, v in row.items() if n not in custom})
    problems += [place.locate(one, about, within=within) for one in wrong]
    kept = {one.name: values.get(one.name) for one in form.fields}
    defaults = {one.name: one.default for one in form.fields if kept[one.name] is None}
    return kept | defaults, custom


def _line(row: Record, place: Place, about: str, problems: list[Problem]) -> NewLine:
    values, custom = _checked(row, LINE_FORM, place, about, "lines", problems)

    def refuse(code: str, message: str, name: str) -> None:
        problems.append(place.locate(Problem(code, message, name), about, within="lines"))

    for name in ("quantities", "prices"):
        given = values[name] or {}
        amounts: dict[str, Decimal] = {}
        if not isinstance(given, Mapping):
            refuse("wrong_type", "has to be an object: external id of a charge to a number", name)
            given = {}
        for charge, amount in given.items():
            try:
                amounts[charge] = cast("Decimal", _number(_AMOUNT, amount))
            except ValueError as error:
                refuse("wrong_value", str(error), f"{name}.{charge}")
        values[name] = amounts
    tokens = values["identifiers"] or []
    if not isinstance(tokens, list) or not all(isinstance(one, str) for one in tokens):
        refuse("wrong_type", "has to be a list of texts", "identifiers")
        tokens = []
    values["identifiers"] = tuple(tokens)
    return NewLine(**cast("Any", values), custom=custom, place=place)


def _number(field_of: Field, value: object) -> object:
    number = read_value(field_of, value)
    if isinstance(number, Decimal) and number < 0:
        raise ValueError("must be at least 0")
    return number
