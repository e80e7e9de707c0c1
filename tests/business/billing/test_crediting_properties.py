"""However a document is credited in parts, they add up to it, to the cent, and never beyond."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from counterfoil.business.billing.crediting import (
    BilledLine,
    CreditPart,
    Share,
    credit_amount,
    credit_everything,
    credit_parts,
)
from counterfoil.core.problems import Refused

JAN = date(2024, 1, 1)
CENTS = st.integers(1, 500_000).map(lambda cents: Decimal(cents).scaleb(-2))
QUANTITIES = st.integers(1, 1_000_000).map(lambda units: Decimal(units).scaleb(-3))


@st.composite
def documents(draw: st.DrawFn) -> list[BilledLine]:
    """Charges with discounts and minimums of their own, and what a prepaid balance paid."""
    lines: list[BilledLine] = []

    def add(kind: str, amount: Decimal, days: int, of: int | None = None) -> int:
        number = len(lines) + 1
        lines.append(
            BilledLine(
                position=number,
                rated_charge_id=number,
                kind=kind,
                amount=amount,
                reversed=Decimal(0),
                net=amount,
                quantity=draw(QUANTITIES) if of is None else Decimal(0),
                service_start=JAN,
                service_end=JAN + timedelta(days=days),
                applies_to_id=of,
            )
        )
        return number

    for _ in range(draw(st.integers(1, 4))):
        days = draw(st.integers(1, 400))
        whole = draw(CENTS)
        charge = add("recurring", whole, days)
        if draw(st.booleans()):
            whole += (extra := draw(CENTS))
            add("minimum", extra, days, charge)
        if draw(st.booleans()):
            taken = min(draw(CENTS), lines[charge - 1].amount)
            add("discount", -taken, days, charge)
    total = sum(line.amount for line in lines)
    if total > 0 and draw(st.booleans()):
        add("prepaid", -min(draw(CENTS), total), 1)
    return lines


@st.composite
def requests(draw: st.DrawFn) -> Callable[[Sequence[BilledLine]], list[Share]]:
    """A credit that somebody asks for; it may be more than there is."""
    how = draw(st.sampled_from(("amount", "part", "quantity", "period", "line")))
    if how == "amount":
        amount = draw(CENTS)
        return lambda lines: credit_amount(lines, amount, 2)
    number = draw(st.integers(1, 6))
    if how == "part":
        part = CreditPart(position=number, amount=draw(CENTS))
    elif how == "quantity":
        part = CreditPart(position=number, quantity=draw(QUANTITIES))
    elif how == "period":
        first, days = draw(st.integers(0, 300)), draw(st.integers(1, 300))
        start = JAN + timedelta(days=first)
        part = CreditPart(position=number, start=start, end=start + timedelta(days=days))
    else:
        part = CreditPart(position=number)
    return lambda lines: credit_parts(lines, [part], 2)


def credited(lines: Sequence[BilledLine], shares: Sequence[Share]) -> list[BilledLine]:
    """The lines after these shares were given back."""
    by_line = {share.line.rated_charge_id: share for share in shares}
    assert len(by_line) == len(shares)
    after = []
    for line in lines:
        share = by_line.get(line.rated_charge_id)
        if share is None:
            after.append(line)
            continue
        assert share.amount == round(share.amount, 2)
        assert 0 < abs(share.amount) <= abs(line.left)
        assert (share.amount > 0) == (line.amount > 0)
        periods, quantity = line.periods_credited, line.quantity_credited
        if share.how == "period":
            periods = (*periods, (share.start, share.end))
        if share.how == "quantity":
            quantity += share.quantity
        after.append(
            replace(
                line,
                reversed=line.reversed + share.amount,
                net=line.net - share.amount,
                quantity_credited=quantity,
                periods_credited=periods,
            )
        )
    return after


@given(documents(), st.lists(requests(), max_size=8))
def test_the_parts_of_a_document_add_up_to_it(
    lines: list[BilledLine], asked: list[Callable[[Sequence[BilledLine]], list[Share]]]
) -> None:
    total = sum(line.amount for line in lines)
    notes: list[Decimal] = []
    for credit in [*asked, lambda rest: credit_everything(rest, 2)]:
        try:
            shares = credit(lines)
        except Refused:
            continue
        lines = credited(lines, shares)
        notes.append(sum((share.amount for share in shares), Decimal(0)))
    assert all(note >= 0 for note in notes), notes
    assert sum(notes) == total
    assert all(line.left == 0 for line in lines)
