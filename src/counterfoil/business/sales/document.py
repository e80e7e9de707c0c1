"""What a quote says on paper, and the paper: by the template of invoices, grouped by site."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

from counterfoil.business.billing.manual_documents import profile_snapshot
from counterfoil.business.documents.notation import Notation, notation_of
from counterfoil.business.documents.pdf import typeset
from counterfoil.business.documents.presentment import (
    PAPERS,
    Presentment,
    bill_to_block,
    clean,
    colours,
    column_widths,
    explanation,
    paragraphs,
    seller_block,
)
from counterfoil.business.documents.words import BY_LANGUAGE as INVOICE_WORDS
from counterfoil.business.documents.words import ENGLISH as INVOICE_ENGLISH
from counterfoil.business.sales.queries import Quote
from counterfoil.business.sales.words import BY_LANGUAGE, ENGLISH, cycle_told
from counterfoil.business.subscriptions.invoicing import who_is_billed
from counterfoil.core.money.currencies import exponent
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.exact_json import decode_json
from counterfoil.platform.records.unit_of_work import UnitOfWork

Words = Mapping[str, str]

_LEAD = """
SELECT jsonb_build_object(
    'seller', (SELECT to_jsonb(s) FROM seller s ORDER BY id LIMIT 1),
    'account', jsonb_build_object('external_id', l.external_id, 'name', l.company),
    'bill_to', jsonb_build_object('name', l.company, 'attention', l.person, 'street', l.street,
        'city', l.city, 'region', l.region, 'postal_code', l.postal_code, 'country', l.country,
        'tax_id', l.tax_id),
    'paper', CASE WHEN l.country IN ('US', 'CA') THEN 'us-letter' ELSE 'a4' END,
    'language', 'en')::text AS snapshot
