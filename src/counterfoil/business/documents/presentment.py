"""What an invoice says, as text ready to print: ``presentment(invoice, lines)``.

Templates only place this; every date, number and word is decided here, from Decimals, once, for
PDF and (later) screen and e-mail alike. Everything comes from the invoice's own snapshot and
lines, so a document printed years later says what it said.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any, cast

from counterfoil.business.documents.notation import Notation, notation_of
from counterfoil.business.documents.settlement import settled_total
from counterfoil.business.documents.words import BY_LANGUAGE, ENGLISH
from counterfoil.core.money.currencies import exponent
from counterfoil.platform.metadata import Record

PAPERS = ("a4", "us-letter")
DEFAULT_BRAND = "#1f4e79"
STEPS_SHOWN = 4
"""A line priced in more steps than this says how many, not which."""

LONGEST_FIGURE = 15
"""A quantity or unit price of more characters does not fit its column."""
_ADDRESS = ("street", ("postal_code", "city"), "region", "country")

Presentment = dict[str, Any]
"""Plain JSON data for a template; see ``presentment``."""


def presentment(invoice: Record, lines: Sequence[Record]) -> Presentment:
    """The printable content of an invoice and its lines (``invoice_line`` records by position).

    A line may carry more keys, taken from its rated charge: ``steps`` (the tiers it was priced
    by), ``days`` and ``cycle_days`` (its proration), ``included_quantity``; they become its short
    explanation. Subtotals are sums of the lines' amounts. An invoice may carry a ``settlement``
    (see settlement.py). Refuses a currency not in ISO 4217.
    """
    snapshot = cast("Mapping[str, Any]", invoice["snapshot"])
    language = str(snapshot.get("language") or "en")
    notation = notation_of(language)
    words = BY_LANGUAGE.get(notation.locale.language, ENGLISH)
    currency = str(invoice["currency"])
    places = exponent(currency)
    total = _decimal(invoice["total"])
    groups = _groups(lines, notation, places, words)
    draft = invoice["state"] != "final"  # Suppressed and carried ones were never issued either.
    heading = words[str(invoice["kind"])]
    number = words["draft_number"] if draft else clean(invoice["number"])
    amount = notation.amount(total, places)
    seller_record = snapshot.get("seller") or {}
    seller = seller_block(seller_record, notation, words)
    bill_to = bill_to_block(snapshot, notation, words)
    facts = _facts(invoice, snapshot, notation, words)
    settled = settled_total(invoice, notation, words, places)
    return {
        "lang": notation.locale.language,
        "paper": snapshot["paper"] if snapshot.get("paper") in PAPERS else "a4",
        **colours(str(seller_record.get("brand_color") or DEFAULT_BRAND)),
        "watermark": words["draft"] if draft else "",
        "title": f"{heading} {number}" if not draft else words["draft_number"],
        "heading": heading,
        "number": number,
        "words": {name: words[name] for name in _PRINTED_WORDS},
        "seller": seller,
        "bill_to": bill_to,
        "facts": facts,
        "running": {
            "left": f"{seller['name']} · {heading} {number}",
            "right": bill_to["name"],
        },
        "currency": currency,
        "amount_label": words["amount"].format(currency=currency),
        "total": {
            "label": words["total_credited"] if total < 0 else words["total_due"],
            "amount": amount,
            "note": _note(invoice, snapshot, total, notation, words),
        },
        "head": settled.get("head", {}),
        "settled": settled["rows"],
        "groups": groups,
        "widths": column_widths(groups, words, currency),
        "payment": [] if total <= 0 else paragraphs(seller_record.get("payment_instructions")),
        "promise": words["promise"],
        "stub": [
            *_stub(number, f"{currency} {amount}", invoice, notation, words),
            *([settled["stub"]] if "stub" in settled else []),
        ],
    }


_PRINTED_WORDS = (
    "from", "bill_to", "line", "description", "service_period", "quantity", "unit_price",
    "how_to_pay", "page",
)  # fmt: skip


def _stub(
    number: str, amount: str, invoice: Record, notation: Notation, words: Mapping[str, str]
) -> list[list[str]]:
    """The counterfoil at the foot: number, due date and amount once more."""
    total = _decimal(invoice["total"])
    rows = [[words["number"], number]]
    if total > 0:
        rows.append([words["due_date"], notation.day(_date(invoice["due_date"]))])
    rows.append([words["total_credited"] if total < 0 else words["total_due"], amount])
    return rows


def explanation(line: Record, notation: Notation, words: Mapping[str, str]) -> str:
    """How a line's amount came about, in a few signs: ``1,000 × 0.05 + 234 × 0.04``.

    Empty when quantity and unit price already say it all, or when nothing is known of it.
    """
    steps = _steps(line)
    terms: list[str] = []
    for step in steps[:STEPS_SHOWN]:
        quantity, flat = _decimal(step.get("quantity")), _decimal(step.get("flat_amount"))
        if quantity:
            price = notation.quantity(_decimal(step.get("unit_amount")))
            terms.append(f"{notation.quantity(quantity)} × {price}")
        if flat:
            terms.append(notation.quantity(flat))
    if len(steps) > STEPS_SHOWN:
        terms.append("…")
    if not terms:
        return ""
    days, cycle_days = line.get("days"), line.get("cycle_days")
    if isinstance(days, int) and isinstance(cycle_days, int) and 0 < days < cycle_days:
        base = " + ".join(terms)
        return (
            f"({base}) × {days}/{cycle_days}" if len(terms) > 1 else f"{base} × {days}/{cycle_days}"
        )
    included = _decimal(line.get("included_quantity"))
    if included:
        terms.insert(0, words["included"].format(quantity=notation.quantity(included)))
    several = len(terms) > 1 or (line.get("unit_amount") is None and "×" in terms[0])
    return " + ".join(terms) if several else ""


def _steps(line: Record) -> Sequence[Mapping[str, Any]]:
    """A line's pricing steps; they come out of PostgreSQL as a document or as its JSON text."""
    steps = line.get("steps") or ()
    if isinstance(steps, str):
        steps = json.loads(steps)
    return cast("Sequence[Mapping[str, Any]]", steps)


