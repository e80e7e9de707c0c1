"""``counterfoil payments``, ``statement`` and ``ageing``: who paid what, and who owes what."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import typer

from counterfoil.business.receivables.commands import (
    Chosen,
    Credit,
    NewPayment,
    allocate_credit,
    apply_credits,
    record_payment,
    refund_credit,
    unallocate_credit,
    write_off_document,
)
from counterfoil.business.receivables.queries import (
    BANDS,
    account_balance,
    account_statement,
    read_ageing,
)
from counterfoil.business.receivables.reversing import reverse_settlement
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.numbers import decimal_of
from counterfoil.interfaces.cli.organisation import AsJson, day_of, opened_records
from counterfoil.interfaces.cli.output import print_table, trimmed

app = typer.Typer(
    no_args_is_help=True,
    help="Payments: record, allocate, unallocate, refund; write-offs; what an account owes.",
)

Account = Annotated[str, typer.Argument(help="External id of the account.")]
CreditName = Annotated[str, typer.Argument(help="Number of a credit note, or the id of a payment.")]
Amount = Annotated[str | None, typer.Option(help="So much; default all that is left.")]
Invoices = Annotated[
    list[str] | None,
    typer.Option("--invoice", help="Pay this one, NUMBER or NUMBER:AMOUNT; may be repeated."),
]
Key = Annotated[
    str | None, typer.Option(help="Your name of the request: asked again, nothing is added.")
]
Method = Annotated[str, typer.Option(help="transfer, card, direct_debit, check, cash or other.")]
Reference = Annotated[str | None, typer.Option(help="What the bank or the payer calls it.")]


def _formats() -> list[str]:
    return ["%Y-%m-%d"]


@app.command()
def record(
    account: Account,
    amount: Annotated[str, typer.Argument(help="What came in, such as 249.95.")],
    on: Annotated[
        datetime | None, typer.Option("--date", formats=_formats(), help="Default today.")
    ] = None,
    method: Method = "transfer",
    reference: Reference = None,
    invoice: Invoices = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it to the account's credit.")] = False,
    key: Key = None,
) -> None:
    """Record a payment; it pays the oldest due first, or the invoices you choose.

    Example: counterfoil payments record ACME 249.95 --date 2026-11-20 --invoice INV-000012
    """
    payment = NewPayment(
        account=account,
        amount=decimal_of(amount) or Decimal(0),
        received_on=day_of(on),
        method=method,
        reference=reference,
        key=key,
    )
    with opened_records() as uow:
        made = record_payment(uow, payment, chosen=_chosen(invoice), allocate=not keep)
        found = account_balance(uow, account)
    owes = _money(found.balance, str(made["currency"]))
    typer.echo(f"Payment {made['id']} recorded; {account} owes {owes} {made['currency']}.")


@app.command()
def allocate(credit: CreditName, invoice: Invoices = None) -> None:
    """Let what is left of a payment or credit note pay the oldest due first, or chosen invoices."""
    with opened_records() as uow:
        made = allocate_credit(uow, _credit(credit), _chosen(invoice))
    typer.echo(f"{len(made)} allocations made.")


@app.command()
def unallocate(
    credit: CreditName,
    invoice: Annotated[str | None, typer.Option(help="Only from this one.")] = None,
) -> None:
    """Undo what a payment or credit note pays."""
    with opened_records() as uow:
        undone = unallocate_credit(uow, _credit(credit), invoice)
    typer.echo(f"{len(undone)} allocations undone.")


@app.command()
def refund(
    credit: CreditName,
    amount: Amount = None,
    method: Method = "transfer",
    reference: Reference = None,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    key: Key = None,
) -> None:
    """Pay back what is left of a payment or credit note."""
    with opened_records() as uow:
        made = refund_credit(
            uow,
            _credit(credit),
            decimal_of(amount),
            method=method,
            reference=reference,
            reason=reason,
            key=key,
        )
    typer.echo(f"{_money(made['amount'], str(made['currency']))} {made['currency']} refunded.")


@app.command("write-off")
def write_off(
    number: Annotated[str, typer.Argument(help="Number of the invoice or debit note.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    amount: Amount = None,
    key: Key = None,
) -> None:
    """Give up what is open of an invoice."""
    with opened_records() as uow:
        made = write_off_document(uow, number, reason, decimal_of(amount), key=key)
    typer.echo(f"{made['amount']:f} of {number} written off.")


@app.command()
def reverse(
    record: Annotated[int, typer.Argument(help="Id of the payment, refund or write-off.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    kind: Annotated[
        Literal["payment", "refund", "write-off"], typer.Option("--of", help="What it is.")
    ] = "payment",
) -> None:
    """Take back a payment that bounced; with --of a refund or a write-off."""
    with opened_records() as uow:
        made = reverse_settlement(uow, kind.replace("-", "_"), record, reason)
    typer.echo(f"{kind.capitalize()} {record} of {trimmed(made['amount'])} no longer counts.")


@app.command("apply")
def apply_command() -> None:
    """Let the credit of all accounts pay what is open, the oldest due first."""
    with opened_records() as uow:
        typer.echo(f"{apply_credits(uow)} allocations made.")


@app.command()
def balance(account: Account, as_json: AsJson = False) -> None:
    """What an account owes: open documents and what is left of its payments and credit notes."""
    with opened_records() as uow:
        found = account_balance(uow, account)
    currency = found.currency or "USD"
    names = ("kind", "number", "due_date", "total", "payment_state", "open")
    rows = [[one[name] for name in names] for one in found.documents]
    for one in found.credits:
        kind = "payment" if one["payment_id"] else "credit_note"
        name = one["name"] or one["payment_id"]
        rows.append([kind, name, one["day"], -one["amount"], "", -one["remaining"]])
    shown = [[_cell(value, currency) for value in row] for row in rows]
    title = f"{account} owes {_money(found.balance, currency)} {currency}"
    if found.currency is None:
        title = f"{account} owes nothing: nothing was billed to it or paid by it"
    columns = ("kind", "number", "date", "total", "state", "open")
    print_table(title, columns, shown, as_json=as_json)


def statement_command(
    account: Account,
    start: Annotated[datetime, typer.Option("--from", formats=_formats(), help="First day.")],
    end: Annotated[
        datetime, typer.Option("--to", formats=_formats(), help="First day after the period.")
    ],
    as_json: AsJson = False,
) -> None:
    """The statement of an account: opening, documents, payments, closing."""
    with opened_records() as uow:
        found = account_statement(uow, account, start.date(), end.date())
    currency = found.currency or "USD"
    rows: list[list[object]] = [
        [found.start, "opening", "", None, None, found.opening],
        *(list(entry.values()) for entry in found.entries),
        [found.end, "closing", "", None, None, found.closing],
    ]
    shown = [[_cell(value, currency) for value in row] for row in rows]
    columns = ("day", "entry", "name", "debit", "credit", "balance")
    title = ", ".join(filter(None, (found.account_name, found.currency)))
    print_table(title, columns, shown, as_json=as_json)


def ageing_command(
    on: Annotated[
        datetime | None, typer.Option("--as-of", formats=_formats(), help="Default today.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What accounts owe, by how long it is overdue."""
    with opened_records() as uow:
        found = read_ageing(uow, day_of(on) or uow.now.date())
    columns = ("account", "currency", *BANDS, "credit", "balance")
    totals = [{"account": "total", **row} for row in found.totals]
    rows = [
        [_cell(row[name], str(row["currency"])) for name in columns]
        for row in [*found.accounts, *totals]
    ]
    print_table(f"Ageing as of {found.as_of}", columns, rows, as_json=as_json)


def _credit(name: str) -> Credit:
    return Credit(payment=int(name)) if name.isdecimal() else Credit(credit_note=name)


def _chosen(given: list[str] | None) -> list[Chosen]:
    chosen = []
    for one in given or ():
        number, colon, amount = one.rpartition(":")
        if colon and not number:
            raise Refused(Problem("wrong_value", f"{one!r} names no invoice", "invoice"))
        chosen.append(Chosen(number, decimal_of(amount)) if colon else Chosen(one))
    return chosen


def _money(amount: object, currency: str) -> str:
    return f"{round_half_up(Decimal(str(amount)), exponent(currency)):f}"


def _cell(value: object, currency: str) -> object:
    return round_half_up(value, exponent(currency)) if isinstance(value, Decimal) else value
