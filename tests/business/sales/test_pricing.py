"""Quotes come to what the bills will come to, to the cent, and say why."""

from datetime import date
from decimal import Decimal

import pytest
from tests.business.sales.conftest import APRIL, NOW, START, Shop, line, uses

from counterfoil.business.sales.drafting import change_quote, make_quotes
from counterfoil.business.sales.notation import NewQuote, read_quotes
from counterfoil.core.problems import Refused

EVERYTHING = (
    line("rooms", quantity=3, discount_percent=10),
    line("rooms", site="LAB", prices={"room": Decimal("199.99")}, discount_percent="7.5"),
    line("support", discount_percent=10),
    line("minutes", usage=uses("seconds", 3601, events=7), discount_percent="7.5"),
    line("texts", usage=uses("messages", 1001)),
    line("texts", site="LAB", usage=uses("messages", 10), discount_percent=10),
    line("recordings", site=None, usage=uses("gigabytes", "17.25")),
)
"""Flat, per unit, graduated, volume; included quantities, a minimum, an agreed price, discounts."""


def test_a_quote_says_what_each_charge_comes_to_and_why(shop: Shop) -> None:
    found = shop.quote(
        line("rooms", quantity=3, discount_percent=10),
        line("minutes", usage=uses("seconds", 3600)),
    )
    rooms, minutes = found.lines
    assert (rooms["one_off"], rooms["recurring"]) == (Decimal("89.10"), Decimal("674.86"))
    assert rooms["contract_value"] == Decimal("8187.47")
    assert rooms["list_value"] == 12 * 3 * Decimal("249.95") + 99
    assert (minutes["usage"], minutes["contract_value"]) == (Decimal("11.80"), Decimal("141.60"))
    row = found.row
    assert (row["contract_value"], row["discount_percent"]) == (Decimal("8329.07"), 10)
    assert row["per_cycle"] == [{"cycle": "month", "recurring": "674.86", "usage": "11.8"}]
    assert row["invoices"] == [
        {"date": "2026-03-01", "total": "763.96"},
        {"date": "2026-04-01", "total": "686.66"},
    ]
    (minute,) = minutes["charges"]
    assert minute["explanation"][2:] == [
        "2 minutes are included; without them it would be 12.2 USD.",
        "Tier from 0 to 10: 10 minutes × 0.22 = 2.2 USD.",
        "Tier from 10 and above: 48 minutes × 0.2 = 9.6 USD.",
        "11.8 USD is rounded half-up once to 11.80 USD.",
    ]
    discount = rooms["charges"][3]
    assert (discount["kind"], discount["amount"]) == ("discount", Decimal("-74.99"))
    assert discount["explanation"][1] == "Of 749.85 USD it takes 74.99."


def test_the_bills_are_what_was_quoted_to_the_cent(shop: Shop) -> None:
    quote = shop.sell(*EVERYTHING)
    first, second = (Decimal(one["total"]) for one in quote.row["invoices"])
    assert shop.bill(START).totals == {"USD": first}
    shop.use_as_expected(shop.read(quote))
    assert shop.bill(APRIL).totals == {"USD": second}


def test_half_a_month_and_terms_of_their_own(shop: Shop) -> None:
    middle = date(2026, 3, 15)
    lines = (
        line("rooms", term_months=24),
        line("support", start_date=date(2026, 4, 10)),
        line("minutes", usage=uses("seconds", 600)),
    )
    quote = shop.sell(*lines, start_date=middle, term_months=6)
    rooms, support, _ = quote.lines
    assert rooms["contract_value"] == 24 * Decimal("249.95") + 99
    assert support["contract_value"] == Decimal("23.33") + 5 * Decimal("33.33") + Decimal("9.68")
    first, second = quote.row["invoices"]
    assert (first["date"], second["date"]) == ("2026-03-15", "2026-04-01")
    assert shop.bill(middle).totals == {"USD": Decimal(first["total"])}
    shop.use_as_expected(shop.read(quote))
    assert shop.bill(APRIL).totals == {"USD": Decimal(second["total"])}


def test_pricing_leaves_nothing_behind(shop: Shop) -> None:
    kept = (
        *("account", "subscription", "order", "discount", "price", "invoice", "rated_charge"),
        *("bill_run", "usage_segment", "number_series", "outgoing_event"),
    )
    before = shop.counts(*kept)
    shop.quote(*EVERYTHING)
    after = shop.counts(*kept)
    assert [b - a for a, b in zip(before, after, strict=True)] == [0] * 11
    assert not list(shop.store.folder.rglob("*.parquet"))


