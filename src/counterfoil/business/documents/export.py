"""Invoices as CSV and JSON: the same facts as the PDF, for other programs.

Numbers are exact texts, dates are ISO 8601, service periods are half-open (``service_end`` is the
first day no longer served). The same invoice always gives the same bytes.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import cast

from counterfoil.core.money.currencies import exponent
from counterfoil.platform.metadata import Record

CSV_COLUMNS = (
    "invoice_number", "invoice_kind", "invoice_state", "invoice_date", "due_date", "account",
    "bill_to_name", "currency", "line", "account_name", "site_name", "product_name", "description",
    "service_start", "service_end", "quantity", "unit", "unit_amount", "amount",
)  # fmt: skip
"""The header of ``invoice_csv``."""

_LINE_FIELDS = (
    "position", "account_name", "site_name", "product_name", "description", "service_start",
    "service_end", "quantity", "unit", "unit_amount", "amount",
)  # fmt: skip
_INVOICE_FIELDS = (
    "number", "kind", "state", "currency", "invoice_date", "due_date", "finalized_at", "total",
)  # fmt: skip
_ADDRESS_FIELDS = ("street", "city", "region", "postal_code", "country", "tax_id", "email")
_SELLER_FIELDS = ("name", *_ADDRESS_FIELDS, "phone", "website", "payment_instructions")
_BILL_TO_FIELDS = ("name", "attention", *_ADDRESS_FIELDS)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def invoice_csv(invoices: Iterable[tuple[Record, Sequence[Record]]]) -> str:
    """One row per line of each invoice, RFC 4180, with a header.

    Custom fields that the invoices tell stand behind, in columns such as ``account.x_region``.

    A text that a spreadsheet would take for a formula gets an apostrophe in front; numbers keep
    their sign.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    documents = list(invoices)
    custom = _custom_columns(documents)
    writer.writerow([*CSV_COLUMNS, *custom])
    for invoice, lines in documents:
        snapshot = cast("Mapping[str, Mapping[str, object]]", invoice["snapshot"])
        places = exponent(str(invoice["currency"]))
        head = [
            _text(invoice.get("number")),
            _text(invoice["kind"]),
            _text(invoice["state"]),
            _plain(invoice["invoice_date"]),
            _plain(invoice["due_date"]),
            _text((snapshot.get("account") or {}).get("external_id")),
            _text((snapshot.get("bill_to") or {}).get("name")),
            _text(invoice["currency"]),
        ]
        of_account = custom_values(snapshot)
        writer.writerows(
            [
                *head,
                *(_cell(line, name, places) for name in _LINE_FIELDS),
                *_custom_cells(of_account | custom_values(line), custom),
            ]
            for line in lines
        )
    return out.getvalue()


def invoice_json(invoice: Record, lines: Sequence[Record]) -> str:
    """The invoice with its parties and lines as one JSON object, decimals as strings."""
    snapshot = cast("Mapping[str, object]", invoice["snapshot"])
    places = exponent(str(invoice["currency"]))
    content = {
        **{name: _json_value(invoice, name, places) for name in _INVOICE_FIELDS},
        "seller": _party(snapshot.get("seller"), _SELLER_FIELDS),
        "bill_to": _party(snapshot.get("bill_to"), _BILL_TO_FIELDS),
        "account": _party(snapshot.get("account"), ("external_id", "name"))
        | _custom_part(snapshot),
        "payment_terms_days": snapshot.get("payment_terms_days"),
        "purchase_order": snapshot.get("purchase_order"),
        **{name: snapshot[name] for name in ("corrects", "reason") if snapshot.get(name)},
        "lines": [
            {name: _json_value(line, name, places) for name in _LINE_FIELDS} | _custom_part(line)
            for line in lines
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1)


def custom_values(kept_in: Mapping[str, object]) -> dict[str, object]:
    """The custom fields that a snapshot or a line keeps: ``account.x_region`` to their value."""
    kept = kept_in.get("custom_fields") or []
    if isinstance(kept, str):
        kept = json.loads(kept)
    values: dict[str, object] = {}
    for one in cast("list[dict[str, object]]", kept):
        values[f"{one['of']}.{one['name']}"] = one["value"]
        if "currency" in one:
            values[f"{one['of']}.{one['name']}_currency"] = one["currency"]
    return values


def _custom_part(kept_in: Mapping[str, object]) -> dict[str, object]:
    """For JSON; nothing where there are none."""
    values = custom_values(kept_in)
    return {"custom_fields": values} if values else {}


def _custom_columns(documents: Sequence[tuple[Record, Sequence[Record]]]) -> list[str]:
    found: set[str] = set()
    for invoice, lines in documents:
        found |= custom_values(cast("Mapping[str, object]", invoice["snapshot"])).keys()
        for line in lines:
            found |= custom_values(line).keys()
    return sorted(found)


def _custom_cells(values: Mapping[str, object], columns: Sequence[str]) -> list[str]:
    return [
        _text(", ".join(map(str, value)) if isinstance(value, list) else value)
        for value in map(values.get, columns)
    ]


def exact_text(value: Decimal, places: int = 0) -> str:
    """A decimal in full, without exponent, with at least ``places`` decimals."""
    whole, _, fraction = f"{value:f}".partition(".")
    fraction = fraction.rstrip("0").ljust(places, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _party(party: object, fields: Sequence[str]) -> dict[str, object]:
    """A party of the snapshot in a fixed order; a stored document has none of its own."""
    known = cast("Mapping[str, object]", party or {})
    return {name: known.get(name) for name in fields}


def _json_value(record: Record, name: str, places: int) -> object:
    value = record.get(name)
    if value is None or isinstance(value, int):
        return value
    return _plain(value, places if name in {"amount", "total"} else 0)


def _cell(line: Record, name: str, places: int) -> str:
    value = line.get(name)
    if isinstance(value, str):
        return _text(value)
    return _plain(value, places if name == "amount" else 0)


def _plain(value: object, places: int = 0) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return exact_text(value, places)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else str(value)


def _text(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