def _groups(
    lines: Sequence[Record], notation: Notation, places: int, words: Mapping[str, str]
) -> list[Presentment]:
    """Lines by account (named only when there are several) and site, with their subtotals."""
    parts = [
        (account, site, list(rows))
        for (account, site), rows in groupby(
            lines, key=lambda line: (clean(line["account_name"]), clean(line.get("site_name")))
        )
    ]
    several_accounts = len({account for account, _, _ in parts}) > 1
    sites = {account: sum(part[0] == account for part in parts) for account, _, _ in parts}
    totals: dict[str, Decimal] = {}
    for account, _, rows in parts:
        totals[account] = totals.get(account, Decimal()) + _sum(rows)
    groups: list[Presentment] = []
    for index, (account, site, rows) in enumerate(parts):
        begins = index == 0 or parts[index - 1][0] != account
        ends = index + 1 == len(parts) or parts[index + 1][0] != account
        several_sites = sites[account] > 1
        site_name = site or (words["no_site"] if several_sites else "")
        # A lone site's subtotal would only repeat its account's, or the invoice's total.
        sums = [(site_name, _sum(rows))] if several_sites else []
        if several_accounts and ends:
            sums.append((account, totals[account]))
        groups.append(
            {
                "account": account if several_accounts and begins else "",
                "site": site_name,
                "lines": [_line(row, notation, places, words) for row in rows],
                "sums": [
                    [words["subtotal"].format(name=name), notation.amount(amount, places)]
                    for name, amount in sums
                ],
            }
        )
    return groups


def _line(line: Record, notation: Notation, places: int, words: Mapping[str, str]) -> Presentment:
    unit_amount = line.get("unit_amount")
    # A discount or a balance is no quantity of anything.
    counted = bool(line["unit"]) or _decimal(line["quantity"]) != 0
    quantity = notation.quantity(_decimal(line["quantity"])) if counted else ""
    price = "" if unit_amount is None else notation.amount(_decimal(unit_amount), places)
    short = explanation(line, notation, words)
    told = [": ".join(pair) for pair in custom_fields(line, notation, words)]
    if len(quantity) > LONGEST_FIGURE or len(price) > LONGEST_FIGURE:
        # Too wide for its column, and no digit may be cut: it is written out below the text.
        unit = f"{quantity} {clean(line['unit'])}"
        written = f"{unit} × {price}" if price else unit
        short = f"{written} = {short}" if short else written
        quantity = price = ""
    return {
        "position": str(line["position"]),
        "description": clean(line["description"]),
        "explanation": " · ".join(filter(None, [short, *told])),
        "period": notation.period(_date(line["service_start"]), _date(line["service_end"])),
        "quantity": quantity,
        "unit": clean(line["unit"], longest_word=12) if quantity else "",
        "unit_price": price,
        "amount": notation.amount(_decimal(line["amount"]), places),
    }


