"""Saving the template assignments of a price book: which account has which template when."""

from collections.abc import Mapping, Sequence
from typing import cast

from counterfoil.business.products.price_book_entries import AssignmentEntry
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def save_assignments(
    uow: UnitOfWork,
    entries: Sequence[AssignmentEntry],
    ids: Mapping[str, Mapping[str, int]],
) -> dict[str, int]:
    """Create or change assignments, matched by account and first day; how many of each.

    ``ids`` has the ids of accounts and pricing templates by external id. Refuses assignments that
    share a day with another one of the account; a problem's line is the position of the entry.
    """
    accounts = sorted({ids["account"][entry.account] for entry in entries})
    stored = {
        (row["account_id"], row["valid_from"]): row
        for row in uow.query(
            "SELECT * FROM template_assignment WHERE account_id = ANY(:accounts)",
            accounts=accounts,
        )
    }
    fresh: list[Record] = []
    changes: list[tuple[int, Record]] = []
    for entry in entries:
        account = ids["account"][entry.account]
        values: Record = {
            "pricing_template_id": ids["pricing_template"][entry.template],
            "valid_to": entry.valid_to,
        }
        twin = stored.get((account, entry.valid_from))
        if twin is None:
            fresh.append({**values, "account_id": account, "valid_from": entry.valid_from})
        elif any(twin[name] != value for name, value in values.items()):
            changes.append((cast("int", twin["id"]), values))
    uow.update_many("template_assignment", changes)
    uow.create_many("template_assignment", fresh)
    return {
        "template_assignments_created": len(fresh),
        "template_assignments_changed": len(changes),
        "template_assignments_unchanged": len(entries) - len(fresh) - len(changes),
    }