FROM lead l WHERE l.id = :lead
"""


def quote_snapshot(uow: UnitOfWork, quote: Quote) -> Record:
    """Seller and whom the quote is for, as they are today."""
    if quote.account is None:
        (row,) = uow.query(_LEAD, lead=quote.row["lead_id"])
        found: Record = dict(decode_json(row["snapshot"]))  # type: ignore[call-overload]
        return found
    _, snapshot = profile_snapshot(uow, who_is_billed(uow, quote.account).id)
    return snapshot


def quote_pdf(quote: Quote, snapshot: Mapping[str, Any], day: date) -> bytes:
    """The quote as PDF, dated a day; a draft says so."""
    return typeset(present_quote(quote, snapshot, day), "", day)


def present_quote(quote: Quote, snapshot: Mapping[str, Any], day: date) -> Presentment:
    """The printable content of a quote: lines by site with subtotals, terms, acceptance."""
    notation = notation_of(str(snapshot.get("language") or "en"))
    language = notation.locale.language
    words = {**INVOICE_WORDS.get(language, INVOICE_ENGLISH), **BY_LANGUAGE.get(language, ENGLISH)}
    row, places = quote.row, exponent(quote.row["currency"])
    currency = str(row["currency"])
    seller = seller_block(snapshot.get("seller") or {}, notation, words)
    bill_to = bill_to_block(snapshot, notation, words)
    number = words["version"].format(number=row["number"], version=row["version"])
    groups = _groups(quote.lines, notation, places, words)
    draft = row["status"] in ("draft", "in_approval", "approved") and row["sent_at"] is None
    value = notation.amount(row["contract_value"], places)
    return {
        "lang": language,
        "paper": snapshot["paper"] if snapshot.get("paper") in PAPERS else "a4",
        **colours(str((snapshot.get("seller") or {}).get("brand_color") or "")),
        "watermark": words["draft"] if draft else "",
        "title": f"{words['quote']} {number}",
        "heading": words["quote"],
        "number": number,
        "words": {name: words[name] for name in _PRINTED},
        "seller": seller,
        "bill_to": bill_to,
        "facts": _facts(quote, snapshot, day, notation, words),
        "running": {
            "left": f"{seller['name']} · {words['quote']} {number}",
            "right": bill_to["name"],
        },
        "currency": currency,
        "amount_label": words["amount"].format(currency=currency),
        "total": {
            "label": words["contract_value"],
            "amount": value,
            "note": _first_invoice(quote, notation, words),
        },
        "head": {},
        "settled": [],
        "groups": groups,
        "widths": column_widths(groups, words, currency),
        "payment": [],
        "promise": words["promise"],
        "stub": _sums(quote.lines, notation, places, words),
        "closing": _closing(quote, notation, words),
    }


_PRINTED = (
    *("from", "bill_to", "line", "description", "service_period", "quantity", "unit_price"),
    *("how_to_pay", "page"),
)


def _facts(
    quote: Quote, snapshot: Mapping[str, Any], day: date, notation: Notation, words: Words
) -> list[list[str]]:
    row = quote.row
    facts = [
        [words["date"], notation.day(day)],
        [words["valid_until"], notation.day(row["valid_until"])],
        [words["account"], clean((snapshot.get("account") or {}).get("external_id"))],
        [words["start"], notation.day(row["start_date"])],
        [words["term"], words["months"].format(months=row["term_months"])],
    ]
    terms = snapshot.get("payment_terms_days")
    if isinstance(terms, int):
        text = words["terms_days"].format(days=terms) if terms else words["terms_at_once"]
        facts.append([words["terms"], text])
    return facts


def _first_invoice(quote: Quote, notation: Notation, words: Words) -> str:
    invoices = quote.row["invoices"] or []
    if not invoices:
        return clean(quote.row["title"])
    first, places = invoices[0], exponent(quote.row["currency"])
    amount = f"{quote.row['currency']} {notation.amount(Decimal(first['total']), places)}"
    day = notation.day(date.fromisoformat(first["date"]))
    told = words["first_invoice"].format(date=day, amount=amount)
    return f"{clean(quote.row['title'])} · {told}" if quote.row["title"] else told


def _groups(
    lines: Sequence[Record], notation: Notation, places: int, words: Words
) -> list[Presentment]:
    ordered = sorted(lines, key=lambda line: (line["site_name"] or "", line["position"]))
    groups = []
    for site, rows in groupby(ordered, key=lambda line: line["site_name"]):
        of_site = list(rows)
        name = clean(site) or words["no_site"]
        shown = [one for line in of_site for one in _lines(line, notation, places, words)]
        sums = [
            [f"{words['subtotal'].format(name=name)}, {label}", amount]
            for label, amount in _amounts(of_site, notation, places, words)
        ]
        groups.append({"account": "", "site": name, "lines": shown, "sums": sums})
    return groups


def _lines(line: Record, notation: Notation, places: int, words: Words) -> list[Presentment]:
    shown: list[Presentment] = []
    for number, charge in enumerate(line["charges"]):
        counted = charge["quantity"] != 0 and charge["kind"] != "discount"
        unknown = charge["kind"] == "usage" and not charge["steps"]
        price = charge["unit_amount"]
        told = cycle_told(charge["cycle"], dict(words))
        is_usage = charge["kind"] == "usage"
        said = clean(line["description"]) if number == 0 else ""
        why = "" if charge["kind"] == "discount" else _why(charge, notation, words)
        why = words["as_used"] if unknown else why
        shown.append(
            {
                "position": str(line["position"]) if number == 0 else "",
                "description": clean(charge["description"]),
                "explanation": " · ".join(filter(None, [said, why])),
                "period": _charged(told, words, is_usage=is_usage and not unknown),
                "quantity": notation.quantity(charge["quantity"]) if counted else "",
                "unit": clean(charge["unit"], longest_word=12) if counted else "",
                "unit_price": "" if price is None else notation.amount(price, places),
                "amount": "" if unknown else notation.amount(charge["amount"], places),
            }
        )
    return shown


def _charged(cycle: str, words: Words, *, is_usage: bool) -> str:
    return f"{cycle}, {words['estimated']}" if is_usage else cycle


def _why(charge: Record, notation: Notation, words: Words) -> str:
    if charge["kind"] in ("minimum", "maximum", "true_up"):
        return ""
    return explanation({**charge, "included_quantity": None}, notation, words)


def _amounts(
    lines: Sequence[Record], notation: Notation, places: int, words: Words
) -> list[tuple[str, str]]:
    """What lines come to, by how often it is charged."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        for charge in line["charges"]:
            sums[charge["cycle"]] = sums.get(charge["cycle"], Decimal(0)) + charge["amount"]
    ordered = sorted(sums.items(), key=lambda one: (one[0] != "once", one[0]))
    return [
        (cycle_told(cycle, dict(words)), notation.amount(amount, places))
        for cycle, amount in ordered
    ]


def _sums(
    lines: Sequence[Record], notation: Notation, places: int, words: Words
) -> list[list[str]]:
    return [
        [words["in_all"].format(cycle=label), amount]
        for label, amount in _amounts(lines, notation, places, words)
    ]


def _closing(quote: Quote, notation: Notation, words: Words) -> list[Presentment]:
    until = notation.day(quote.row["valid_until"])
    sections: list[Presentment] = []
    if quote.row["terms"]:
        sections.append({"title": words["terms"], "paragraphs": paragraphs(quote.row["terms"])})
    said = [words["accepting"].format(date=until), words["signature"]]
    return [*sections, {"title": words["acceptance"], "paragraphs": said}]
