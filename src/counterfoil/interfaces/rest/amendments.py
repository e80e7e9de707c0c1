"""Changes of subscriptions over HTTP: of one, of many, and what was in force on a day."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import cast

from counterfoil.business.billing.changing import change_subscriptions, renew_subscriptions
from counterfoil.business.products.price_terms import PriceTerms, parse_price
from counterfoil.business.subscriptions.changes import Change
from counterfoil.business.subscriptions.entities import KINDS, PRORATIONS
from counterfoil.business.subscriptions.queries import (
    Selection,
    find_subscriptions,
    read_amendments,
    read_in_force,
    select_running,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.rest.bodies import (
    body_schema,
    checked_rows,
    command_body,
    rows_schema,
)
from counterfoil.interfaces.rest.exchange import JSON, Answer, Call, Endpoint, Parameter
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.records import record_id
from counterfoil.interfaces.rest.schemas import Schema
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.unit_of_work import UnitOfWork

WHEN = ("now", "next_period")

_KIND = Field(name="kind", type=FieldType.CHOICE, choices=KINDS, required=True)
_TIMING = (
    Field(
        name="when",
        type=FieldType.CHOICE,
        choices=WHEN,
        default="now",
        help="Where no day is given: today, where the account is billed, or the beginning of the "
        "next cycle.",
    ),
    Field(name="day", type=FieldType.DATE, help="First day of the new state."),
    Field(
        name="proration",
        type=FieldType.CHOICE,
        choices=PRORATIONS,
        default="by_day",
        help="How a change within a cycle is billed: by_day; by_second; none: from the next cycle "
        "on; full: the whole cycle by the new state.",
    ),
    Field(
        name="at",
        type=FieldType.INSTANT,
        help="By the second: the instant of the change, in place of a day; now unless told.",
    ),
    Field(name="reason", max_length=1000),
)
_PLAN = (
    Field(name="rate_plan", help="External id of the rate plan."),
    Field(
        name="quantities",
        type=FieldType.DOCUMENT,
        default={},
        help="External id of a charge of the plan to its quantity; 1 where absent.",
    ),
)
_CHARGED = Field(
    name="charged", type=FieldType.BOOLEAN, default=False, help="Whether the charges go on."
)
_UNTIL = Field(
    name="until",
    type=FieldType.DATE,
    help="The new end, end of the term or of the trial; empty: none.",
)
_TO = (
    Field(name="account", help="External id of the account it is transferred to."),
    Field(name="site", help="External id of the site it is transferred to."),
    Field(
        name="successor",
        help="External id of the subscription that goes on; by default its own and a number.",
    ),
)
_UPLIFT = Field(
    name="uplift_percent",
    type=FieldType.DECIMAL,
    minimum=0,
    maximum=1000,
    help="By how much prices rise; by default as the subscription says.",
)
_FEE = Field(
    name="fee_percent",
    type=FieldType.DECIMAL,
    minimum=0,
    maximum=1000,
    help="In place of amount: the fee as a share of what the remaining term would cost.",
)
_ALL = (
    *_PLAN,
    Field(name="charge", help="External id of the charge whose quantity or price changes."),
    Field(name="quantity", type=FieldType.DECIMAL, minimum=0),
    Field(name="amount", type=FieldType.DECIMAL, minimum=0, help="New price of a unit."),
    Field(
        name="price",
        type=FieldType.DOCUMENT,
        help="In place of amount: a price in the notation of price books, such as "
        '{"model": "graduated", "tiers": [{"up_to": 10, "amount": 5}, {"amount": 4}]}.',
    ),
    _CHARGED,
    _UNTIL,
    *_TO,
    _UPLIFT,
    _FEE,
)
_SELECTION = (
    Field(name="subscription", help="External id; or name what the subscriptions have in common:"),
    Field(name="of_account", help="External id of an account."),
    Field(name="of_site", help="External id of a site."),
    Field(name="of_rate_plan", help="External id of the rate plan they have."),
)

AMENDMENT = Entity(name="subscription_change", plural="changes", fields=(_KIND, *_TIMING, *_ALL))
CHANGES = Entity(
    name="subscription_change_of",
    plural="changes",
    fields=(*_SELECTION, _KIND, *_TIMING, *_ALL),
)
SINGLE: Mapping[str, tuple[str, tuple[Field, ...], str]] = {
    "suspend": ("Suspend a subscription, with or without charge", (_CHARGED,), "suspend"),
    "resume": ("Resume a suspended subscription", (), "resume"),
    "transfer": ("Transfer a subscription to another account or site", _TO, "transfer"),
    "renew": ("Renew a subscription for another term", (_UNTIL, *_PLAN, _UPLIFT), "renew"),
    "terminate": (
        "End a subscription, with a fee or without",
        (
            Field(name="rate_plan", help="The plan of the one-time charge that this costs."),
            Field(name="amount", type=FieldType.DECIMAL, minimum=0, help="In place of its price."),
            _FEE,
        ),
        "cancel",
    ),
    "charge-once": (
        "Charge a subscription for something that happened",
        (*_PLAN, Field(name="amount", type=FieldType.DECIMAL, minimum=0, help="Of one charge.")),
        "charge_once",
    ),
    "change-plan": ("Change the rate plan of a subscription", _PLAN, "change_plan"),
}
"""Paths of a single kind: what it does, the fields beside those of every change, the kind."""

DUE = Entity(
    name="renewal_day",
    plural="renewal_days",
    fields=(Field(name="day", type=FieldType.DATE, required=True, help="Terms that end by it."),),
)
QUANTITY = Field(name="quantities", type=FieldType.DECIMAL, minimum=0)
AMENDED: Schema = {
    "type": "object",
    "properties": {
        "amendments": {"type": "array", "items": {"type": ["integer", "null"]}},
    },
    "required": ["amendments"],
}
_DAY = Parameter(name="day", help="The day asked for; today by default.", format="date")


def change_of(row: Record, subscription: int) -> Change:
    """The change that a checked row asks for."""

    def said(name: str) -> str | None:
        return cast("str | None", row.get(name))

    return Change(
        subscription=subscription,
        kind=str(row["kind"]),
        day=cast("date | None", row["day"]),
        next_period=row["when"] == "next_period",
        proration=str(row["proration"]),
        at=cast("datetime | None", row["at"]),
        rate_plan=said("rate_plan"),
        charge=said("charge"),
        quantity=cast("Decimal | None", row.get("quantity")),
        quantities=_quantities(row.get("quantities") or {}),
        amount=cast("Decimal | None", row.get("amount")),
        price=_price(row.get("price")),
        uplift_percent=cast("Decimal | None", row.get("uplift_percent")),
        fee_percent=cast("Decimal | None", row.get("fee_percent")),
        charged=bool(row.get("charged")),
        until=cast("date | None", row.get("until")),
        account=said("account"),
        site=said("site"),
        successor=said("successor"),
        reason=said("reason"),
    )


def _price(document: object) -> PriceTerms | None:
    """The price that a JSON document says; JSON is YAML, and its numbers keep their digits."""
    return (
        None
        if document is None
        else parse_price(json.dumps(document, default=str, ensure_ascii=False))
    )


def _quantities(document: object) -> dict[str, Decimal]:
    if not isinstance(document, Mapping):
        message = "has to be an object: external id of a charge to its quantity"
        raise Refused(Problem("wrong_type", message, "quantities"))
    amounts: dict[str, Decimal] = {}
    for charge, amount in document.items():
        try:
            amounts[charge] = cast("Decimal", read_value(QUANTITY, amount))
        except ValueError as error:
            problem = Problem("wrong_value", str(error), f"quantities.{charge}")
            raise Refused(problem) from error
    return amounts


def _chosen(uow: UnitOfWork, rows: Sequence[Record]) -> list[list[int]]:
    """Of each row the subscription it names, or those of which it says what they have in common;
    in a fixed number of queries."""
    named = [str(row["subscription"]) for row in rows if row["subscription"] is not None]
    ids = dict(zip(named, find_subscriptions(uow, named), strict=True))
    common = [row for row in rows if row["subscription"] is None]
    selections = [
        Selection(
            day=cast("date", row["day"] or uow.now.date()),
            account=cast("str | None", row["of_account"]),
            site=cast("str | None", row["of_site"]),
            rate_plan=cast("str | None", row["of_rate_plan"]),
        )
        for row in common
    ]
    selected = iter(select_running(uow, selections) if selections else ())
    return [
        next(selected) if row["subscription"] is None else [ids[str(row["subscription"])]]
        for row in rows
    ]


def post_changes(uow: UnitOfWork, call: Call) -> Answer:
    """Change many subscriptions, all or none; answers the ids of their amendments."""
    rows = checked_rows(call, CHANGES)
    changes = [
        change_of(row, subscription)
        for row, chosen in zip(rows, _chosen(uow, rows), strict=True)
        for subscription in chosen
    ]
    return json_answer({"amendments": change_subscriptions(uow, changes)}, 201)


def post_change(uow: UnitOfWork, call: Call) -> Answer:
    """Change one subscription; answers the id of the amendment."""
    change = change_of(command_body(call, AMENDMENT), record_id(call))
    return json_answer({"amendments": change_subscriptions(uow, [change])}, 201)


RENEWED = {
    "type": "object",
    "properties": {
        "renewed": {"type": "integer"},
        "problems": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Why others were not, by the external id of the subscription.",
        },
    },
}


def post_renewals(uow: UnitOfWork, call: Call) -> Answer:
    """Renew what is due; answers how many terms, and why others were not renewed."""
    body = command_body(call, DUE)
    done = renew_subscriptions(uow, cast("date", body["day"]))
    return json_answer({"renewed": done.terms, "problems": done.problems})


def _poster(kind: str, shape: Entity) -> Callable[[UnitOfWork, Call], Answer]:
    """Makes changes of one kind."""

    def post(uow: UnitOfWork, call: Call) -> Answer:
        body = {**command_body(call, shape), "kind": kind}
        change = change_of(body, record_id(call))
        return json_answer({"amendments": change_subscriptions(uow, [change])}, 201)

    return post


def get_in_force(uow: UnitOfWork, call: Call) -> Answer:
    """What was agreed on a day, with the amendments of the subscription."""
    subscription = record_id(call)
    asked = dict(call.query).get("day")
    try:
        day = date.fromisoformat(asked) if asked else uow.now.date()
    except ValueError as error:
        message = f"{asked!r} is not a day such as 2026-01-31"
        raise Refused(Problem("wrong_value", message, "day")) from error
    found = read_in_force(uow, subscription, day)
    return json_answer({**found, "amendments": read_amendments(uow, [subscription])})


def _endpoints_of_kinds() -> Iterable[Endpoint]:
    for path, (summary, fields, kind) in SINGLE.items():
        shape = Entity(name=kind, plural=f"{kind}s", fields=(*_TIMING, *fields))
        yield Endpoint(
            method="POST",
            path=f"/subscriptions/{{id}}/{path}",
            command="amend_subscriptions",
            subject="subscription",
            handler=in_transaction(_poster(kind, shape)),
            summary=summary,
            bodies=body_schema(shape),
            answers={JSON: AMENDED},
            status=201,
            makes=("amendment",),
        )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/subscriptions/amend",
        command="amend_subscriptions",
        handler=in_transaction(post_changes),
        summary="Change many subscriptions, all or none",
        help="Each change names a subscription, or an account, site or rate plan whose running "
        "subscriptions are all changed. A problem's line is the position of the subscription.",
        bodies=rows_schema(CHANGES),
        examples={JSON: {"changes": [{"of_site": "HQ", "kind": "suspend", "day": "2026-12-01"}]}},
        answers={JSON: AMENDED},
        status=201,
        makes=("amendment", "subscription", "subscription_charge", "price"),
    ),
    Endpoint(
        method="POST",
        path="/subscriptions/{id}/amend",
        command="amend_subscriptions",
        subject="subscription",
        handler=in_transaction(post_change),
        summary="Change a subscription from a day on",
        bodies=body_schema(AMENDMENT),
        examples={JSON: {"kind": "change_plan", "rate_plan": "large", "when": "next_period"}},
        answers={JSON: AMENDED},
        status=201,
        makes=("amendment", "subscription", "subscription_charge", "price"),
    ),
    *_endpoints_of_kinds(),
    Endpoint(
        method="POST",
        path="/subscriptions/renew-due",
        command="renew_subscriptions",
        handler=in_transaction(post_renewals),
        summary="Renew or end all subscriptions whose term ends by a day",
        help="As each says by its renewal. Doing it again changes nothing.",
        bodies=body_schema(DUE),
        answers={JSON: RENEWED},
        makes=("amendment",),
    ),
    Endpoint(
        method="GET",
        path="/subscriptions/{id}/in-force",
        command="see_subscriptions_in_force",
        subject="subscription",
        handler=reading(get_in_force),
        summary="What was agreed on a day, and every amendment",
        parameters=(_DAY,),
        answers={JSON: {"type": "object"}},
    ),
)
