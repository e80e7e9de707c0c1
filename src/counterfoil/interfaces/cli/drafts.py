"""``counterfoil invoices waiting``, ``approve``, ``refuse``, ``merge`` and ``split``."""

from typing import Annotated

import typer

from counterfoil.business.billing.approving import approve_drafts, refuse_drafts, waiting_drafts
from counterfoil.business.billing.arranging import merge_drafts, split_draft
from counterfoil.business.documents.queries import document_name, find_invoices
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_table, trimmed
from counterfoil.platform.metadata import Record

Drafts = Annotated[list[str], typer.Argument(help="Drafts, such as draft-7.")]


def waiting_command(as_json: AsJson = False) -> None:
    """Drafts that somebody has to approve before they become final."""
    with opened_records() as uow:
        rows = waiting_drafts(uow)
    columns = ("draft", "account", "account_name", "kind", "invoice_date", "currency", "total")
    shown = [
        [f"draft-{row['id']}", *(row[name] for name in columns[1:-1]), trimmed(row["total"])]
        for row in rows
    ]
    print_table("Waiting for approval", columns, shown, as_json=as_json)


def approve_command(drafts: Drafts) -> None:
    """Approve drafts: they become final with `bills finalize`, or when their grace is over."""
    with opened_records() as uow:
        approved = approve_drafts(uow, find_invoices(uow, drafts))
    typer.echo(f"{len(approved)} drafts approved.")


def refuse_command(
    drafts: Drafts, reason: Annotated[str, typer.Option(help="Why, for the record.")]
) -> None:
    """Take drafts back; what they billed is due again."""
    with opened_records() as uow:
        count = refuse_drafts(uow, find_invoices(uow, drafts), reason)
    typer.echo(f"{count} drafts taken back.")


def merge_command(drafts: Drafts) -> None:
    """Merge drafts of one account, or of its tree, into the first of them."""
    with opened_records() as uow:
        merged = merge_drafts(uow, find_invoices(uow, drafts))
    _tell(merged)


def split_command(
    draft: Annotated[str, typer.Argument(help="The draft, such as draft-7.")],
    line: Annotated[list[int], typer.Option(help="Line that goes to a new draft; repeatable.")],
    purchase_order: Annotated[str | None, typer.Option(help="What the new draft prints.")] = None,
) -> None:
    """Put chosen lines of a draft on a new one; what belongs to them goes along."""
    with opened_records() as uow:
        (found,) = find_invoices(uow, [draft])
        both = split_draft(uow, found, line, purchase_order=purchase_order)
    for one in both:
        _tell(one)


def _tell(draft: Record) -> None:
    typer.echo(f"{document_name(draft)}: {trimmed(draft['total'])} {draft['currency']}")
