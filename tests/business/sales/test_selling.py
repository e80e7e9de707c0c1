"""Quotes go their way: approved, sent, revised, accepted once, and become orders."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tests.business.sales.conftest import NOW, START, Shop, copied, line

from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.sales.accepting import (
    Acceptance,
    accept_by_hand,
    accept_by_link,
    read_link,
)
from counterfoil.business.sales.conversion import convert_quotes
from counterfoil.business.sales.drafting import change_quote, make_quotes, revise_quote
from counterfoil.business.sales.first_invoices import bill_orders
from counterfoil.business.sales.links import token_of
from counterfoil.business.sales.notation import NewQuote, NewQuoteLine
from counterfoil.business.sales.notation import read_quotes as read_notation
from counterfoil.business.sales.pricing import expected_events
from counterfoil.business.sales.queries import Quote, find_quotes, read_quotes
from counterfoil.business.sales.sending import (
    Sent,
    ask_approval,
    decide_discount,
    decline_quote,
    read_document,
    send_quote,
)
from counterfoil.core.problems import Refused

ADA = Acceptance(name="Ada Hartmann", address="192.0.2.7")


def code(refused: pytest.ExceptionInfo[Refused]) -> tuple[str, int]:
    return refused.value.problems[0].code, refused.value.status


def give_limits(shop: Shop, **limits: object) -> None:
    """Users of these names, each with a role of the name that may give so much."""
    with shop.work() as uow:
        for name, percent in limits.items():
            role = uow.create("access_role", {"external_id": name})["id"]
            user = uow.create("access_user", {"external_id": name})["id"]
            uow.create("user_role", {"access_user_id": user, "access_role_id": role})
            if percent is not None:
                uow.create("discount_limit", {"access_role_id": role, "percent": percent})


@pytest.fixture
def sent(market: Shop) -> tuple[Shop, Quote, Sent]:
    """A quote of one line that was sent."""
    quote = copied(market)
    return market, quote, market.send(quote)


def accept(shop: Shop, token: str, now: datetime = NOW, by: Acceptance = ADA) -> Quote:
    with shop.database.transaction(now=now) as uow:
        return accept_by_link(uow, token, by)


def test_a_high_discount_is_approved_by_somebody_who_may_give_it(market: Shop) -> None:
    shop = market
    give_limits(shop, sally=10, boss=30, chief=50, clerk=None)
    quote = copied(shop, discount_percent=25, made_by="sally")

    def decide(actor: str, *, approved: bool = True) -> tuple[str, int] | str:
        try:
            with shop.work(actor) as uow:
                return str(decide_discount(uow, quote.id, approved=approved)["status"])
        except Refused as refused:
            return refused.problems[0].code, refused.status

    with pytest.raises(Refused) as refused:
        shop.send(quote, "sally")
    assert code(refused) == ("discount_too_high", 409)
    assert decide("boss") == ("nothing_to_decide", 409)
    with shop.work("sally") as uow:
        assert ask_approval(uow, quote.id)["status"] == "in_approval"
    assert decide("sally") == ("not_granted", 403)
    assert decide("clerk") == ("discount_too_high", 403)
    assert shop.read(quote).row["status"] == "in_approval"
    assert decide("chief", approved=False) == "draft"
    with shop.work("sally") as uow:
        ask_approval(uow, quote.id)
    assert decide("boss") == "approved"
    shop.send(quote, "sally")
    assert shop.read(quote).row["approved_by"] == "boss"


def test_an_agreed_price_below_the_price_in_force_counts_as_the_discount_it_is(
    market: Shop,
) -> None:
    shop = market
    give_limits(shop, pat=20, sol=28)

    def given(*lines: NewQuoteLine) -> Quote:
        return shop.quote(*lines, actor="pat")

    fifth_off = {"room": Decimal("199.96")}  # 249.95 in the list
    quote = given(line("rooms", site=None, prices=fifth_off), line("support", site=None))
    assert quote.row["discount_percent"] == 20
    assert [one["given_percent"] for one in quote.lines] == [20, 0]
    assert quote.lines[0]["contract_value"] == 12 * Decimal("199.96") + 99
    shop.send(quote, "pat")
    quote = given(line("rooms", site=None, prices=fifth_off, discount_percent=10))
    assert quote.row["discount_percent"] == 28
    with pytest.raises(Refused) as refused:
        shop.send(quote, "pat")
    assert code(refused) == ("discount_too_high", 409)
    with shop.work("pat") as uow:
        assert ask_approval(uow, quote.id)["status"] == "in_approval"
    with shop.work("sol") as uow:
        assert decide_discount(uow, quote.id, approved=True)["status"] == "approved"
    shop.send(quote, "pat")
    once = given(line("rooms", site=None, prices={"setup": Decimal("49.50"), "room": Decimal(300)}))
    assert once.row["discount_percent"] == 50, "what is charged once counts too, and more does not"
    minutes = given(line("minutes", site=None, prices={"minute": Decimal("0.11")}))
    assert minutes.row["discount_percent"] == 50, "the greatest of the tiers"


def test_the_price_that_an_account_has_already_is_no_discount_of_the_quote(market: Shop) -> None:
    shop = market
    with shop.work() as uow:
        account = uow.create("account", {"external_id": "OWN", "name": "Own"})["id"]
        uow.create("billing_profile", {"account_id": account, "currency": "USD"})
        book, problems = parse_price_book(
            "prices: [{account: OWN, charge: room, currency: USD, model: per_unit, amount: 200}]",
            "own.yaml",
        )
        assert problems == []
        save_price_book(uow, book)
    quote = shop.quote(line("rooms", site=None, prices={"room": Decimal(190)}), account="OWN")
    assert quote.row["discount_percent"] == 5


def test_within_the_limit_nobody_is_asked_and_a_change_voids_an_approval(market: Shop) -> None:
    shop = market
    give_limits(shop, sue=10)
    quote = copied(shop, discount_percent=10)
    with shop.work("sue") as uow:
        assert ask_approval(uow, quote.id)["status"] == "approved"
        asked = NewQuote(start_date=START, lines=[line("support", discount_percent=11)])
        change_quote(uow, shop.store, quote.id, asked)
    assert [shop.read(quote).row[name] for name in ("status", "approved_by")] == ["draft", None]
    with pytest.raises(Refused) as refused:
        shop.send(quote, "sue")
    assert code(refused) == ("discount_too_high", 409)


def test_the_next_version_needs_the_same_approval(market: Shop) -> None:
    shop = market
    give_limits(shop, sam=10)
    quote = copied(shop, discount_percent=25, status="approved", made_by="sam")
    with shop.work("sam") as uow:
        uow.execute("UPDATE quote_line SET discount_percent = 25 WHERE quote_id = :id", id=quote.id)
        send_quote(uow, shop.organisation.files, quote.id)
        made = revise_quote(uow, shop.store, quote.id)
        (revised,) = read_quotes(uow, [made])
    assert (revised.row["status"], revised.row["discount_percent"]) == ("draft", 25)
    with pytest.raises(Refused) as refused:
        shop.send(revised, "sam")
    assert code(refused) == ("discount_too_high", 409)
    assert shop.read(quote).row["status"] == "sent"


def test_what_was_sent_never_changes(sent: tuple[Shop, Quote, Sent]) -> None:
    shop, quote, link = sent
    asked = NewQuote(start_date=START, lines=[line("rooms")])
    with pytest.raises(Refused) as refused, shop.work() as uow:
        change_quote(uow, shop.store, quote.id, asked)
    assert code(refused) == ("quote_sent", 409)
    with shop.work() as uow:
        name, content = read_document(uow, shop.organisation.files, quote.id)
        uow.execute("UPDATE account SET name = 'Other'")
        again = read_document(uow, shop.organisation.files, quote.id)[1]
    assert (name, content[:5], again) == (f"{quote.row['number']}-1.pdf", b"%PDF-", content)
    second = shop.send(quote)
    assert (second.document_hash, second.token == link.token) == (link.document_hash, False)
    with pytest.raises(Refused) as refused:
        accept(shop, link.token)
    assert code(refused) == ("unknown_link", 404)


def test_a_version_that_is_sent_supersedes_the_one_before(sent: tuple[Shop, Quote, Sent]) -> None:
    shop, quote, first = sent
    with shop.work() as uow:
        made = revise_quote(uow, shop.store, quote.id)
        number = quote.row["number"]
        assert find_quotes(uow, [number, f"{number}/1"]) == [made, quote.id]
    assert shop.read(quote).row["status"] == "sent"
    with shop.work() as uow:
        second = send_quote(uow, shop.organisation.files, made)
    assert shop.read(quote).row["status"] == "superseded"
    with pytest.raises(Refused) as refused:
        accept(shop, first.token)
    assert code(refused) == ("unknown_link", 404)
    assert accept(shop, second.token).row["version"] == 2
    with pytest.raises(Refused) as refused, shop.work() as uow:
        revise_quote(uow, shop.store, made)
    assert code(refused) == ("quote_accepted", 409)


def test_who_accepted_when_from_where_and_what_is_kept(sent: tuple[Shop, Quote, Sent]) -> None:
    shop, quote, link = sent
    accept(shop, link.token)
    row = shop.read(quote).row
    assert [row[name] for name in ("status", "accepted_by", "accepted_from", "accepted_at")] == [
        "accepted",
        "Ada Hartmann",
        "192.0.2.7",
        NOW,
    ]
    assert (row["accepted_hash"], row["accepted_by_way_of"]) == (link.document_hash, "link")
    with pytest.raises(Refused) as refused:
        accept(shop, link.token, by=Acceptance(name="Mallory"))
    assert code(refused) == ("accepted_already", 409)
    assert shop.read(quote).row["accepted_by"] == "Ada Hartmann"


def test_a_link_that_is_not_what_was_sent_changes_nothing(sent: tuple[Shop, Quote, Sent]) -> None:
    shop, quote, link = sent
    number, seconds, signature = link.token.split(".")
    later = f"{number}.{int(seconds) + 1}.{signature}"
    flipped = "A" if signature[0] != "A" else "B"
    # Of the last letter two bits mean nothing.
    same_bytes = signature[:-1] + chr(ord(signature[-1]) + 1)
    other = token_of("guessed", quote.id, link.expires_at, link.document_hash)
    for token in (
        later,
        f"{number}.{seconds}.{flipped}{signature[1:]}",
        f"{number}.{seconds}.{same_bytes}",
        f"{int(number) + 1}.{seconds}.{signature}",
        other,
        "",
        "1.1.",
        f"{'9' * 18}.{'9' * 12}.{signature}",
    ):
        with pytest.raises(Refused) as refused:
            accept(shop, token)
        assert code(refused) == ("unknown_link", 404)
    for name in ("", "  ", "x" * 201, "Ada\x07"):
        with pytest.raises(Refused) as refused:
            accept(shop, link.token, by=Acceptance(name=name))
        assert code(refused) == ("required", 422)
    assert shop.read(quote).row["status"] == "sent"


def test_after_its_last_day_a_quote_is_not_accepted(market: Shop) -> None:
    shop = market
    quote = copied(shop, valid_until=date(2026, 3, 10))
    link = shop.send(quote)
    assert link.expires_at == datetime(2026, 3, 11, tzinfo=NOW.tzinfo)
    late = link.expires_at
    for act in (
        lambda uow: accept_by_link(uow, link.token, ADA),
        lambda uow: accept_by_hand(uow, quote.id, ADA),
        lambda uow: send_quote(uow, shop.organisation.files, quote.id),
        lambda uow: read_link(uow, link.token),
    ):
        with pytest.raises(Refused) as refused, shop.database.transaction(now=late) as uow:
            act(uow)
        assert refused.value.problems[0].code == "quote_expired"
    accept(shop, link.token, now=late - timedelta(seconds=1))
    with shop.database.transaction(now=late) as uow:
        assert read_link(uow, link.token).row["status"] == "accepted"


def test_the_last_day_is_that_of_who_is_billed_for_the_account(shop: Shop) -> None:
    with shop.work() as uow:
        top = shop.open_account("TOP", time_zone="Pacific/Auckland")
        uow.create("account", {"external_id": "BELOW", "name": "Below", "parent_id": top})
    below = {"account": "BELOW", "valid_until": date(2026, 3, 10)}
    quote = shop.quote(line("support", site=None), **below)
    assert shop.send(quote).expires_at == datetime(2026, 3, 10, 11, tzinfo=NOW.tzinfo)


def test_of_two_who_accept_at_once_one_does(sent: tuple[Shop, Quote, Sent]) -> None:
    shop, quote, link = sent

    def one(name: str) -> str:
        try:
            accept(shop, link.token, by=Acceptance(name=name))
        except Refused as refused:
            return refused.problems[0].code
        return name

    names = ["Ada", "Bea", "Cyd", "Dot"]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(one, names))
    (accepted,) = [name for name in answers if name in names]
    assert answers.count("accepted_already") == 3
    assert shop.read(quote).row["accepted_by"] == accepted


def test_a_declined_quote_has_no_link(sent: tuple[Shop, Quote, Sent]) -> None:
    shop, quote, link = sent
    with shop.work() as uow:
        decline_quote(uow, quote.id, "too dear")
        decline_quote(uow, quote.id)
    row = shop.read(quote).row
    assert (row["status"], row["comment"]) == ("declined", "too dear")
    with pytest.raises(Refused) as refused:
        accept(shop, link.token)
    assert code(refused) == ("unknown_link", 404)


def lead_with_sites(shop: Shop, count: int) -> None:
    with shop.work() as uow:
        lead = uow.create(
            "lead", {"external_id": "L", "company": "Globex", "currency": "USD", "person": "Ada"}
        )
        uow.create_many(
            "lead_site",
            [
                {
                    "external_id": f"L-{n:02}",
                    "lead_id": lead["id"],
                    "name": f"S{n}",
                    "country": "US",
                }
                for n in range(count)
            ],
        )
        product = uow.ids_by("product", "external_id", ["conferencing"])["conferencing"]
        plan = uow.ids_by("rate_plan", "external_id", ["rooms"])["rooms"]
        assert product
        step: dict[str, Any] = {"external_id": "survey", "rate_plan_id": plan, "position": 1}
        uow.create("provisioning_step", {**step, "kind": "checklist", "name": "Survey"})


def test_forty_lines_over_twelve_sites_become_an_order_and_an_invoice(shop: Shop) -> None:
    lead_with_sites(shop, 12)
    plans = ("rooms", "support", "minutes", "texts")
    lines = [
        line(plans[n % 4], site=f"L-{n % 12:02}", discount_percent=(0, 5, 10)[n % 3])
        for n in range(40)
    ]
    quote = shop.quote(*lines, account=None, lead="L", term_months=24)
    shop.send(quote)
    with pytest.raises(Refused) as refused, shop.work() as uow:
        convert_quotes(uow, [quote.id])
    assert code(refused) == ("not_accepted", 409)
    assert shop.counts("order", "opportunity", "discount") == [0, 0, 0]
    with shop.work() as uow:
        accept_by_hand(uow, quote.id, ADA)
        (made,) = convert_quotes(uow, [quote.id], purchase_order="PO-1")
    # The rooms wait for their survey; all else runs.
    assert (made.account, made.order, made.status) == ("L", "Q-000001", "in_progress")
    assert (made.lines, made.subscriptions, made.tasks) == (
        {"activated": 30, "provisioning": 10},
        30,
        10,
    )
    assert shop.counts("account", "site", "contact") == [2, 14, 1]
    counted = ("order", "order_line", "subscription", "discount", "provisioning_task", "invoice")
    before = shop.counts(*counted)
    with shop.work() as uow:
        (again,) = convert_quotes(uow, [quote.id])
        opportunity = uow.find("opportunity", external_id="L") or {}
    assert (again.fresh, made.fresh, again.lines) == (False, True, made.lines)
    assert [opportunity[one] for one in ("stage", "probability")] == ["won", 100]
    assert opportunity["amount"] == quote.row["contract_value"]
    assert shop.counts(*counted) == before == [1, 40, 30, 2, 10, 0]
    runs = bill_orders(shop.database, shop.store, [made], now=NOW, on=date(2026, 4, 1))
    assert [run.invoices for run in runs] == [1]
    share = Decimal("0.9")  # of the lines of support 3 have no discount, 4 five and 3 ten percent
    wanted = Decimal("33.33") * (3 + 4 * Decimal("0.95") + 3 * share)
    texts = 25 * (4 + 3 * Decimal("0.95") + 3 * share)
    assert abs(runs[0].totals["USD"] - wanted - texts) < Decimal("0.02")


def test_who_drafts_a_quote_waits_for_nobody_who_drafts_or_places(shop: Shop) -> None:
    asked = NewQuote(account="ACME", start_date=START, lines=[line("support")])
    with shop.work() as first, shop.work() as second:
        second.execute("SET LOCAL lock_timeout = '5s'")
        ids = [make_quotes(uow, shop.store, [asked])[0] for uow in (first, second)]
        numbers = [
            read_quotes(uow, [one])[0].row["number"]
            for uow, one in zip((first, second), ids, strict=True)
        ]
        order = NewOrder(external_id="A", account="ACME", lines=[NewLine(rate_plan="support")])
        place_orders(second, [order])
    assert numbers == [f"Q-{one:06}" for one in ids]


@pytest.mark.parametrize("number", ["Q-000007", "A/1"])
def test_a_number_that_could_mean_another_quote_is_refused(market: Shop, number: str) -> None:
    with pytest.raises(Refused) as refused:
        market.quote(line("support"), number=number)
    assert [(one.field, one.code) for one in refused.value.problems] == [("number", "wrong_value")]


def test_more_usage_than_is_computed_is_refused() -> None:
    def asked(quantity: str) -> list[NewQuote]:
        uses = [{"meter": "seconds", "quantity": quantity, "events": 7}]
        lines = [{"rate_plan": "minutes", "usage": uses}]
        return read_notation([{"account": "ACME", "start_date": "2026-03-01", "lines": lines}])

    with pytest.raises(Refused) as refused:
        asked("1" + 12 * "0")
    assert [(one.line, one.field) for one in refused.value.problems] == [
        (1, "lines.usage.quantity")
    ]
    (largest,) = asked(12 * "9" + "." + 15 * "9")
    parts = expected_events(
        {
            "id": 1,
            "term_months": 1,
            "start_date": START,
            "estimates": [
                {"id": 1, "meter_id": 1, "events": 7, "attributes": {}}
                | {"quantity": largest.lines[0].usage[0].quantity}
            ],
        },
        1,
        "UTC",
    )
    assert sum(part["quantity"] for part in parts) == largest.lines[0].usage[0].quantity


def test_a_quote_in_another_currency_than_the_account_is_not_converted(shop: Shop) -> None:
    with shop.work() as uow:
        lead = {"external_id": "E", "company": "Euro", "currency": "EUR", "country": "DE"}
        uow.create("lead", lead)
    with pytest.raises(Refused) as refused:
        shop.quote(line("support", site="E"), account=None, lead="E")
    assert refused.value.problems[0].code == "no_price"