def test_statements_do_not_grow_with_lines(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def statements(lines: int) -> int:
        count = 0
        with shop.work() as uow:
            query, execute = type(uow)._query, type(uow)._execute

            def counted(original):  # type: ignore[no-untyped-def]
                def call(*args, **more):  # type: ignore[no-untyped-def]
                    nonlocal count
                    count += 1
                    return original(*args, **more)

                return call

            monkeypatch.setattr(type(uow), "_query", counted(query))
            monkeypatch.setattr(type(uow), "_execute", counted(execute))
            asked = NewQuote(account="ACME", start_date=START, lines=EVERYTHING * lines)
            make_quotes(uow, shop.store, [asked])
            monkeypatch.undo()
        return count

    assert statements(1) == statements(6) > 0


def test_a_quote_for_a_lead_makes_no_account_of_it(shop: Shop) -> None:
    with shop.work() as uow:
        uow.create(
            "lead",
            {"external_id": "L", "company": "Globex", "currency": "USD", "country": "US"},
        )
    before = shop.counts("account", "site", "opportunity")
    quote = shop.quote(line("rooms", site="L"), account=None, lead="L")
    assert (quote.party, quote.row["contract_value"]) == ("Globex", Decimal("3098.40"))
    assert shop.counts("account", "site", "opportunity") == before


def test_a_draft_is_changed_and_priced_anew(shop: Shop) -> None:
    quote = shop.quote(line("rooms"))
    with shop.work() as uow:
        asked = NewQuote(start_date=START, lines=[line("support")], term_months=3, title="Less")
        change_quote(uow, shop.store, quote.id, asked)
    found = shop.read(quote)
    assert (found.row["title"], found.row["contract_value"]) == ("Less", Decimal("99.99"))
    assert [one["rate_plan"] for one in found.lines] == ["support"]
    assert found.account == "ACME"


def test_what_cannot_be_quoted_is_told_with_line_and_field(shop: Shop) -> None:
    def refused(*lines: object, **more: object) -> list[tuple[object, ...]]:
        with pytest.raises(Refused) as found:
            shop.quote(*lines, **more)  # type: ignore[arg-type]
        return [(one.code, one.field, one.line) for one in found.value.problems]

    before = shop.counts("quote", "quote_line")
    assert refused(
        line("rooms", site="MOON"),
        line("nothing"),
        line("rooms", quantities={"minute": Decimal(1)}, usage=uses("seconds", 1)),
        line("minutes", quantities={"minute": Decimal(1)}, prices={"x": Decimal(1)}),
    ) == [
        ("unknown_site", "lines.site", 1),
        ("unknown_rate_plan", "lines.rate_plan", 2),
        ("unknown_charge", "lines.quantities.minute", 3),
        ("unknown_meter", "lines.usage.meter", 3),
        ("usage_quantity", "lines.quantities.minute", 4),
        ("unknown_charge", "lines.prices.x", 4),
    ]
    assert refused(account=None) == [
        ("bad_choice", "account", None),
        ("required", "lines", None),
    ]
    assert refused(line("rooms"), account="NOBODY")[0] == ("unknown_account", "account", None)
    shop.open_account("EURO", currency="EUR")
    assert refused(line("rooms", site=None), account="EURO")[0][:2] == ("no_price", "lines")
    far = date(9999, 12, 1)
    assert [one[0] for one in refused(line("support", start_date=far), valid_until=far)] == [
        "out_of_range",
        "out_of_range",
    ]
    assert refused(*[line("support", term_months=1200)] * 84) == [
        ("too_many", "lines.term_months", None)
    ]
    many = line("minutes", term_months=1200, usage=uses("seconds", 1, events=1000))
    assert refused(many) == [("too_many", "lines.usage.events", None)]
    huge = line("rooms", quantity=10**11, term_months=1200)
    assert refused(huge)[0][0] in ("too_large", "not_computable")
    assert shop.counts("quote", "quote_line") == before


def test_quotes_of_plain_values_are_checked() -> None:
    with pytest.raises(Refused) as found:
        read_quotes(
            [
                {
                    "account": "A",
                    "start_date": "soon",
                    "lines": [
                        {"rate_plan": "r", "discount_percent": 101, "prices": {"x": "-1"}},
                        {"usage": [{"meter": "m"}], "quantities": 3},
                    ],
                }
            ]
        )
    assert [(one.field, one.line) for one in found.value.problems] == [
        ("start_date", None),
        ("lines.discount_percent", 1),
        ("lines.prices.x", 1),
        ("lines.quantities", 2),
        ("lines.rate_plan", 2),
        ("lines.usage.quantity", 2),
    ]
    row = {"account": "A", "start_date": "2026-03-01", "lines": [{"rate_plan": "r"}]}
    (quote,) = read_quotes([row])
    assert (quote.start_date, quote.term_months, quote.lines[0].discount_percent) == (
        NOW.date(),
        12,
        0,
    )
