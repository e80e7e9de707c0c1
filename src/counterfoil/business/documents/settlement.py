"""What was paid of a document, for print beside its total: given by whoever keeps payments.

Without it a document says what its snapshot says, for ever; with it, what was so on one day.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import cast

from counterfoil.business.documents.notation import Notation
from counterfoil.platform.metadata import Record

SETTLED = ("paid", "credited", "written_off")
"""The fields of a settlement that lessen what is open; beside them stand ``open`` and ``as_of``."""


def settled_total(
    invoice: Record, notation: Notation, words: Mapping[str, str], places: int
) -> dict[str, object]:
    """The rows from the total to the balance due, and what the head of the page says instead of
    the total; empty for a document without ``settlement``."""
    settlement = cast("Record | None", invoice.get("settlement"))
    if settlement is None:
        return {"rows": []}
    day = notation.day(cast("date", settlement["as_of"]))
    still = cast("Decimal", settlement["open"])
    rows = [
        [words[name].format(date=day), notation.amount(-cast("Decimal", settlement[name]), places)]
        for name in SETTLED
        if settlement[name]
    ]
    label, amount = words["balance_due"].format(date=day), notation.amount(still, places)
    return {
        "rows": [*rows, [label, amount]],
        "head": {"label": label, "amount": amount} | ({} if still else {"note": words["settled"]}),
        "stub": [label, f"{invoice['currency']} {amount}"],
    }
