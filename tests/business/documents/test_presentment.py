"""What an invoice says: order, groups, subtotals, words and explanations."""

from datetime import date
from decimal import Decimal

import pytest

from counterfoil.business.documents.notation import notation_of
from counterfoil.business.documents.presentment import explanation, presentment
from counterfoil.business.documents.words import BY_LANGUAGE, ENGLISH
from counterfoil.core.problems import Refused

EN = notation_of("en")


def test_one_line_of_one_site_is_one_group_without_subtotal(make_invoice, make_line):
    content = presentment(*make_invoice([make_line(site_name="Bergen")]))
    assert content["groups"] == [
        {
            "account": "",
            "site": "Bergen",
            "lines": [
                {
                    "position": "1",
                    "description": "Premier dial-out",
                    "explanation": "",
                    "period": EN.period(date(2026, 10, 1), date(2026, 11, 1)),
                    "quantity": "1,846",
                    "unit": "minute",
                    "unit_price": "0.22",
                    "amount": "406.12",
                }
            ],
            "sums": [],
        }
    ]
    assert content["total"] == {
        "label": "Total due",
        "amount": "406.12",
        "note": "Please pay by Dec 1, 2026",
    }


def test_lines_stand_by_account_and_site_and_the_subtotals_add_up(make_invoice, make_line):
    lines = [
        make_line(account_name="Group", site_name=None, amount=Decimal("0.10")),
        make_line(account_name="Group", site_name="Bergen", amount=Decimal("1.10")),
        make_line(account_name="Group", site_name="Bergen", amount=Decimal("2.20")),
        make_line(account_name="Offshore", site_name="Aberdeen", amount=Decimal("-0.05")),
    ]
    content = presentment(*make_invoice(lines))
    assert [
        (group["account"], group["site"], len(group["lines"]), group["sums"])
        for group in content["groups"]
    ] == [
        ("Group", "Not bound to a site", 1, [["Subtotal Not bound to a site", "0.10"]]),
        ("", "Bergen", 2, [["Subtotal Bergen", "3.30"], ["Subtotal Group", "3.40"]]),
        ("Offshore", "Aberdeen", 1, [["Subtotal Offshore", "−0.05"]]),
    ]
    assert content["total"]["amount"] == "3.35"


def test_parties_facts_and_stub(make_invoice):
    content = presentment(*make_invoice())
    assert content["seller"]["lines"] == [
        "410 Harbor Street",
        "Portland, ME 04101",
        "United States",
        "Tax ID 01-7654321",
        "billing@meridian.example",
        "meridian.example",
    ]
    assert content["seller"]["initials"] == "MC"
    assert content["bill_to"] == {
        "name": "Halvorsen ASA",
        "lines": ["Attn. Åse Sørensen", "Bradbenken 1", "5003 Bergen", "Norway", "Tax ID NO 987"],
    }
    assert content["facts"] == [
        ["Invoice date", "Nov 1, 2026"],
        ["Due date", "Dec 1, 2026"],
        ["Account", "HALVORSEN"],
        ["Purchase order", "PO-7"],
        ["Terms", "30 days net"],
    ]
    assert content["stub"] == [
        ["Number", "INV-000482"],
        ["Due date", "Dec 1, 2026"],
        ["Total due", "USD 406.12"],
    ]
    assert content["payment"] == ["Bank transfer to account 123", "SWIFT FHBKUS33"]


def test_a_credit_note_asks_for_no_payment(make_invoice, make_line):
    line = make_line(quantity=Decimal(-2), amount=Decimal("-620.0000"))
    content = presentment(*make_invoice([line], kind="credit_note", number="CN-000003"))
    assert content["title"] == "Credit note CN-000003"
    assert content["total"] == {
        "label": "Total credited",
        "amount": "−620.00",
        "note": "Credited to account HALVORSEN on Nov 1, 2026",
    }
    assert content["payment"] == []
    assert [label for label, _ in content["facts"]] == ["Date", "Account", "Purchase order"]
    assert content["groups"][0]["lines"][0]["quantity"] == "−2"


def test_a_draft_says_so_and_has_no_number(make_invoice):
    content = presentment(*make_invoice(state="draft", number=None))
    assert (content["watermark"], content["number"]) == ("DRAFT", "Draft, not yet an invoice")


@pytest.mark.parametrize(
    ("currency", "amount", "text"),
    [("JPY", "1234.0000", "1,234"), ("KWD", "1.5000", "1.500"), ("CLF", "1.5000", "1.5000")],
)
def test_amounts_have_the_decimals_of_their_currency(
    make_invoice, make_line, currency, amount, text
):
    content = presentment(*make_invoice([make_line(amount=Decimal(amount))], currency=currency))
    assert content["groups"][0]["lines"][0]["amount"] == text
    assert content["amount_label"] == f"Amount ({currency})"


def test_an_unknown_currency_is_refused(make_invoice):
    with pytest.raises(Refused, match="ISO 4217"):
        presentment(*make_invoice(currency="XYZ"))


def test_a_small_price_is_shown_in_full(make_invoice, make_line):
    content = presentment(*make_invoice([make_line(unit_amount=Decimal("0.0000004000"))]))
    assert content["groups"][0]["lines"][0]["unit_price"] == "0.0000004"


