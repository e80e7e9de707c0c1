"""Drafts merged into one, or split into two, by hand. No amount changes: lines only move.

A draft that was arranged is a person's work: it is not computed anew, and has to be approved again
where approval is needed. Numbers are given at finalization as ever.
"""

from collections.abc import Sequence
from decimal import Decimal

from counterfoil.business.billing.commands import lock_accounts
from counterfoil.business.billing.drafts import locked_drafts
from counterfoil.business.billing.moving import arrange_lines, move_lines
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_PURCHASE_ORDER = 60

_MERGED_ACCOUNTS = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM invoice WHERE id = ANY(:sources)
    UNION SELECT account_id FROM merged_account WHERE invoice_id = ANY(:sources)) a
WHERE account_id <> :own
  AND account_id NOT IN (SELECT account_id FROM merged_account WHERE invoice_id = :target)
"""

_ARRANGED = """
UPDATE invoice SET arranged = true, approved_at = NULL, approved_by = NULL
WHERE id = ANY(:ids)
"""

_LINES = """
SELECT l.id, l.position, r.id AS rated_charge_id, r.kind, r.amount, r.subscription_charge_id,
       r.applies_to_id, r.adjustment_id
FROM invoice_line l JOIN rated_charge r ON r.id = l.rated_charge_id
WHERE l.invoice_id = :invoice ORDER BY l.position
"""


def merge_drafts(uow: UnitOfWork, drafts: Sequence[int]) -> Record:
    """Put all lines of these drafts (ids) on the first of them; answers with it.

    Its account pays: the others have to be of the same account or of its tree, in the same
    currency. Refuses (404) unknown ids, (409) what is no draft, or corrects another document.
    """
    ids = list(dict.fromkeys(drafts))
    if len(ids) < 2:
        raise Refused(Problem("required", "name at least two drafts", "invoice_ids"))
    rows = _locked(uow, ids)
    target, sources = rows[0], rows[1:]
    roots = {row["root_id"] for row in rows}
    if len(roots) > 1 or len({row["currency"] for row in rows}) > 1:
        message = "only drafts of one account, or of its tree, in one currency can be merged"
        raise Refused(Problem("not_mergeable", message, "invoice_ids"), 409)
    into, others = int(str(target["id"])), [int(str(row["id"])) for row in sources]
    accounts = uow.query(_MERGED_ACCOUNTS, sources=others, own=target["account_id"], target=into)
    uow.create_many(
        "merged_account",
        [{"invoice_id": into, "account_id": row["account_id"]} for row in accounts],
        by_command=True,
    )
    move_lines(uow, [(one, into) for one in others])
    _tell_what_it_is(uow, rows)
    uow.execute(_ARRANGED, ids=[into])
    return uow.get("invoice", into)


_TELL = """
UPDATE invoice SET bill_run_id = :run, site_id = :site, purchase_order = :ordered,
       snapshot = jsonb_set(snapshot, '{purchase_order}',
                            coalesce(to_jsonb(CAST(:ordered AS text)), CAST('null' AS jsonb)))
