"""Payments, allocations, refunds, write-offs: what is open, what is left, what is owed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from tests.business.receivables.conftest import FEB, MAR, ROOM, Ledger, furnish
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing.credit_notes import credit_invoice, void_invoice
from counterfoil.business.billing.crediting import CreditPart
from counterfoil.business.billing.manual_documents import Request
from counterfoil.business.receivables.commands import (
    Chosen,
    Credit,
    NewPayment,
    allocate_credit,
    apply_credits,
    apply_to_bill_run,
    record_payment,
    refund_credit,
    unallocate_credit,
    write_off_document,
)
from counterfoil.business.receivables.positions import read_documents_due
from counterfoil.business.receivables.queries import (
    account_balance,
    account_statement,
    read_ageing,
    read_settlements,
)
from counterfoil.business.receivables.reversing import reverse_settlement
from counterfoil.business.subscriptions.commands import cancel_subscriptions
from counterfoil.core.problems import Refused

ASKED = Request(reason="line was down")


def with_two(organisation: Organisation) -> None:
    furnish(organisation)
    Ledger(organisation).bill(FEB)


@pytest.fixture
def two(furnishings: Furnishings) -> Iterator[Ledger]:
    """Two open invoices of ACME."""
    with furnishings.copy(with_two) as organisation:
        yield Ledger(organisation)


def pay(ledger: Ledger, amount: object, **more: Any) -> int:
    """Record a payment of ACME; its id."""
    options = {name: more.pop(name) for name in ("chosen", "allocate") if name in more}
    with ledger.work() as uow:
        payment = NewPayment(account="ACME", amount=Decimal(str(amount)), **more)
        return int(str(record_payment(uow, payment, **options)["id"]))


def states(ledger: Ledger) -> list[tuple[object, ...]]:
    """Number, payment state and open amount of all documents."""
    with ledger.work() as uow:
        rows = read_documents_due(uow, None)
    return [(row["number"], row["payment_state"], row["open"]) for row in rows]


def owed(ledger: Ledger) -> Decimal:
    with ledger.work() as uow:
        return account_balance(uow, "ACME").balance


def test_a_payment_pays_the_oldest_due_first(two: Ledger) -> None:
    pay(two, 300)
    assert states(two) == [
        ("INV-000001", "paid", 0),
        ("INV-000002", "partly_paid", Decimal("199.90")),
    ]
    assert owed(two) == Decimal("199.90")


def test_a_payment_pays_chosen_documents(two: Ledger) -> None:
    pay(two, 300, chosen=[Chosen("INV-000002"), Chosen("INV-000001", Decimal("0.05"))])
    assert states(two) == [
        ("INV-000001", "partly_paid", Decimal("249.90")),
        ("INV-000002", "paid", 0),
    ]
    with two.work() as uow:
        found = account_balance(uow, "ACME")
    assert (found.open, found.credit) == (Decimal("249.90"), 50)
    assert found.balance == Decimal("199.90")


def test_what_is_overpaid_pays_the_next_invoice(two: Ledger) -> None:
    pay(two, 600)
    assert owed(two) == Decimal("-100.10")
    two.bill(MAR)
    with two.work() as uow:
        assert apply_credits(uow) == 1
        assert apply_credits(uow) == 0
    assert states(two)[2] == ("INV-000003", "partly_paid", Decimal("149.85"))


def test_credit_pays_what_a_run_billed_that_was_killed_once_the_day_is_billed_again(
    two: Ledger,
) -> None:
    pay(two, 600)
    two.bill(MAR)
    again = two.bill(MAR)
    with two.work() as uow:
        assert apply_to_bill_run(uow, again.bill_run_id) == 1
        assert apply_to_bill_run(uow, again.bill_run_id) == 0
    assert states(two)[2] == ("INV-000003", "partly_paid", Decimal("149.85"))


def test_a_credit_note_pays_what_it_corrects_then_the_oldest_due(two: Ledger) -> None:
    pay(two, 100, chosen=[Chosen("INV-000002")])
    with two.work() as uow:
        credit_invoice(uow, "INV-000002", ASKED, amount=Decimal(200))
        apply_credits(uow)
    assert states(two) == [
        ("INV-000001", "partly_paid", Decimal("199.90")),
        ("INV-000002", "paid", 0),
    ]
    with two.work() as uow:
        void_invoice(uow, "INV-000001", ASKED)
        apply_credits(uow)
        found = account_balance(uow, "ACME")
    assert (found.open, found.credit) == (0, Decimal("50.05"))


def test_what_was_unallocated_by_hand_stays_so(two: Ledger) -> None:
    payment = pay(two, ROOM)
    with two.work() as uow:
        assert len(unallocate_credit(uow, Credit(payment=payment), "INV-000001")) == 1
        assert unallocate_credit(uow, Credit(payment=payment), "INV-000001") == []
    assert states(two)[0] == ("INV-000001", "open", ROOM)
    with two.work() as uow:
        apply_credits(uow)
    assert states(two) == [("INV-000001", "open", ROOM), ("INV-000002", "paid", 0)]


def test_a_refund_takes_only_what_pays_nothing(two: Ledger) -> None:
    payment = pay(two, 600)
    with two.work() as uow:
        refunded = refund_credit(uow, Credit(payment=payment), Decimal(100), key="r1")
        assert refund_credit(uow, Credit(payment=payment), Decimal(100), key="r1") == refunded
    assert owed(two) == Decimal("-0.10")
    with pytest.raises(Refused, match=r"0\.1 USD is left of it"), two.work() as uow:
        refund_credit(uow, Credit(payment=payment), Decimal("0.11"))
    with two.work() as uow:
        unallocate_credit(uow, Credit(payment=payment))
        refund_credit(uow, Credit(payment=payment))
    assert owed(two) == 2 * ROOM


def test_a_document_is_written_off(two: Ledger) -> None:
    pay(two, 100)
    with two.work() as uow:
        assert write_off_document(uow, "INV-000001", "bankrupt")["amount"] == Decimal("149.95")
    assert states(two)[0] == ("INV-000001", "written_off", 0)
    with pytest.raises(Refused, match="0 USD is open"), two.work() as uow:
        write_off_document(uow, "INV-000001", "twice")
    assert owed(two) == ROOM


def test_what_was_written_off_and_is_voided_pays_nothing_else(two: Ledger) -> None:
    with two.work() as uow:
        lost = write_off_document(uow, "INV-000001", "lost")
        void_invoice(uow, "INV-000001", ASKED)
        assert apply_credits(uow) == 0
    assert states(two) == [("INV-000001", "written_off", 0), ("INV-000002", "open", ROOM)]
    with two.work() as uow:
        reverse_settlement(uow, "write_off", int(lost["id"]), "it was never owed")
        assert apply_credits(uow) == 1
    assert states(two) == [("INV-000001", "paid", 0), ("INV-000002", "open", ROOM)]
    assert owed(two) == ROOM


def test_what_is_wrong_is_refused_and_nothing_recorded(ledger: Ledger) -> None:
    def code(amount: object, **more: Any) -> str:
        with pytest.raises(Refused) as refused:
            pay(ledger, amount, **more)
        return refused.value.problems[0].code

    first = Chosen("INV-000001", Decimal(999))
    assert code(0) == "too_small"
    assert code("1.001") == "too_many_places"
    assert code(1, currency="EUR") == "other_currency"
    assert code(1, chosen=[Chosen("INV-000001", Decimal(2))]) == "not_enough_left"
    assert code(999, chosen=[first]) == "not_enough_left"
    assert code(1, chosen=[Chosen("INV-000009")]) == "unknown_invoice"
    assert code(1, chosen=[first, first]) == "named_twice"
    assert owed(ledger) == ROOM


def test_a_repeated_payment_adds_nothing(ledger: Ledger) -> None:
    assert pay(ledger, 100, key="bank-1") == pay(ledger, 100, key="bank-1")
    assert owed(ledger) == ROOM - 100
    ledger.open_account("B")
    with pytest.raises(Refused, match="for account ACME: now"), ledger.work() as uow:
        record_payment(uow, NewPayment(account="B", amount=Decimal(1), key="bank-1"))


def test_a_key_of_another_request_is_refused(two: Ledger) -> None:
    paid = pay(two, 300, allocate=False, key="bank-1")
    with pytest.raises(Refused, match="'bank-1' was used already, for amount 300: now"):
        pay(two, 30, allocate=False, key="bank-1")
    with pytest.raises(Refused, match="for allocations False: now it asks for allocations True"):
        pay(two, 300, key="bank-1")
    with two.work() as uow:
        credit = Credit(payment=paid)
        made = refund_credit(uow, credit, Decimal(10), key="out-1")["id"]
        assert refund_credit(uow, credit, Decimal(10), key="out-1")["id"] == made
        write_off_document(uow, "INV-000001", "lost", Decimal(5), key="off-1")
        others = (
            lambda: refund_credit(uow, credit, Decimal(11), key="out-1"),
            lambda: refund_credit(uow, credit, key="out-1"),
            lambda: refund_credit(uow, credit, Decimal(10), method="card", key="out-1"),
            lambda: write_off_document(uow, "INV-000002", "lost", Decimal(5), key="off-1"),
        )
        for other in others:
            with pytest.raises(Refused) as refused:
                other()
            assert (refused.value.problems[0].code, refused.value.status) == (
                "request_key_reused",
                409,
            )
    assert owed(two) == 2 * ROOM - 300 + 10 - 5


def test_a_document_named_by_number_and_by_id_is_not_paid_twice(two: Ledger) -> None:
    with two.work() as uow:
        first = read_documents_due(uow, None)[0]["id"]
    with pytest.raises(Refused) as refused:
        pay(two, 499, chosen=[Chosen("INV-000001"), Chosen(first)])
    assert refused.value.problems[0].code == "named_twice"
    assert states(two)[0] == ("INV-000001", "open", ROOM)
    assert owed(two) == 2 * ROOM


def test_days_are_those_where_the_account_is_billed(ledger: Ledger) -> None:
    far = ledger.open_account("FAR", time_zone="Pacific/Auckland")
    ledger.subscribe("F", "FAR", "rooms", FEB)
    ledger.now = datetime(2024, 1, 31, 20, tzinfo=UTC)  # the first of February there
    ledger.bill(FEB, accounts=[far])
    with ledger.work() as uow:
        paid = record_payment(uow, NewPayment(account="FAR", amount=Decimal(300)))
        credit = Credit(payment=int(paid["id"]))
        refund_credit(uow, credit, Decimal(10))
        unallocate_credit(uow, credit)
        allocate_credit(uow, credit, [Chosen("INV-000002", Decimal(100))])
        write_off_document(uow, "INV-000002", "lost", Decimal(5))
        for table, day in (
            ("payment", "received_on"),
            ("refund", "refunded_on"),
            ("allocation", "allocated_on"),
            ("write_off", "written_off_on"),
        ):
            assert uow.query(f"SELECT DISTINCT {day} AS day FROM {table}") == [{"day": FEB}], table
        january = account_statement(uow, "FAR", date(2024, 1, 1), FEB)
    assert (january.entries, january.closing) == ([], 0)


def test_payments_at_once_pay_every_document_once(two: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: pay(two, 90), range(6)))
    assert [row[2] for row in states(two)] == [0, 0]
    assert owed(two) == Decimal("-40.10")


def test_the_statement_goes_from_opening_to_closing(two: Ledger) -> None:
    pay(two, 100, received_on=date(2024, 2, 10), reference="DE-1")
    with two.work() as uow:
        found = account_statement(uow, "ACME", FEB, MAR)
    entries = [tuple(row.values()) for row in found.entries]
    assert (found.opening, found.closing) == (ROOM, Decimal("399.90"))
    assert entries == [
        (FEB, "invoice", "INV-000002", ROOM, 0, 2 * ROOM),
        (date(2024, 2, 10), "payment", "DE-1", 0, 100, Decimal("399.90")),
    ]
    with pytest.raises(Refused), two.work() as uow:
        account_statement(uow, "ACME", FEB, FEB)


def test_ageing_bands_begin_on_the_day_after_the_due_date(ledger: Ledger) -> None:
    """Due on 31 January."""
    names = ("current", "days_1_30", "days_31_60", "days_61_90", "over_90")
    found = {}
    with ledger.work() as uow:
        for text in ("2024-01-31", "2024-02-01", "2024-03-01", "2024-03-02", "2024-03-31"):
            (row,) = read_ageing(uow, date.fromisoformat(text)).accounts
            found[text] = [name for name in names if row[name] == ROOM]
        late = [read_ageing(uow, date(2024, *day)).accounts[0] for day in ((4, 30), (5, 1))]
        assert read_ageing(uow, date(2023, 12, 31)).accounts == []
    assert found == {
        "2024-01-31": ["current"],
        "2024-02-01": ["days_1_30"],
        "2024-03-01": ["days_1_30"],
        "2024-03-02": ["days_31_60"],
        "2024-03-31": ["days_31_60"],
    }
    assert (late[0]["days_61_90"], late[1]["over_90"]) == (ROOM, ROOM)


def test_ageing_tells_what_was_known_on_the_day(two: Ledger) -> None:
    pay(two, 100, received_on=date(2024, 2, 10))
    with two.work() as uow:
        before = read_ageing(uow, date(2024, 2, 9)).accounts[0]
        after = read_ageing(uow, date(2024, 2, 10)).totals[0]
        today = read_ageing(uow, date(2024, 6, 1)).totals[0]
    assert (before["credit"], before["balance"]) == (0, 2 * ROOM)
    assert (after["credit"], after["balance"]) == (-100, Decimal("399.90"))
    assert (today["credit"], today["balance"]) == (0, Decimal("399.90"))


def test_credit_is_not_allocated_beyond_what_there_is(two: Ledger) -> None:
    payment = pay(two, 10, allocate=False)
    too_much = [Chosen("INV-000001", Decimal(6)), Chosen("INV-000002", Decimal(6))]
    with pytest.raises(Refused, match="4 USD can be allocated"), two.work() as uow:
        allocate_credit(uow, Credit(payment=payment), too_much)
    assert owed(two) == 2 * ROOM - 10
    assert [row[1] for row in states(two)] == ["open", "open"]


YEARLY = """
rate_plans:
  - id: yearly
    product: conferencing
    name: Yearly
    charges:
      - {id: yearly, name: Yearly, kind: recurring, timing: in_advance, period: year,
         alignment: anniversary, prices: [{currency: USD, model: flat, amount: 2399.95}]}
