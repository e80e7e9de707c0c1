"""PAYMENT: money that came in, recorded and allocated by the command of receivables."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.receivables.commands import NewPayment, record_payment
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.records import Change, keys_of
from counterfoil.interfaces.brm.values import taken, written
from counterfoil.interfaces.brm.words import Wording, plain_name
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.unit_of_work import UnitOfWork


def create_payments(uow: UnitOfWork, wording: Wording, changes: Sequence[Change]) -> list[int]:
    """A payment for each: of the billing profile's account, allocated unless told otherwise."""
    uow.access.demand_command("record_payments")
    profiles = [_sent(wording, one, "BillingProfileId") for one in changes]
    given = [_sent(wording, one, "AccountId") for one in changes]
    owners = keys_of(uow, "billing_profile", "account_id", _numbers(profiles))
    accounts = [
        owners.get(cast("int", profile)) if account is None else account
        for profile, account in zip(profiles, given, strict=True)
    ]
    names = keys_of(uow, "account", "external_id", _numbers(accounts))
    problems: list[Problem] = []
    payments: list[NewPayment] = []
    for line, (account, change) in enumerate(zip(accounts, changes, strict=True), start=1):
        try:
            payments.append(_payment(wording, change, names.get(cast("int", account))))
        except Refused as refused:
            at = line if len(changes) > 1 else None
            problems += [Problem(p.code, p.message, p.field, line=at) for p in refused.problems]
    if problems:
        raise Refused(problems)
    # A command for each: it locks the account and allocates what is open there.
    made = [
        record_payment(uow.unrestricted(), payment, allocate=_allocates(change))
        for payment, change in zip(payments, changes, strict=True)
    ]
    return [int(one["id"]) for one in made]


def _payment(wording: Wording, change: Change, account: object) -> NewPayment:
    if account is None:
        message = "has to be the Id of a BILLING_PROFILE"
        raise Refused(Problem("unknown_reference", message, "BillingProfileId"))
    amount, method = _typed(wording, change, "Amount"), change.values.get("method")
    if amount is None:
        raise Refused(Problem("required", "is required", "Amount"))
    note, key = change.values.get("reference"), change.values.get("request_key")
    currency = change.values.get("currency")
    return NewPayment(
        account=str(account),
        amount=cast("Decimal", amount),
        received_on=cast("date | None", _typed(wording, change, "PaymentDate")),
        currency=None if currency is None else written(currency),
        method="transfer" if method is None else written(method),
        reference=None if note is None else written(note),
        key=None if key is None else written(key),
    )


def _allocates(change: Change) -> bool:
    sent = (value for name, value in change.row.items() if plain_name(name) == "autoallocate")
    return written(next(sent, "1")).strip().lower() not in ("0", "false")


def _sent(wording: Wording, change: Change, name: str) -> object:
    word = wording.word(name)
    if word is None:
        return None
    found = (value for sent, value in change.row.items() if wording.word(sent) is word)
    return taken(word, next(found, None))


def _typed(wording: Wording, change: Change, name: str) -> object:
    word = wording.demand(name)
    value = change.values.get(word.field.name)
    try:
        return None if value is None else read_value(word.field, value)
    except ValueError as error:
        raise Refused(Problem("wrong_type", str(error), name)) from None


def _numbers(values: Sequence[object]) -> list[int]:
    return sorted({one for one in values if isinstance(one, int)})
