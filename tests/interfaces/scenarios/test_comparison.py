"""Expected against produced, whatever the order, with readable differences."""

from datetime import date
from decimal import Decimal

from counterfoil.interfaces.scenarios.comparison import (
    Produced,
    ProducedInvoice,
    compare,
)
from counterfoil.interfaces.scenarios.scenario import Expected, ExpectedInvoice, ExpectedLine

ROOM = {"charge": "room", "from": date(2024, 1, 1), "amount": Decimal("209.65")}
CALLS = {"charge": "calls", "from": date(2024, 1, 1), "amount": Decimal("1.20")}
MADE = Produced((ProducedInvoice({"account": "A", "total": Decimal("210.85")}, (ROOM, CALLS)),))


def expecting(*lines, total="210.85"):
    rows = tuple(ExpectedLine(10 + number, line) for number, line in enumerate(lines))
    fields = {"account": "A", "total": Decimal(total)}
    return Expected(8, (ExpectedInvoice(9, fields, rows),), ())


def told(expected, produced=MADE):
    return [(difference.line, str(difference)) for difference in compare(expected, produced)]


def test_same_lines_in_another_order_are_no_difference():
    assert told(expecting(CALLS, ROOM)) == []


def test_only_listed_fields_are_compared():
    assert told(expecting({"charge": "room"}, {"amount": Decimal("1.2")})) == []


def test_a_cent_is_a_difference_that_names_the_line():
    off = {**ROOM, "amount": Decimal("209.66")}
    assert told(expecting(off, CALLS)) == [
        (
            10,
            (
                "invoice of A: line charge room from 2024-01-01 amount 209.65: amount: "
                "expected 209.66, got 209.65"
            ),
        )
    ]


def test_a_line_nobody_expects_is_a_difference():
    assert told(expecting(ROOM)) == [
        (
            9,
            (
                "invoice of A: line not expected: expected nothing, got charge calls from "
                "2024-01-01 amount 1.20"
            ),
        )
    ]


def test_a_missing_invoice_and_a_surplus_one_are_differences():
    assert told(expecting(ROOM, CALLS), Produced()) == [
        (9, "invoice missing: expected A 210.85, got nothing")
    ]
    assert told(Expected(8, (), ())) == [
        (8, "invoice not expected: expected nothing, got A 210.85")
    ]


def test_two_invoices_of_one_account_are_told_apart_by_their_lines():
    first = ProducedInvoice({"account": "A"}, ({"charge": "x", "amount": Decimal(1)},))
    second = ProducedInvoice({"account": "A"}, ({"charge": "y", "amount": Decimal(2)},))
    expected = Expected(
        1,
        (
            ExpectedInvoice(2, {"account": "A"}, (ExpectedLine(3, {"charge": "y"}),)),
            ExpectedInvoice(4, {"account": "A"}, (ExpectedLine(5, {"charge": "x"}),)),
        ),
        (),
    )
    assert compare(expected, Produced((first, second))) == []
