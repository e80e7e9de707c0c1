"""``counterfoil invoices credit``, ``void`` and ``debit``: documents that correct final ones."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

import typer

from counterfoil.business.billing.credit_notes import (
    DebitPart,
    credit_invoice,
    debit_invoice,
    reissue_invoice,
    void_invoice,
)
from counterfoil.business.billing.crediting import CreditPart
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.one_off import OneOffLine, bill_one_off
from counterfoil.business.billing.reissuing import reissue_rated_again
from counterfoil.business.documents.queries import document_name
from counterfoil.business.receivables.commands import apply_credits
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.numbers import decimal_of
from counterfoil.interfaces.cli.organisation import day_of, opened_organisation, opened_records
from counterfoil.interfaces.cli.output import print_table, trimmed
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

Number = Annotated[str, typer.Argument(help="Number of the invoice or debit note.")]
Reason = Annotated[str, typer.Option(help="Why; it stands on the document.")]
Line = Annotated[int | None, typer.Option(min=1, help="Of this line only, by its number.")]
Amount = Annotated[str | None, typer.Option(help="So much, such as 9.95.")]
Quantity = Annotated[str | None, typer.Option(help="The share of so many units of the line.")]
OnDay = Annotated[
    datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Date of the document.")
]
Draft = Annotated[bool, typer.Option("--draft", help="Leave it as a draft.")]
Key = Annotated[
    str | None, typer.Option(help="Your name of the request: asked again, nothing is added.")
]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day credited.")]
EndDay = Annotated[
    datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day not credited any more.")
]


def credit_command(
    number: Number,
    reason: Reason,
    line: Line = None,
    amount: Amount = None,
    quantity: Quantity = None,
    start: Day = None,
    end: EndDay = None,
    on: OnDay = None,
    draft: Draft = False,
    key: Key = None,
) -> None:
    """Credit an invoice: all that is left, a line, an amount, a quantity or a period.

    Example: counterfoil invoices credit INV-000012 --reason "Bridge was down" --line 3 --amount 20
    """
    given = {
        "amount": decimal_of(amount),
        "quantity": decimal_of(quantity),
        "start": day_of(start),
        "end": day_of(end),
    }
    if line is None and (quantity or start or end):
        raise Refused(Problem("missing", "a quantity or period is one of a --line", "line"))
    if (start is None) != (end is None) or len([x for x in (amount, quantity, start) if x]) > 1:
        message = "give --amount, --quantity, or --start with --end"
        raise Refused(Problem("bad_choice", message, "line"))
    with opened_records() as uow:
        note = credit_invoice(
            uow,
            number,
            _request(reason, on, draft, key),
            parts=[] if line is None else [CreditPart(position=line, **given)],  # type: ignore[arg-type]
            amount=decimal_of(amount) if line is None else None,
        )
        _settle(uow, note)
    _tell(note)


def void_command(
    number: Number, reason: Reason, on: OnDay = None, draft: Draft = False, key: Key = None
) -> None:
    """Credit all that is left of an invoice, which then counts as voided."""
    with opened_records() as uow:
        note = void_invoice(uow, number, _request(reason, on, draft, key))
        _settle(uow, note)
    _tell(note)


def reissue_command(
    number: Number,
    reason: Reason,
    on: OnDay = None,
    draft: Draft = False,
    key: Key = None,
    rated_again: Annotated[
        bool, typer.Option("--rated-again", help="With today's prices, service and usage.")
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="Show what that would come to; store nothing.")
    ] = False,
) -> None:
    """Void an invoice and bill the same again, to who is billed today."""
    if preview and not rated_again:
        raise Refused(Problem("bad_choice", "--preview goes with --rated-again", "preview"))
    asked = _request(reason, on, draft, key)
    if rated_again:
        _reissue_rated_again(number, asked, preview=preview)
        return
    with opened_records() as uow:
        made = reissue_invoice(uow, number, asked)
        _settle(uow, made)
    _tell(made)


def _reissue_rated_again(number: str, asked: Request, *, preview: bool) -> None:
    with opened_organisation() as organisation:
        database, now = organisation.database, organisation.clock()
        unit = database.rehearsal(now=now) if preview else database.transaction(now=now)
        with unit as uow:
            done = reissue_rated_again(uow, organisation.usage_store, number, asked)
            _settle(uow, done.credit_note)
    columns = ("subscription", "charge", "cycle_start", "cycle_end", "billed", "now", "difference")
    rows = [[row[name] for name in columns] for row in done.differences]
    print_table("Rated again, before discounts", columns, rows, as_json=False)
    for one in filter(None, (done.credit_note, done.invoice)):
        _tell(one)
    if preview:
        typer.echo("Nothing was stored.")


def one_off_command(
    account: Annotated[str, typer.Argument(help="External id of the account.")],
    description: Annotated[str, typer.Argument(help="What the line says.")],
    unit_amount: Annotated[
        str, typer.Argument(help="What one of it costs: 120, or after -- one below 0: -- -20.")
    ],
    quantity: Annotated[str, typer.Option(help="How many.")] = "1",
    product: Annotated[str | None, typer.Option(help="External id of a product.")] = None,
    on: OnDay = None,
    draft: Draft = False,
    key: Key = None,
) -> None:
    """Bill one line of your own to an account; several lines go over REST.

    Example: counterfoil invoices one-off ACME "Training on site" 950 --quantity 2
    """
    line = OneOffLine(
        description=description,
        unit_amount=decimal_of(unit_amount) or Decimal(0),
        quantity=decimal_of(quantity) or Decimal(0),
        product=product,
    )
    asked = Request(on=day_of(on), finalize=not draft, key=key)
    with opened_records() as uow:
        made = bill_one_off(uow, account, [line], asked)
        _settle(uow, made)
    _tell(made)


def debit_command(
    number: Number,
    reason: Reason,
    line: Line = None,
    amount: Amount = None,
    quantity: Quantity = None,
    on: OnDay = None,
    draft: Draft = False,
    key: Key = None,
) -> None:
    """Charge more for what an invoice billed: an amount, or a quantity of a line.

    Example: counterfoil invoices debit INV-000012 --reason "Rate agreed late" --line 3 --amount 20
    """
    more, units = decimal_of(amount), decimal_of(quantity)
    if line is None and units is not None:
        raise Refused(Problem("missing", "a quantity is one of a --line", "line"))
    with opened_records() as uow:
        note = debit_invoice(
            uow,
            number,
            _request(reason, on, draft, key),
            parts=[] if line is None else [DebitPart(position=line, amount=more, quantity=units)],
            amount=more if line is None else None,
        )
        _settle(uow, note)
    _tell(note)


def _request(reason: str, on: datetime | None, draft: bool, key: str | None) -> Request:
    return Request(reason=reason, on=day_of(on), finalize=not draft, key=key)


def _settle(uow: UnitOfWork, note: Record) -> None:
    apply_credits(uow, [int(str(note["account_id"]))])


def _tell(note: Record) -> None:
    total = trimmed(Decimal(str(note["total"])))
    typer.echo(f"{document_name(note)}: {total} {note['currency']}")
