"""Documents voided and billed anew, rated again with today's prices and usage."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company
from tests.business.billing.test_arranging import grant
from tests.business.billing.test_rerating import own_price

from counterfoil.business.billing.approving import approve_drafts, refuse_drafts
from counterfoil.business.billing.credit_notes import credit_invoice, void_invoice
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.finalizing import finalize_invoices
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.billing.reissuing import Reissued, reissue_rated_again
from counterfoil.business.billing.rerating import rerate_bills
from counterfoil.business.billing.window import Window
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.receivables.queries import account_balance
from counterfoil.business.subscriptions.commands import cancel_subscriptions, change_quantity
from counterfoil.core.problems import Refused

JAN, FEB, MAR = (date(2024, month, 1) for month in (1, 2, 3))
ASKED = Request(reason="Wrong price")


def reissue(company: Company, number: str = "INV-000001", request: Request = ASKED) -> Reissued:
    with company.database.transaction(now=NOW) as uow:
        return reissue_rated_again(uow, company.store, number, request)


def lines_of(company: Company, document: object) -> list[tuple[object, ...]]:
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT r.kind, l.amount FROM invoice_line l "
            "JOIN rated_charge r ON r.id = l.rated_charge_id "
            "WHERE l.invoice_id = :id ORDER BY l.position",
            id=document,
        )
    return [tuple(row.values()) for row in rows]


def test_it_bills_todays_prices_and_usage_and_tells_the_difference(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S-1", "ACME", "rooms", JAN)
    calls = company.subscribe("S-2", "ACME", "minutes", JAN)
    company.use(calls, ("a", datetime(2024, 1, 9, tzinfo=UTC), "600"))
    company.bill(FEB)
    own_price(company, "ACME", "room", "200.00")
    company.use(calls, ("b", datetime(2024, 1, 10, tzinfo=UTC), "60"))
    done = reissue(company)
    new = done.invoice
    assert new is not None
    # January and February of the room, and the calls of January with the one that came late.
    assert [
        (row["charge"], row["cycle_start"], row["billed"], row["now"], row["difference"])
        for row in done.differences
    ] == [
        ("room", JAN, Decimal("249.95"), Decimal("200.00"), Decimal("-49.95")),
        ("room", FEB, Decimal("249.95"), Decimal("200.00"), Decimal("-49.95")),
        ("minute", JAN, Decimal("1.76"), Decimal("1.98"), Decimal("0.22")),
    ]
    assert (done.credit_note["total"], new["total"]) == (Decimal("-501.66"), Decimal("401.98"))
    assert (done.credit_note["number"], new["number"]) == ("CN-000001", "INV-000002")
    assert done.credit_note["corrects_id"] == new["corrects_id"] != new["id"]
    assert reissue(company).invoice == new
    assert company.bill(FEB).lines == 0
    with company.database.transaction(now=NOW) as uow:
        line = uow.find("invoice_line", invoice_id=new["id"], position=1)
        assert line is not None
        assert "rated again" in " ".join(
            explain_line(uow, company.store, int(line["id"])).sentences
        )
    # The new document is what stands: later usage and re-rating go on from it.
    assert rerate_bills(company.database, company.store, Window(JAN, MAR), now=NOW).differences == 0
    company.use(calls, ("c", datetime(2024, 1, 11, tzinfo=UTC), "60"))
    assert company.bill(MAR).totals == {"USD": Decimal("200.22")}
    with pytest.raises(Refused) as refused, company.database.transaction(now=NOW) as uow:
        credit_invoice(uow, "INV-000001", ASKED)
    assert refused.value.problems[0].code == "nothing_left"
    with company.database.transaction(now=NOW) as uow:
        assert void_invoice(uow, new["id"], ASKED)["total"] == -new["total"]


def test_discounts_and_prepaid_balances_go_along(company: Company) -> None:
    company.open_account("ACME")
    book, problems = parse_incentives(
        "discounts:\n"
        "  - {id: ten, name: Ten percent, percent: 10, accounts: [ACME], maximum_uses: 2}\n"
        "  - {id: five, name: Five off, amount: 5.00, currency: USD, accounts: [ACME],"
        " holder_maximum: 12.00}\n",
        "incentives.yaml",
    )
    assert problems == []
    with company.database.transaction(now=NOW) as uow:
        save_incentives(uow, book)
    grant(company, "ACME", "150.00")
    company.subscribe("S-1", "ACME", "rooms", JAN)
    company.bill(JAN)
    own_price(company, "ACME", "room", "100.00")
    done = reissue(company)
    assert done.invoice is not None
    credited = lines_of(company, done.credit_note["id"])
    assert sorted(kind for kind, _ in credited) == ["adjustment"] * 3 + ["credit"]
    made = lines_of(company, done.invoice["id"])
    assert [kind for kind, _ in made] == ["recurring", "discount", "discount", "prepaid"]
    assert sum(amount for _, amount in made) == done.invoice["total"] == 0
    assert made[0][1] == 100
    assert made[-1][1] == -sum(amount for _, amount in made[:-1])
    # The second use of ten percent, and what is left of the balance and of the twelve dollars.
    company.bill(FEB)
    february = lines_of(company, company_last(company))
    assert [kind for kind, _ in february] == ["recurring", "discount", "discount", "prepaid"]
    company.bill(MAR)
    march = lines_of(company, company_last(company))
    assert [kind for kind, _ in march][:2] == ["recurring", "discount"]
    assert march[1][1] == -2


def company_last(company: Company) -> object:
    with company.database.transaction(now=NOW) as uow:
        return uow.query("SELECT max(id) AS id FROM invoice")[0]["id"]


def test_what_was_changed_since_is_billed_once(company: Company) -> None:
    company.open_account("ACME")
    room = company.subscribe("S-1", "ACME", "rooms", JAN, quantities={"room": Decimal(2)})
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        change_quantity(uow, room, "room", Decimal(1), date(2024, 1, 17))
    company.bill(FEB)
    before = total(company)
    done = reissue(company, "INV-000002")
    assert {row["difference"] for row in done.differences} == {Decimal(0)}
    assert total(company) == before
    # What is left of the first invoice was rated again with what the second gave back of it.
    with pytest.raises(Refused) as refused:
        reissue(company, "INV-000001")
    assert refused.value.problems[0].code == "nothing_left"
    assert total(company) == before
    assert company.bill(FEB).lines == 0


def total(company: Company) -> Decimal:
    with company.database.transaction(now=NOW) as uow:
        return Decimal(uow.query("SELECT sum(total) AS total FROM invoice")[0]["total"])


def test_what_cannot_be_rated_again_changes_nothing(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S-1", "ACME", "rooms", JAN)
    company.bill(JAN)
    company.bill(FEB, finalize=False)
    before = company.counts()
    with pytest.raises(Refused) as refused:
        reissue(company)
    assert (refused.value.status, refused.value.problems[0].code) == (409, "open_draft")
    assert company.counts() == before
    with pytest.raises(Refused) as refused:
        reissue(company, "INV-000009")
    assert refused.value.status == 404
    with company.database.transaction(now=NOW) as uow:
        uow.execute("DELETE FROM invoice WHERE state = 'draft'")
        void_invoice(uow, "INV-000001", ASKED)
    with pytest.raises(Refused) as refused:
        reissue(company)
    assert refused.value.problems[0].code == "nothing_left"


def test_what_was_credited_by_hand_is_billed_again_as_it_was_left(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S-1", "ACME", "rooms", JAN)
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        credit_invoice(uow, "INV-000001", ASKED, amount=Decimal("49.95"))
    own_price(company, "ACME", "room", "100.00")
    done = reissue(company)
    assert done.invoice is not None
    assert (done.invoice["total"], done.differences) == (Decimal("200.00"), [])


def test_asked_at_once_it_is_done_once(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S-1", "ACME", "rooms", JAN)
    company.bill(JAN)
    with ThreadPoolExecutor(4) as pool:
        done = [one.result() for one in [pool.submit(reissue, company) for _ in range(4)]]
    assert len({str(one.invoice) for one in done}) == 1
    assert company.counts() == [3, 3, 3]


def test_both_documents_wait_for_approval_and_are_refused_together(company: Company) -> None:
    account = company.open_account("ACME")
    company.subscribe("S-1", "ACME", "rooms", JAN)
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        profile = uow.find("billing_profile", account_id=account)
        assert profile is not None
        uow.update("billing_profile", int(profile["id"]), {"approval": "all"})
    own_price(company, "ACME", "room", "100.00")
    done = reissue(company)
    assert done.invoice is not None
    assert (done.credit_note["state"], done.invoice["state"]) == ("draft", "draft")
    with company.database.transaction(now=NOW) as uow:
        assert refuse_drafts(uow, [int(done.credit_note["id"])], "ask the customer first") == 2
    assert company.counts() == [1, 1, 1]
    assert company.bill(JAN).lines == 0
    again = reissue(company)
    assert again.invoice is not None
    with company.database.transaction(now=NOW) as uow:
        approve_drafts(uow, [int(again.credit_note["id"]), int(again.invoice["id"])])
    assert finalize_invoices(company.database, now=NOW).final == 2
    assert total(company) == 100


def test_of_service_that_was_given_back_in_full_nothing_is_billed_anew(company: Company) -> None:
    company.open_account("ACME")
    room = company.subscribe("S-1", "ACME", "rooms", JAN)
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        cancel_subscriptions(uow, [room], JAN)
    company.bill(FEB)
    before = company.counts()
    with pytest.raises(Refused) as refused:
        reissue(company)
    assert refused.value.problems[0].code == "nothing_left"
    assert company.counts() == before


def test_what_was_given_back_of_it_is_settled_with_it(company: Company) -> None:
    account = company.open_account("ACME")
    own_price(company, "ACME", "room", "31.00")
    room = company.subscribe("S-1", "ACME", "rooms", JAN, quantities={"room": Decimal(2)})
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        change_quantity(uow, room, "room", Decimal(1), date(2024, 1, 17))
    company.bill(FEB)
    # 62.00, then 15 days of two rooms back, the same days of one, and February: -30 + 15 + 31.
    assert total(company) == 78
    assert reissue(company).credit_note["total"] == -32
    assert total(company) == 78
    # Void, the second invoice leaves the first 16 days of two rooms.
    with company.database.transaction(now=NOW) as uow:
        note = void_invoice(uow, "INV-000002", ASKED)
        assert account_balance(uow, "ACME").balance == 32
    assert [amount for _, amount in lines_of(company, note["id"])] == [-15, -31]
    assert (note["account_id"], total(company)) == (account, 32)


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_in_either_order_it_comes_to_todays_prices(
    company: Company, numbers: tuple[int, int]
) -> None:
    company.open_account("ACME")
    rooms = {
        name: company.subscribe(name, "ACME", "rooms", JAN, quantities={"room": Decimal(quantity)})
        for name, quantity in (("S-2", 2), ("S-5", 5))
    }
    company.bill(JAN)
    with company.database.transaction(now=NOW) as uow:
        change_quantity(uow, rooms["S-5"], "room", Decimal(3), date(2024, 1, 17))
    company.bill(FEB)
    own_price(company, "ACME", "room", "24.80")
    for number in numbers:
        reissue(company, f"INV-{number:06}", Request(reason="Wrong price", key=str(number)))
    # 0.80 a day: two rooms all of January, five of 16 days and three of 15; five in February.
    assert total(company) == Decimal("49.60") + 64 + 36 + 124
    months = Window(JAN, MAR)
    assert rerate_bills(company.database, company.store, months, now=NOW).differences == 0
