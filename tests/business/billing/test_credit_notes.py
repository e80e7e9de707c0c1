"""Credit notes, voids and debit notes: shares of lines as billed, never more than is left."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from tests.business.billing.conftest import NOW, Company
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.balances import read_balances, read_movements
from counterfoil.business.billing.credit_notes import (
    DebitPart,
    credit_invoice,
    debit_invoice,
    reissue_invoice,
    void_invoice,
)
from counterfoil.business.billing.crediting import CreditPart
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.rerating import rerate_bills
from counterfoil.business.billing.window import Window
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.subscriptions.commands import cancel_subscriptions
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.unit_of_work import UnitOfWork

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)
ROOM = Decimal("249.95")
ASKED = Request(reason="line was down")


@contextmanager
def work(company: Company) -> Iterator[UnitOfWork]:
    with company.database.transaction(now=NOW) as uow:
        yield uow


def incentives(company: Company, text: str) -> None:
    file, problems = parse_incentives(text, "incentives.yaml")
    assert problems == []
    with work(company) as uow:
        save_incentives(uow, file)


def furnish(organisation: Organisation) -> None:
    """ACME with one room in January, billed in INV-000001: 249.95."""
    company = Company(organisation)
    company.load_prices()
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN)


@pytest.fixture
def billed(furnishings: Furnishings) -> Iterator[Company]:
    with furnishings.copy(furnish) as organisation:
        yield Company(organisation)


def refusal(company: Company, **asked: object) -> tuple[int, str]:
    """Status and code of a credit that is refused, after which everything is as before."""
    before = company.counts()
    with pytest.raises(Refused) as refused, work(company) as uow:
        credit_invoice(uow, "INV-000001", ASKED, **asked)  # type: ignore[arg-type]
    assert company.counts() == before
    return refused.value.status, refused.value.problems[0].code


def test_a_whole_invoice_is_credited_exactly(billed: Company) -> None:
    with work(billed) as uow:
        note = credit_invoice(uow, "INV-000001", ASKED)
    assert (note["number"], note["kind"], note["total"]) == ("CN-000001", "credit_note", -ROOM)
    assert billed.lines()[1] == ("CN-000001", "Credit: Managed room", JAN, FEB, -1, -ROOM)
    assert refusal(billed) == (409, "nothing_left")
    assert billed.bill(JAN).lines == 0


def test_partial_credits_add_up_to_the_line_to_the_cent(billed: Company) -> None:
    days = [JAN, date(2024, 1, 4), date(2024, 1, 5), date(2024, 1, 29), FEB]
    for start, end in pairwise(days):
        with work(billed) as uow:
            credit_invoice(
                uow, "INV-000001", ASKED, parts=[CreditPart(position=1, start=start, end=end)]
            )
    amounts = [line[5] for line in billed.lines()[1:]]
    assert amounts == [Decimal(text) for text in ("-24.19", "-8.06", "-193.51", "-24.19")]
    assert sum(amounts) == -ROOM


def test_more_than_is_left_is_refused(billed: Company) -> None:
    with work(billed) as uow:
        credit_invoice(uow, "INV-000001", ASKED, amount=Decimal("200.00"))
    assert refusal(billed, amount=Decimal("49.96")) == (409, "not_enough_left")
    one = CreditPart(position=1, amount=Decimal("49.96"))
    assert refusal(billed, parts=[one]) == (409, "not_enough_left")
    assert refusal(billed, amount=Decimal("0.001")) == (422, "too_many_places")
    assert refusal(billed, amount=Decimal(-1)) == (422, "too_small")
    assert refusal(billed, parts=[CreditPart(position=7)]) == (422, "unknown_line")
    with work(billed) as uow:
        assert credit_invoice(uow, "INV-000001", ASKED)["total"] == Decimal("-49.95")


@pytest.mark.parametrize("correct", [void_invoice, reissue_invoice])
def test_no_document_is_dated_before_the_one_it_corrects(billed: Company, correct) -> None:
    before = billed.counts()
    early = Request(reason="line was down", on=date(2023, 12, 31))
    with pytest.raises(Refused) as refused, work(billed) as uow:
        correct(uow, "INV-000001", early)
    assert refused.value.problems == (
        Problem("before_document", "2023-12-31 is before INV-000001, of 2024-01-01", "date"),
    )
    assert billed.counts() == before


def test_days_are_credited_once(billed: Company) -> None:
    first = CreditPart(position=1, start=JAN, end=date(2024, 1, 11))
    with work(billed) as uow:
        credit_invoice(uow, "INV-000001", ASKED, parts=[first])
    again = CreditPart(position=1, start=date(2024, 1, 10), end=FEB)
    assert refusal(billed, parts=[again]) == (409, "already_credited")
    outside = CreditPart(position=1, start=FEB, end=MAR)
    assert refusal(billed, parts=[outside]) == (422, "outside_period")


def test_quantities_add_up_to_the_line(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", date(2024, 1, 12), quantities={"room": Decimal(3)})
    company.bill(JAN)
    company.bill(date(2024, 1, 12))
    for _ in range(3):
        with work(company) as uow:
            part = CreditPart(position=1, quantity=Decimal(1))
            credit_invoice(uow, "INV-000001", ASKED, parts=[part])
    amounts = [line[5] for line in company.lines()]
    assert amounts == [Decimal(text) for text in ("483.77", "-161.26", "-161.25", "-161.26")]
    extra = CreditPart(position=1, quantity=Decimal(1))
    assert refusal(company, parts=[extra]) == (409, "not_enough_left")


def test_a_repeated_request_adds_nothing(billed: Company) -> None:
    asked = Request(reason="again", key="ticket-7")
    with work(billed) as uow:
        first = credit_invoice(uow, "INV-000001", asked, amount=Decimal(10))
    before = billed.counts()
    with work(billed) as uow:
        assert credit_invoice(uow, "INV-000001", asked, amount=Decimal(10)) == first
    with pytest.raises(Refused, match="for correction credit: now"), work(billed) as uow:
        void_invoice(uow, "INV-000001", asked)
    with work(billed) as uow:
        void = void_invoice(uow, "INV-000001", ASKED)
        assert void_invoice(uow, "INV-000001", ASKED) == void
    assert void["total"] == Decimal("-239.95")
    assert billed.counts() == [number + 1 for number in before]


def test_a_key_says_what_differs_from_what_it_was_used_for(billed: Company) -> None:
    billed.bill(FEB)
    asked = Request(reason="again", key="ticket-7")
    part = CreditPart(position=1, amount=Decimal(10))
    with work(billed) as uow:
        credit_invoice(uow, "INV-000001", asked, amount=Decimal("10.00"))
        credit_invoice(uow, "INV-000001", replace(asked, key="ticket-8"), parts=[part])
    before = billed.counts()

    def differences(
        number: str = "INV-000001",
        amount: str | None = "10",
        parts: Sequence[CreditPart] = (),
        **other: object,
    ) -> list[str]:
        request, exact = replace(asked, **other), None if amount is None else Decimal(amount)  # type: ignore[arg-type]
        with pytest.raises(Refused) as refused, work(billed) as uow:
            credit_invoice(uow, number, request, parts=parts, amount=exact)
        problems = refused.value.problems
        assert {one.code for one in problems} == {"request_key_reused"}
        assert refused.value.status == 409
        return [one.message.split(" was used already, ")[1] for one in problems]

    assert differences(amount="10.01") == ["for amount 10: now it asks for amount 10.01"]
    assert differences(amount=None) == ["for amount 10: now it asks for no amount"]
    assert differences("INV-000002", finalize=False) == [
        "for document INV-000001: now it asks for document INV-000002",
        "for finalize True: now it asks for finalize False",
    ]
    assert differences(amount=None, parts=[part]) == [
        "for amount 10: now it asks for no amount",
        "for no lines",
    ]
    less = [replace(part, amount=Decimal(9))]
    assert differences(amount=None, parts=less, key="ticket-8") == ["for other lines"]
    assert differences(on=FEB) == ["for no date: now it asks for date 2024-02-01"]
    assert billed.counts() == before


def test_drafts_and_credit_notes_are_not_credited(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    company.bill(JAN, finalize=False)
    with work(company) as uow:
        draft = uow.find("invoice", state="draft")
    assert draft is not None
    with pytest.raises(Refused, match="is a draft"), work(company) as uow:
        credit_invoice(uow, int(draft["id"]), ASKED)
    with pytest.raises(Refused, match="no invoice"), work(company) as uow:
        credit_invoice(uow, "INV-000009", ASKED)


def test_a_reversal_gives_back_no_more_than_credits_left(billed: Company) -> None:
    """Kill Bill, KB-030: of 249.95 ten are credited; what ends on the next day gives back 239.95,
    not 241.89."""
    with work(billed) as uow:
        credit_invoice(uow, "INV-000001", ASKED, amount=Decimal(10))
        ids = uow.ids_by("subscription", "external_id", ["S"])
        cancel_subscriptions(uow, [ids["S"]], date(2024, 1, 2))
    billed.bill(date(2024, 1, 2))
    assert [line[5] for line in billed.lines()] == [ROOM, -10, Decimal("-239.95")]
    assert refusal(billed) == (409, "nothing_left")


def test_what_is_credited_is_not_billed_again(billed: Company) -> None:
    with work(billed) as uow:
        void_invoice(uow, "INV-000001", ASKED)
    rerated = rerate_bills(billed.database, billed.store, Window(JAN, FEB), now=NOW, apply=True)
    assert rerated.differences == 0
    assert billed.bill(FEB).lines == 1


def test_discounts_go_along_with_their_lines(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("A", "ACME", "rooms", JAN)
    company.subscribe("B", "ACME", "rooms", JAN, quantities={"room": Decimal(2)})
    incentives(company, "discounts: [{id: ten, name: Ten, percent: 10, accounts: [ACME]}]")
    company.bill(JAN)
    with work(company) as uow:
        lines = uow.query("SELECT position, amount FROM invoice_line ORDER BY position")
        two = next(line["position"] for line in lines if line["amount"] == 2 * ROOM)
        note = credit_invoice(uow, "INV-000001", ASKED, parts=[CreditPart(position=two)])
        rest = void_invoice(uow, "INV-000001", ASKED)
        total = uow.query("SELECT sum(total) AS total FROM invoice")[0]["total"]
    assert (note["total"], rest["total"]) == (Decimal("-449.91"), Decimal("-224.95"))
    assert total == 0


def test_prepaid_money_goes_back_to_its_grant(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    incentives(
        company,
        "grants: [{id: P, name: Prepaid, account: ACME, kind: purchased, currency: USD, "
        "amount: 100, start: 2024-01-01}]",
    )
    company.bill(JAN)
    with work(company) as uow:
        note = credit_invoice(uow, "INV-000001", ASKED, amount=Decimal("124.98"))
        half = read_balances(uow, "ACME", JAN)[0]["remaining"]
        void = void_invoice(uow, "INV-000001", ASKED)
        whole = read_balances(uow, "ACME", JAN)[0]["remaining"]
        moved = [(row["movement"], row["amount"]) for row in read_movements(uow, "ACME")]
    assert (note["total"], void["total"]) == (Decimal("-74.98"), Decimal("-74.97"))
    assert (half, whole) == (50, 100)
    assert moved == [("granted", 100), ("drawn", -100), ("returned", 50), ("returned", 50)]


def test_two_credits_at_once_never_give_back_more_than_was_billed(billed: Company) -> None:
    def credit(_: int) -> Decimal:
        try:
            with work(billed) as uow:
                return credit_invoice(uow, "INV-000001", ASKED, amount=Decimal(100))["total"]
        except Refused:
            return Decimal(0)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(credit, range(6))) == -200
    assert [line[0] for line in billed.lines()] == ["INV-000001", "CN-000001", "CN-000002"]


def test_a_debit_note_charges_more_and_can_be_credited(billed: Company) -> None:
    with work(billed) as uow:
        note = debit_invoice(
            uow, "INV-000001", ASKED, parts=[DebitPart(position=1, quantity=Decimal(2))]
        )
        back = void_invoice(uow, "DN-000001", ASKED)
    assert (note["number"], note["total"]) == ("DN-000001", 2 * ROOM)
    assert note["due_date"] == date(2024, 7, 1)
    assert back["total"] == -2 * ROOM
    with work(billed) as uow:
        assert credit_invoice(uow, "INV-000001", ASKED)["total"] == -ROOM


def test_a_credit_line_says_what_it_credits(billed: Company) -> None:
    with work(billed) as uow:
        note = credit_invoice(uow, "INV-000001", ASKED, amount=Decimal(10))
        line = uow.find("invoice_line", invoice_id=note["id"])
        assert line is not None
        told = explain_line(uow, billed.store, int(line["id"])).sentences
    assert told == (
        "This credits line 1 of INV-000001, billed as 249.95 USD: an amount, 10.00 USD.",
        "Given back before: 0.00 USD. Left: 239.95 USD.",
    )


def test_what_is_reissued_is_billed_to_who_is_billed_today(billed: Company) -> None:
    with work(billed) as uow:
        profile = uow.find("billing_profile")
        assert profile is not None
        uow.update("billing_profile", int(profile["id"]), {"bill_to_name": "Acme Ltd"})
        asked = Request(reason="wrong name", finalize=False)
        draft = reissue_invoice(uow, "INV-000001", asked)
        assert reissue_invoice(uow, "INV-000001", asked) == draft
    assert (draft["kind"], draft["state"], draft["total"]) == ("invoice", "draft", ROOM)
    assert draft["snapshot"]["bill_to"]["name"] == "Acme Ltd"
    assert finalize_invoices(billed.database, now=NOW).final == 1
    assert billed.lines()[1:] == [
        ("CN-000001", "Credit: Managed room", JAN, FEB, -1, -ROOM),
        ("INV-000002", "Managed room", JAN, FEB, 1, ROOM),
    ]
    assert billed.bill(JAN).lines == 0


def test_of_what_was_reissued_ended_service_is_given_back_once(billed: Company) -> None:
    with work(billed) as uow:
        reissue_invoice(uow, "INV-000001", ASKED)
        ids = uow.ids_by("subscription", "external_id", ["S"])
        cancel_subscriptions(uow, [ids["S"]], date(2024, 1, 17))
    billed.bill(FEB)
    with work(billed) as uow:
        note = void_invoice(uow, "INV-000002", ASKED)
        total = uow.query("SELECT sum(total) AS total FROM invoice")[0]["total"]
    assert [line[5] for line in billed.lines()][3] == Decimal("-120.94")
    assert (note["total"], total) == (Decimal("-129.01"), 0)
    assert refusal(billed) == (409, "nothing_left")


def test_service_that_ended_while_it_was_voided_is_given_back_once_it_is_reissued(
    billed: Company,
) -> None:
    with work(billed) as uow:
        void_invoice(uow, "INV-000001", ASKED)
        ids = uow.ids_by("subscription", "external_id", ["S"])
        cancel_subscriptions(uow, [ids["S"]], date(2024, 1, 17))
    assert billed.bill(FEB).lines == 0
    with work(billed) as uow:
        assert reissue_invoice(uow, "INV-000001", ASKED)["total"] == ROOM
    assert billed.bill(FEB).totals == {"USD": Decimal("-120.94")}
    assert billed.bill(FEB).lines == 0


def test_what_is_reissued_draws_on_the_prepaid_grant_again(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    incentives(
        company,
        "grants: [{id: P, name: Prepaid, account: ACME, kind: purchased, currency: USD, "
        "amount: 100, start: 2024-01-01}]",
    )
    company.bill(JAN)
    with work(company) as uow:
        again = reissue_invoice(uow, "INV-000001", ASKED)
        left = read_balances(uow, "ACME", JAN)[0]["remaining"]
    assert (again["total"], left) == (Decimal("149.95"), 0)


def test_what_is_reissued_twice_keeps_its_discounts(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("A", "ACME", "rooms", JAN)
    company.subscribe("B", "ACME", "rooms", JAN)
    incentives(company, "discounts: [{id: ten, name: Ten, percent: 10, accounts: [ACME]}]")
    company.bill(JAN)
    with work(company) as uow:
        reissue_invoice(uow, "INV-000001", ASKED)
        twice = reissue_invoice(uow, "INV-000002", ASKED)
        line = uow.query(
            "SELECT position FROM invoice_line WHERE invoice_id = :id AND amount > 0 "
            "ORDER BY position LIMIT 1",
            id=twice["id"],
        )[0]
        part = CreditPart(position=line["position"])
        note = credit_invoice(uow, "INV-000003", ASKED, parts=[part])
        total = uow.query("SELECT sum(total) AS total FROM invoice")[0]["total"]
    assert (twice["total"], note["total"]) == (Decimal("449.91"), Decimal("-224.95"))
    assert total == Decimal("224.96")