def test_figures_too_wide_for_their_column_are_written_out_below_the_text(make_invoice, make_line):
    line = make_line(
        quantity=Decimal("0.123456789012345"), unit="GB", unit_amount=Decimal("0.0230000000")
    )
    shown = presentment(*make_invoice([line]))["groups"][0]["lines"][0]
    assert shown["explanation"] == "0.123456789012345 GB × 0.023"
    assert (shown["quantity"], shown["unit"], shown["unit_price"]) == ("", "", "")


def test_german_words_and_numbers(make_invoice, make_line):
    content = presentment(
        *make_invoice([make_line(amount=Decimal("1234.5"))], snapshot={"language": "de"})
    )
    assert content["heading"] == "Rechnung"
    assert content["total"]["amount"] == "1.234,50"
    assert content["facts"][0] == ["Rechnungsdatum", "1. Nov. 2026"]


def test_every_language_has_every_word():
    assert {language: words.keys() - ENGLISH.keys() for language, words in BY_LANGUAGE.items()} == {
        language: set() for language in BY_LANGUAGE
    }
    assert all(words.keys() == ENGLISH.keys() for words in BY_LANGUAGE.values())


def step(quantity: str, unit: str, flat: str = "0") -> dict[str, str]:
    return {"quantity": quantity, "unit_amount": unit, "flat_amount": flat}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, ""),
        ({"steps": [step("1846", "0.22")]}, ""),
        (
            {"unit_amount": None, "steps": [step("1000", "0.05"), step("234", "0.04", "10")]},
            "1,000 × 0.05 + 234 × 0.04 + 10",
        ),
        ({"unit_amount": None, "steps": [step("0", "0", "300")]}, ""),
        ({"unit_amount": None, "steps": [step("3", "10")]}, "3 × 10"),
        (
            {"steps": [step("2", "310")], "days": 15, "cycle_days": 31},
            "2 × 310 × 15/31",
        ),
        (
            {"steps": [step("1", "5", "20")], "days": 15, "cycle_days": 31},
            "(1 × 5 + 20) × 15/31",
        ),
        (
            {"unit_amount": None, "steps": [step("34", "0.5")], "included_quantity": Decimal(100)},
            "100 included + 34 × 0.5",
        ),
        (
            {"unit_amount": None, "steps": [step("1", "1")] * 5},
            "1 × 1 + 1 × 1 + 1 × 1 + 1 × 1 + …",
        ),
        ({"unit_amount": None, "steps": '[{"quantity":"3","unit_amount":"10"}]'}, "3 × 10"),
        ({"steps": [], "days": 3, "cycle_days": 31}, ""),
    ],
)
def test_the_short_explanation_of_a_line(make_line, fields, text):
    assert explanation(make_line(**fields), EN, ENGLISH) == text


def test_control_characters_and_line_breaks_leave_names(make_invoice, make_line):
    content = presentment(*make_invoice([make_line(description="a\x00b\n\tc  d")]))
    assert content["groups"][0]["lines"][0]["description"] == "ab c d"


def test_a_long_word_may_break_but_keeps_its_letters(make_invoice, make_line):
    content = presentment(*make_invoice([make_line(description="W" * 100)]))
    description = content["groups"][0]["lines"][0]["description"]
    assert description.replace("\u200b", "") == "W" * 100
    assert max(len(part) for part in description.split("\u200b")) <= 24


@pytest.mark.parametrize(
    ("given", "used"),
    [("#0b5d5e", "#0b5d5e"), ("red", "#1f4e79"), ("#fff8a0", "#1f4e79"), (None, "#1f4e79")],
)
def test_a_brand_colour_that_cannot_be_read_gives_way(make_invoice, given, used):
    assert presentment(*make_invoice(seller={"brand_color": given}))["brand"] == used


def test_what_was_paid_stands_below_the_total_for_those_who_ask(make_invoice, make_line):
    invoice, lines = make_invoice([make_line()])
    plain = presentment(invoice, lines)
    assert (plain["settled"], plain["head"]) == ([], {})
    settlement = {
        "as_of": date(2026, 12, 24),
        "paid": Decimal("300.0000"),
        "credited": Decimal("6.12"),
        "written_off": Decimal(0),
        "open": Decimal("100.00"),
    }
    content = presentment({**invoice, "settlement": settlement}, lines)
    assert content["settled"] == [
        ["Paid until Dec 24, 2026", "−300.00"],
        ["Credited until Dec 24, 2026", "−6.12"],
        ["Balance due on Dec 24, 2026", "100.00"],
    ]
    assert content["head"] == {"label": "Balance due on Dec 24, 2026", "amount": "100.00"}
    assert content["stub"][-1] == ["Balance due on Dec 24, 2026", f"{invoice['currency']} 100.00"]
    assert content["total"]["amount"] == "406.12"
    paid = {**settlement, "paid": Decimal("400.00"), "open": Decimal("0.00")}
    assert presentment({**invoice, "settlement": paid}, lines)["head"]["note"] == "Nothing is open"