"""


@pytest.mark.parametrize(
    ("account", "adjusted_first", "adjusted", "owes"),
    [("FIRST", True, "197.26", 0), ("LAST", False, "100.00", Decimal("97.26"))],
)
def test_a_refund_a_credit_and_a_cancellation_add_up_in_any_order(
    ledger: Ledger, account: str, adjusted_first: bool, adjusted: str, owes: Decimal
) -> None:
    """KB-034, where refund and adjustment are one call."""
    start, cancelled = date(2013, 8, 18), date(2013, 9, 17)
    ledger.load_prices(YEARLY)
    account_id = ledger.open_account(account)
    subscription = ledger.subscribe(account, account, "yearly", start)
    ledger.bill(start, accounts=[account_id])
    price = Decimal("2399.95")
    with ledger.work() as uow:
        payment = int(record_payment(uow, NewPayment(account=account, amount=price))["id"])
        unallocate_credit(uow, Credit(payment=payment))
        refund_credit(uow, Credit(payment=payment))

    def adjust() -> None:
        with ledger.work() as uow:
            part = CreditPart(position=1, amount=Decimal(adjusted))
            credit_invoice(uow, "INV-000002", ASKED, parts=[part])

    def cancel() -> None:
        with ledger.work() as uow:
            cancel_subscriptions(uow, [subscription], cancelled)
        ledger.bill(cancelled, accounts=[account_id])

    for step in (adjust, cancel) if adjusted_first else (cancel, adjust):
        step()
    with ledger.work() as uow:
        lines = uow.query("SELECT amount FROM rated_charge WHERE kind = 'reversal'")
        assert lines == [{"amount": Decimal("-2202.6900")}]
        assert account_balance(uow, account).balance == owes


def test_a_payment_that_bounced_no_longer_counts(two: Ledger) -> None:
    one = pay(two, 300, reference="DE-1")
    with two.work() as uow:
        made = [reverse_settlement(uow, "payment", one, "returned") for _ in range(2)]
    assert made[0] == made[1]
    assert states(two) == [("INV-000001", "open", ROOM), ("INV-000002", "open", ROOM)]
    assert owed(two) == 2 * ROOM
    # It is gone for good: nothing of it is laid to documents, allocated or refunded any more.
    with two.work() as uow, pytest.raises(Refused):
        refund_credit(uow, Credit(payment=one))
    with two.work() as uow, pytest.raises(Refused):
        allocate_credit(uow, Credit(payment=one), [Chosen("INV-000001")])
    with two.work() as uow:
        assert allocate_credit(uow, Credit(payment=one)) == []
        assert apply_credits(uow) == 0
        found = account_statement(uow, "ACME", date(2024, 1, 1), date(2030, 1, 1))
    assert [(row["entry"], row["name"], row["balance"]) for row in found.entries][-2:] == [
        ("payment", "DE-1", 2 * ROOM - 300),
        ("payment_reversed", "DE-1", 2 * ROOM),
    ]
    # What it had paid is paid by the next payment, as if it had never come.
    pay(two, 300)
    assert states(two)[0] == ("INV-000001", "paid", 0)


def test_refunds_and_write_offs_are_undone(two: Ledger) -> None:
    one = pay(two, 600)
    with two.work() as uow:
        refund = refund_credit(uow, Credit(payment=one))
        with pytest.raises(Refused) as refused:
            reverse_settlement(uow, "payment", one, "returned")
    assert (refused.value.status, refused.value.problems[0].code) == (409, "refunded")
    assert owed(two) == 0
    with two.work() as uow:
        reverse_settlement(uow, "refund", int(refund["id"]), "never arrived")
    assert owed(two) == 2 * ROOM - 600
    with two.work() as uow:
        reverse_settlement(uow, "payment", one, "returned")
        gone = write_off_document(uow, "INV-000001", "bankrupt", Decimal(49))
    assert owed(two) == 2 * ROOM - 49
    with two.work() as uow:
        reverse_settlement(uow, "write_off", int(gone["id"]), "not bankrupt")
        ageing = read_ageing(uow, date(2030, 1, 1))
        before = account_balance(uow, "ACME", as_of=MAR)
    assert states(two) == [("INV-000001", "open", ROOM), ("INV-000002", "open", ROOM)]
    assert ageing.totals[0]["balance"] == owed(two) == before.balance == 2 * ROOM
    with two.work() as uow, pytest.raises(Refused) as refused:
        reverse_settlement(uow, "refund", 4711, "?")
    assert refused.value.status == 404


def test_what_was_paid_of_an_invoice_by_a_day(two: Ledger) -> None:
    pay(two, 300)
    with two.work() as uow:
        write_off_document(uow, "INV-000002", "rounding", Decimal("0.90"))
        credit_invoice(uow, "INV-000001", ASKED, amount=Decimal("49.95"))
        apply_credits(uow)
        first, second = (row["id"] for row in read_documents_due(uow, None))
        today = uow.now.date()
        found = read_settlements(uow, [first, second], today)
        before = read_settlements(uow, [first], FEB)
    assert found == {
        first: {
            "paid": ROOM, "credited": 0, "written_off": 0, "open": 0, "as_of": today,
        },
        second: {
            "paid": Decimal("50.05"), "credited": Decimal("49.95"),
            "written_off": Decimal("0.90"), "open": Decimal("149.05"), "as_of": today,
        },
    }  # fmt: skip
    assert before[first]["open"] == ROOM
