"""A price book out of a FOCUS file: its own unit prices, so that its usage can be billed again.

Only what the standard defines is used; the text of the meter is the one the built-in collector
``focus`` gives the same row.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, DecimalException
from pathlib import Path

import yaml

from counterfoil.business.usage.declaration import (
    Declaration,
    FieldRule,
    Placeholder,
    parse_declaration,
)
from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem, Refused

PLAN = "focus-usage"
"""External id of the rate plan that holds all charges of the book."""

COMMITTED = "Committed"
"""Pricing category of usage that a commitment has paid for already."""

_NEEDED = ("ChargePeriodStart", "BillingCurrency", "ListUnitPrice", "ListCost", "PricingQuantity")
_TOLERANCE = Decimal("0.000000001")
_LAST_DIGIT = Decimal("0.0000000001")
_LONGEST_TEXT = 120


@dataclass(frozen=True, slots=True)
class FocusFile:
    """What a FOCUS file says about prices and customers.

    ``price_book`` is a document in the notation of price books, ``customers`` maps each
    identifier to the currency of its rows, ``first_day`` and ``last_day`` bound the charge
    periods' starts (UTC days, both inclusive). ``without_price`` counts usage rows for which the
    file itself tells no unit price.
    """

    price_book: str
    customers: Mapping[str, str]
    first_day: date
    last_day: date
    without_price: int


@dataclass(slots=True)
class _Meter:
    name: str
    unit: str
    covered: bool
    prices: dict[str, Counter[Decimal]] = field(default_factory=dict)
    quantity: Decimal = Decimal(0)


def price_book_from_focus(path: Path) -> str:
    """The price book alone; see :func:`read_focus`."""
    return read_focus(path).price_book


def read_focus(path: Path) -> FocusFile:
    """Read prices and customers out of a FOCUS 1.0 file, row by row.

    A meter and a charge are made per price id and pricing category. Its price is ListUnitPrice;
    where ListCost is not quantity times that (prices per block), ListCost / PricingQuantity, if it
    ends within 10 decimals; the one found most often counts. A committed price includes all of
    the file's quantity: the usage is rated at list and billed nothing. Refuses (422) a file
    without the columns, or without any usage.
    """
    declaration = parse_declaration({"format": "focus"})[0]
    meters: dict[str, _Meter] = {}
    customers: dict[str, Counter[str]] = {}
    days: list[date] = []
    without_price = 0
    for row in _rows(path):
        texts = {
            name: _text(declaration, declaration.fields[name], row)
            for name in ("meter", "identifier", "time")
        }
        if row["ChargeCategory"] != "Usage" or not all(texts.values()):
            continue
        customers.setdefault(texts["identifier"], Counter())[row["BillingCurrency"]] += 1
        days = _stretched(days, texts["time"])
        price = _unit_price(row)
        if price is None:
            without_price += 1
            continue
        covered = row["PricingCategory"] == COMMITTED
        meter = meters.setdefault(texts["meter"], _Meter(_name(row), _unit(row), covered))
        meter.prices.setdefault(row["BillingCurrency"], Counter())[price] += 1
        meter.quantity += max(_decimal(row["PricingQuantity"]) or Decimal(0), Decimal(0))
    if not days:
        raise Refused(Problem("no_usage", "the file has no usage rows", file=str(path)))
    book = yaml.safe_dump(_book(meters), sort_keys=False, allow_unicode=True, width=100)
    billed = {name: found.most_common(1)[0][0] for name, found in customers.items()}
    return FocusFile(book, billed, min(days), max(days), without_price)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="")
        known = tuple(reader.fieldnames or ())
        needed = (*_NEEDED, "ChargeCategory", "PricingCategory")
        missing = [column for column in needed if column not in known]
        if missing:
            problems = [
                Problem("unknown_column", f"there is no column {name}", name, known, str(path), 1)
                for name in missing
            ]
            raise Refused(problems)
        yield from reader


def _text(declaration: Declaration, rule: FieldRule, row: Mapping[str, str]) -> str:
    """The text of a field by the collector's rule; empty when it has none."""
    found = ""
    for part in rule.parts:
        if not isinstance(part, Placeholder):
            found += part
            continue
        texts = [row.get(column, "").strip() for column in part.columns]
        values = [
            declaration.value_maps.get(column, {}).get(text, text)
            for column, text in zip(part.columns, texts, strict=True)
            if text and text not in declaration.null_values
        ]
        if not values and part.otherwise is None:
            return ""
        found += values[0] if values else part.otherwise or ""
    return found


def _stretched(days: list[date], text: str) -> list[date]:
    try:
        day = date.fromisoformat(text[:10])
    except ValueError:
        return days
    return [min([*days, day]), max([*days, day])]


def _unit_price(row: Mapping[str, str]) -> Decimal | None:
    quantity, cost = _decimal(row["PricingQuantity"]), _decimal(row["ListCost"])
    price = _decimal(row["ListUnitPrice"])
    if price is not None and quantity is not None and cost is not None:
        if abs(quantity * price - cost) <= _TOLERANCE or not quantity:
            return _exact(price)
        return _exact(cost / quantity)
    return None if price is None else _exact(price)


def _exact(price: Decimal) -> Decimal | None:
    rounded = price.quantize(_LAST_DIGIT)
    return rounded if rounded == price and price >= 0 else None


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except DecimalException:
        return None
    return value if value.is_finite() else None


def _name(row: Mapping[str, str]) -> str:
    texts = [row.get(column, "")[:_LONGEST_TEXT] for column in ("ServiceName", "ChargeDescription")]
    return ": ".join(text for text in texts if text not in ("", "NULL"))


def _unit(row: Mapping[str, str]) -> str:
    unit = row.get("PricingUnit", "")
    return unit if unit not in ("", "NULL") else "unit"


def _book(meters: Mapping[str, _Meter]) -> dict[str, object]:
    charges = []
    for meter_id, meter in meters.items():
        prices = []
        for currency, found in meter.prices.items():
            amount = without_zeros(found.most_common(1)[0][0])
            price: dict[str, object] = {
                "currency": currency,
                "model": "per_unit",
                "amount": amount,
            }
            if meter.covered:
                price["included"] = format(meter.quantity, "f")
            prices.append(price)
        charge: dict[str, object] = {
            "id": meter_id,
            "name": f"{meter.name or meter_id} ({meter_id[-60:]})",
            "kind": "usage",
            "meter": meter_id,
            "unit": meter.unit,
            "prices": prices,
        }
        charges.append(charge)
    return {
        "products": [{"id": "focus", "name": "Cloud usage"}],
        "meters": [
            {"id": name, "name": meter.name or name, "unit": meter.unit, "aggregation": "sum"}
            for name, meter in meters.items()
        ],
        "rate_plans": [
            {"id": PLAN, "product": "focus", "name": "Cloud usage at list", "charges": charges}
        ],
    }