def seller_block(
    seller: Mapping[str, Any], notation: Notation, words: Mapping[str, str]
) -> Presentment:
    """Who issues a document, from the seller of its snapshot."""
    name = clean(seller.get("name"))
    tax_id = words["tax_id"].format(number=clean(seller["tax_id"])) if seller.get("tax_id") else ""
    reach = [clean(seller.get(field)) for field in ("email", "phone", "website")]
    imprint = [name, tax_id, clean(seller.get("website"))]
    return {
        "name": name,
        "initials": "".join(word[0] for word in name.split() if word[0].isalnum())[:2].upper(),
        "lines": [*_address(seller, notation), *filter(None, [tax_id, *reach])],
        "imprint": " · ".join(part for part in imprint if part),
        "logo": str(seller.get("logo_svg") or ""),
    }


def bill_to_block(
    snapshot: Mapping[str, Any], notation: Notation, words: Mapping[str, str]
) -> Presentment:
    """Whom a document is for, from its snapshot."""
    bill_to = snapshot.get("bill_to") or {}
    attention, tax_id = clean(bill_to.get("attention")), clean(bill_to.get("tax_id"))
    return {
        "name": clean(bill_to.get("name") or (snapshot.get("account") or {}).get("name")),
        "lines": [
            *([words["attention"].format(name=attention)] if attention else []),
            *_address(bill_to, notation),
            *([words["tax_id"].format(number=tax_id)] if tax_id else []),
        ],
    }


def _address(party: Mapping[str, Any], notation: Notation) -> list[str]:
    """The address lines in the order of ``_ADDRESS``, empty ones left out."""
    country = clean(party.get("country"))
    town = [clean(party.get("postal_code")), clean(party.get("city"))]
    region = clean(party.get("region"))
    if country == "US":  # City, State ZIP
        city = ", ".join(filter(None, [town[1], region]))
        lines = [" ".join(filter(None, [city, town[0]]))]
    else:
        lines = [" ".join(filter(None, town)), region]
    return [
        line
        for line in [
            *paragraphs(party.get("street")), *lines, notation.country(country) if country else "",
        ]
        if line
    ]  # fmt: skip


def _facts(
    invoice: Record, snapshot: Mapping[str, Any], notation: Notation, words: Mapping[str, str]
) -> list[list[str]]:
    account = snapshot.get("account") or {}
    order = clean(snapshot.get("purchase_order"))
    terms = snapshot.get("payment_terms_days")
    dated = words["credit_date" if invoice["kind"] == "credit_note" else "invoice_date"]
    facts = [[dated, notation.day(_date(invoice["invoice_date"]))]]
    if _decimal(invoice["total"]) > 0:
        facts.append([words["due_date"], notation.day(_date(invoice["due_date"]))])
    facts.append([words["account"], clean(account.get("external_id"))])
    if snapshot.get("corrects"):
        facts.append([words["corrects"], clean(snapshot["corrects"]["number"])])
    if snapshot.get("reason"):
        facts.append([words["reason"], clean(snapshot["reason"])])
    if order:
        facts.append([words["purchase_order"], order])
    if isinstance(terms, int) and invoice["kind"] != "credit_note":
        text = words["terms_days"].format(days=terms) if terms else words["terms_at_once"]
        facts.append([words["terms"], text])
    return facts + custom_fields(snapshot, notation, words)


def custom_fields(
    record: Mapping[str, Any], notation: Notation, words: Mapping[str, str]
) -> list[list[str]]:
    """Label and value of the custom fields that a snapshot or a line keeps."""
    kept = record.get("custom_fields") or ()
    if isinstance(kept, str):
        kept = json.loads(kept)
    return [[clean(one["label"]), _custom_value(one, notation, words)] for one in kept]


