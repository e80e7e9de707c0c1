"""Reading invoices for printing and export: many at once, one query for each kind of record."""

from collections.abc import Sequence

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

Document = tuple[Record, list[Record]]
"""An invoice and its lines by position, each with its rated charge's steps and proration."""

_INVOICES = "SELECT * FROM invoice WHERE id = ANY(:ids)"

_LINES = """
SELECT line.*, charge.steps, charge.included_quantity,
       CASE WHEN charge.kind = 'recurring' THEN charge.days END AS days,
       CASE WHEN charge.kind = 'recurring' THEN charge.cycle_days END AS cycle_days
FROM invoice_line line JOIN rated_charge charge ON charge.id = line.rated_charge_id
WHERE line.invoice_id = ANY(:ids) ORDER BY line.invoice_id, line.position
"""

_LISTING = """
SELECT invoice.id, invoice.number, invoice.kind,
       CASE WHEN EXISTS (SELECT 1 FROM invoice void WHERE void.corrects_id = invoice.id
                         AND void.correction = 'void' AND void.state = 'final')
            THEN 'voided' ELSE invoice.state END AS state, account.external_id AS account,
       account.name AS account_name, invoice.invoice_date, invoice.due_date, invoice.currency,
       invoice.total
FROM invoice JOIN account ON account.id = invoice.account_id
WHERE (CAST(:account AS text) IS NULL OR account.external_id = :account)
  AND (CAST(:state AS text) IS NULL OR invoice.state = :state)
  AND (CAST(:on_date AS date) IS NULL OR invoice.invoice_date = :on_date)
ORDER BY invoice.id LIMIT :limit
"""


def read_documents(uow: UnitOfWork, invoice_ids: Sequence[int]) -> list[Document]:
    """The invoices of these ids, in their order, with their lines. Refused 404: unknown id."""
    ids = list(invoice_ids)
    invoices = {invoice["id"]: invoice for invoice in uow.query(_INVOICES, ids=ids)}
    _refuse_missing([str(one) for one in ids if one not in invoices], "id")
    lines: dict[object, list[Record]] = {one: [] for one in ids}
    for line in uow.query(_LINES, ids=ids):
        lines[line["invoice_id"]].append(line)
    return [(invoices[one], lines[one]) for one in ids]


def read_document(uow: UnitOfWork, name: str) -> Document:
    """The invoice of that number or id with its lines. Refused 404: there is none."""
    return read_documents(uow, find_invoices(uow, [name]))[0]


def find_invoices(uow: UnitOfWork, names: Sequence[str]) -> list[int]:
    """The ids of invoices named by number or, as drafts have none, by id (``7``, ``draft-7``).

    Refused 404 with every name that is not there.
    """
    wanted = {name: _id_of(name) for name in names}
    rows = uow.query(
        "SELECT id, number FROM invoice WHERE number = ANY(:numbers) OR id = ANY(:ids)",
        numbers=list(wanted),
        ids=[one for one in wanted.values() if one is not None],
    )
    ids: dict[object, int] = {row["number"]: int(str(row["id"])) for row in rows}
    known = {int(str(row["id"])) for row in rows}
    for name, one in wanted.items():
        if name not in ids and one in known:
            ids[name] = one
    _refuse_missing([name for name in wanted if name not in ids], "number")
    return [ids[name] for name in names]


def list_invoices(
    uow: UnitOfWork,
    *,
    account: str | None = None,
    state: str | None = None,
    on_date: object = None,
    limit: int = 50,
) -> list[Record]:
    """Invoices in order of their making: id, number, kind, state, account, dates and total.

    ``account`` is an external id, ``state`` draft or final, ``on_date`` the invoice date. A final
    document of which a credit note voids all is shown as voided.
    """
    return uow.query(_LISTING, account=account, state=state, on_date=on_date, limit=limit)


def document_name(invoice: Record) -> str:
    """The invoice's name for files and commands: its number, or ``draft-ID``."""
    return str(invoice["number"] or f"draft-{invoice['id']}")


def _id_of(name: str) -> int | None:
    digits = name.removeprefix("draft-")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def _refuse_missing(missing: Sequence[str], field: str) -> None:
    if missing:
        problems = [
            Problem("unknown_invoice", f"there is no invoice {name!r}", field) for name in missing
        ]
        raise Refused(problems, status=404)