WHERE id = :id
"""


def _tell_what_it_is(uow: UnitOfWork, rows: Sequence[Record]) -> None:
    """One site and one order number if all have the same, else none, or all order numbers."""
    sites = {row["site_id"] for row in rows}
    orders = list(dict.fromkeys(str(row["purchase_order"] or "") for row in rows))
    ordered = ", ".join(filter(None, orders))
    uow.execute(
        _TELL,
        id=rows[0]["id"],
        run=next((row["bill_run_id"] for row in rows if row["bill_run_id"]), None),
        site=rows[0]["site_id"] if len(sites) == 1 else None,
        ordered=ordered if 0 < len(ordered) <= _PURCHASE_ORDER else None,
    )


def split_draft(
    uow: UnitOfWork,
    draft: int,
    positions: Sequence[int],
    *,
    purchase_order: str | None = None,
) -> tuple[Record, Record]:
    """Put chosen lines of a draft (id) on a new one; answers with both, the old one first.

    What belongs together goes along: all lines of a charge of a subscription, minimums, maximums
    and discounts of a line, an adjustment. What prepaid balances pay stays as far as it has
    something to pay. Refuses (404) an unknown draft, (422) positions it does not have or that leave
    nothing behind, (409) what is no draft.
    """
    (original,) = _locked(uow, [draft])
    lines = uow.query(_LINES, invoice=draft)
    moved = _belonging(lines, _chosen(lines, positions))
    stay = [row for row in lines if row not in moved and row["kind"] != "prepaid"]
    if not stay:
        message = "nothing would be left: what belongs to the other lines goes along"
        raise Refused(Problem("nothing_left", message, "lines"))
    head = {
        name: original[name]
        for name in (
            *("kind", "account_id", "bill_run_id", "reason", "currency", "invoice_date"),
            *("due_date", "usage_segment_seen", "site_id"),
        )
    }
    ordered = purchase_order or original["purchase_order"]
    snapshot = {**_snapshot(original), "purchase_order": ordered}
    made = {
        **head,
        "state": "draft",
        "total": Decimal(0),
        "purchase_order": ordered,
        "snapshot": snapshot,
    }
    new = int(str(uow.create("invoice", made, by_command=True)["id"]))
    _move(uow, moved, new)
    _share_prepaid(uow, [row for row in lines if row["kind"] == "prepaid"], stay, new)
    arrange_lines(uow, [draft, new])
    uow.execute(
        "INSERT INTO merged_account (created_at, updated_at, row_version, invoice_id, account_id) "
        "SELECT :now, :now, 1, :new, account_id FROM merged_account WHERE invoice_id = :old",
        now=uow.now,
        new=new,
        old=draft,
    )
    uow.execute(_ARRANGED, ids=[draft, new])
    return uow.get("invoice", draft), uow.get("invoice", new)


def _locked(uow: UnitOfWork, ids: Sequence[int]) -> list[Record]:
    """The drafts in the order asked for, their accounts locked before themselves."""
    accounts = uow.query("SELECT account_id FROM invoice WHERE id = ANY(:ids)", ids=list(ids))
    lock_accounts(uow, [int(row["account_id"]) for row in accounts])
    rows = locked_drafts(uow, ids)
    for row in rows:
        if row["corrects_id"] is not None:
            message = f"draft {row['id']} corrects another document and stays by itself"
            raise Refused(Problem("not_mergeable", message, "invoice_ids"), 409)
    return rows


def _snapshot(invoice: Record) -> Record:
    snapshot = invoice["snapshot"]
    return dict(snapshot) if isinstance(snapshot, dict) else {}


def _chosen(lines: Sequence[Record], positions: Sequence[int]) -> list[Record]:
    known = {row["position"]: row for row in lines if row["kind"] != "prepaid"}
    unknown = [position for position in positions if position not in known]
    if unknown or not positions:
        message = f"the draft has no line {unknown[0]} to move" if unknown else "name lines to move"
        allowed = tuple(str(position) for position in known)
        raise Refused(Problem("unknown_line", message, "lines", allowed))
    return [known[position] for position in dict.fromkeys(positions)]


def _belonging(lines: Sequence[Record], chosen: Sequence[Record]) -> list[Record]:
    """The chosen lines with all that belongs to them, in the order of the document."""
    moved = {row["rated_charge_id"] for row in chosen}
    while True:
        rows = [row for row in lines if row["rated_charge_id"] in moved]
        charges = {row["subscription_charge_id"] for row in rows} - {None}
        adjustments = {row["adjustment_id"] for row in rows} - {None}
        applied = {row["applies_to_id"] for row in rows} - {None}
        more = {
            row["rated_charge_id"]
            for row in lines
            if row["subscription_charge_id"] in charges
            or row["adjustment_id"] in adjustments
            or row["applies_to_id"] in moved
            or row["rated_charge_id"] in applied
        }
        if more <= moved:
            return rows
        moved |= more


def _move(uow: UnitOfWork, rows: Sequence[Record], target: int) -> None:
    charges = [row["rated_charge_id"] for row in rows]
    adjustments = [row["adjustment_id"] for row in rows if row["adjustment_id"]]
    given = {"target": target, "charges": charges}
    uow.execute("UPDATE rated_charge SET invoice_id = :target WHERE id = ANY(:charges)", **given)
    uow.execute(
        "UPDATE invoice_line SET invoice_id = :target WHERE rated_charge_id = ANY(:charges)",
        **given,
    )
    uow.execute(
        "UPDATE adjustment SET invoice_id = :target WHERE id = ANY(:adjustments)",
        target=target,
        adjustments=adjustments,
    )


def _share_prepaid(
    uow: UnitOfWork, draws: Sequence[Record], stay: Sequence[Record], target: int
) -> None:
    """Prepaid balances go on paying what stays, as far as it comes to something; the rest goes."""
    left = max(sum((row["amount"] for row in stay), Decimal(0)), Decimal(0))
    for row in draws:
        kept = min(-row["amount"], left)
        left -= kept
        if kept == -row["amount"]:
            continue
        if kept == 0:
            _move(uow, [row], target)
            continue
        _copy_draw(uow, row, row["amount"] + kept, target)
        uow.execute(
            "UPDATE rated_charge SET amount = :amount, exact_amount = :amount, "
            "list_amount = :amount WHERE id = :charge",
            amount=-kept,
            charge=row["rated_charge_id"],
        )
        uow.execute(
            "UPDATE invoice_line SET amount = :amount WHERE id = :line",
            amount=-kept,
            line=row["id"],
        )


_CHANGED = ("id", "created_at", "updated_at", "row_version", "invoice_id")
_AMOUNTS = ("amount", "exact_amount", "list_amount")


def _copy_draw(uow: UnitOfWork, row: Record, amount: Decimal, target: int) -> None:
    """The part of a draw that goes to another draft, as a row of its own."""
    (charge,), (line,) = uow.allocate_ids("rated_charge", 1), uow.allocate_ids("invoice_line", 1)
    amounts = dict.fromkeys(_AMOUNTS, ":amount")
    copies = (
        ("rated_charge", row["rated_charge_id"], charge, amounts),
        ("invoice_line", row["id"], line, {"amount": ":amount", "rated_charge_id": ":charge"}),
    )
    for entity, old, new, other in copies:
        names = [
            f'"{name}"'
            for name in uow.query(f"SELECT * FROM {entity} WHERE id = :old", old=old)[0]
            if name not in _CHANGED and name not in other
        ]
        uow.execute(
            f"INSERT INTO {entity} ({', '.join([*_CHANGED, *other, *names])}) "
            f"SELECT :new, :now, :now, 1, :target, {', '.join([*other.values(), *names])} "
            f"FROM {entity} WHERE id = :old",
            old=old,
            new=new,
            now=uow.now,
            target=target,
            amount=amount,
            **({"charge": charge} if ":charge" in other.values() else {}),
        )