def _custom_value(one: Mapping[str, Any], notation: Notation, words: Mapping[str, str]) -> str:
    value = one["value"]
    match one["type"]:
        case "money":
            places = exponent(str(one["currency"]))
            return f"{one['currency']} {notation.amount(_decimal(value), places)}"
        case "number":
            return notation.quantity(_decimal(value))
        case "date":
            return notation.day(_date(value))
        case "boolean":
            return words["yes" if value else "no"]
    return ", ".join(map(clean, value)) if isinstance(value, list) else clean(value)


def _note(
    invoice: Record,
    snapshot: Mapping[str, Any],
    total: Decimal,
    notation: Notation,
    words: Mapping[str, str],
) -> str:
    """The line under the total: until when to pay, or where it was credited."""
    if total > 0:
        return words["pay_by"].format(date=notation.day(_date(invoice["due_date"])))
    if total == 0:
        return words["nothing_due"]
    account = clean((snapshot.get("account") or {}).get("external_id"))
    day = notation.day(_date(invoice["invoice_date"]))
    return words["credited_on"].format(account=account, date=day)


_WIDE, _NARROW, _PADDING = 0.575, 0.27, 1.05


def column_widths(
    groups: Sequence[Presentment], words: Mapping[str, str], currency: str
) -> list[float]:
    """Column widths in em, without the description's, which takes what remains.

    Typst could measure the cells itself, at twice the time of the whole page; counting the
    characters of tabular figures here is as good.
    """
    lines = [line for group in groups for line in group["lines"]]
    headings = {
        "position": words["line"],
        "period": words["service_period"],
        "quantity": words["quantity"],
        "unit": "",
        "unit_price": words["unit_price"],
        "amount": words["amount"].format(currency=currency),
    }
    widths = []
    for column, heading in headings.items():
        cells = {line[column] for line in lines}
        if column == "amount":
            cells |= {amount for group in groups for _, amount in group["sums"]}
        widest = max([_width(heading) * 0.92, *map(_width, cells)])
        limit = {"unit": 7.0, "period": 14.0}.get(column, 22.0)
        widths.append(round(min(widest, limit) + _PADDING, 2))
    return widths


def _width(text: str) -> float:
    """An upper bound of a text's width in em of Open Sans."""
    narrow = sum(character in ".,;:'’ ijltfrI|()-\u202f\xa0" for character in text)
    broad = sum(character in "mwMWGOQ×" for character in text)
    return (len(text) - narrow) * _WIDE + narrow * _NARROW + broad * 0.3


def colours(brand: str) -> dict[str, str]:
    """The brand colour, and black or white, whichever reads better on it.

    A colour too light to be read on paper gives way to the default for texts.
    """
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", brand):
        brand = DEFAULT_BRAND
    red, green, blue = (int(brand[at : at + 2], 16) for at in (1, 3, 5))
    brightness = (299 * red + 587 * green + 114 * blue) // 1000
    return {
        "brand": brand if brightness < 170 else DEFAULT_BRAND,
        "on-brand": "#ffffff",
    }


def clean(text: object, longest_word: int = 24) -> str:
    """One line of printable text; very long words get places where they may break."""
    if text is None:
        return ""
    printable = "".join(
        " " if character.isspace() else character
        for character in str(text)
        if character.isspace() or unicodedata.category(character) not in {"Cc", "Cs", "Co", "Cn"}
    )
    return " ".join(_breakable(word, longest_word) for word in printable.split())


def _breakable(word: str, longest: int) -> str:
    if len(word) <= longest:
        return word
    step = longest // 3
    return "\u200b".join(word[at : at + step] for at in range(0, len(word), step))


def paragraphs(text: object) -> list[str]:
    """The non-empty lines of a text of several lines, cleaned."""
    return [line for line in map(clean, str(text or "").splitlines()) if line]


def _sum(lines: Sequence[Record]) -> Decimal:
    return sum((_decimal(line["amount"]) for line in lines), Decimal())


def _decimal(value: object) -> Decimal:
    """A Decimal as it is; exact text (as JSON documents keep numbers) and int converted."""
    return value if isinstance(value, Decimal) else Decimal(str(value or 0))


def _date(value: object) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value))
