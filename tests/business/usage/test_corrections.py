"""Corrections: a wrong event counts no longer, whatever comes after; the right one does."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from tests.business.billing.conftest import NOW, Company, company
from tests.business.billing.test_rerating import found, rerate

from counterfoil.business.usage.compaction import compact
from counterfoil.business.usage.corrections import Correction, CorrectionSummary, correct_usage
from counterfoil.core.problems import Refused

__all__ = ["company"]

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)


def at(day: int, month: int = 1) -> datetime:
    return datetime(2024, month, day, 12, tzinfo=UTC)


def correct(company: Company, *corrections: Correction) -> CorrectionSummary:
    with company.database.transaction(now=NOW) as uow:
        return correct_usage(uow, company.store, corrections)


def refused(company: Company, *corrections: Correction) -> list[str]:
    with pytest.raises(Refused) as answer:
        correct(company, *corrections)
    return [problem.message for problem in answer.value.problems]


def wrong(event: str, quantity: str | None) -> Correction:
    return Correction("bridge", event, None if quantity is None else Decimal(quantity))


def amounts(company: Company) -> list[tuple[object, ...]]:
    """Service begin, quantity and amount of every line."""
    return [(line[2], line[4], line[5]) for line in company.lines()]


@pytest.fixture
def used(company: Company) -> Company:
    """ACME with calls of 5 and 8 minutes in January; 2 minutes are included, then 0.22."""
    company.open_account("ACME")
    company.minutes = company.subscribe("M", "ACME", "minutes", JAN)
    company.use(company.minutes, ("a", at(3), "300"), ("b", at(4), "480"))
    return company


def test_a_corrected_event_is_billed_with_its_right_quantity(used: Company) -> None:
    made = correct(used, wrong("b", "60"))
    assert (made.withdrawn, made.replaced, made.unchanged) == (1, 1, 0)
    used.bill(FEB)
    # 5 and 1 minutes, 2 included.
    assert amounts(used) == [(JAN, Decimal(6), Decimal("0.88"))]


def test_a_withdrawn_event_never_counts_again(used: Company) -> None:
    correct(used, wrong("b", None))
    used.use(used.minutes, ("b", at(4), "480"))
    compact(used.database, used.store, now=NOW)
    used.bill(FEB)
    assert amounts(used) == [(JAN, Decimal(5), Decimal("0.66"))]


@pytest.mark.parametrize("compacted", [True, False])
def test_what_was_billed_is_credited_by_the_next_bill_run(used: Company, compacted: bool) -> None:
    used.bill(FEB)
    if compacted:
        compact(used.database, used.store, now=NOW)
    correct(used, wrong("b", "60"))
    used.bill(MAR)
    # 13 minutes were 10 x 0.22 + 1 x 0.20; 6 minutes are 4 x 0.22.
    assert amounts(used) == [
        (JAN, Decimal(13), Decimal("2.40")),
        (JAN, Decimal(-7), Decimal("-1.52")),
    ]
    assert used.bill(MAR).lines == 0
    assert found(rerate(used)) == []


def test_what_was_billed_is_adjusted_at_once_by_a_rerating(used: Company) -> None:
    used.bill(FEB)
    correct(used, wrong("a", None), wrong("b", None))
    assert found(rerate(used, apply=True)) == [
        ("M", "minute", JAN, Decimal("2.40"), Decimal(0), Decimal("-2.40"))
    ]
    assert used.bill(MAR).lines == 0
    used.use(used.minutes, ("late", at(20), "180"))
    used.bill(MAR)
    assert amounts(used)[-1] == (JAN, Decimal(3), Decimal("0.22"))


def test_the_same_correction_again_changes_nothing(used: Company) -> None:
    correct(used, wrong("b", "60"))
    again = correct(used, wrong("b", "60.0"))
    assert (again.batch_id, again.withdrawn, again.unchanged) == (0, 0, 1)
    used.bill(FEB)
    assert amounts(used) == [(JAN, Decimal(6), Decimal("0.88"))]


def test_a_correction_is_corrected_by_the_event_it_made(used: Company) -> None:
    correct(used, wrong("b", "60"))
    with used.database.transaction(now=NOW) as uow:
        made = uow.query("SELECT replacement_event_id AS id FROM usage_correction")[0]["id"]
    assert refused(used, wrong("b", "120")) == [
        f"event 'b' of 'bridge' was withdrawn before; correct {made!r}, which stands in its place"
    ]
    correct(used, wrong(made, "120"))
    used.bill(FEB)
    assert amounts(used) == [(JAN, Decimal(7), Decimal("1.10"))]


def test_what_cannot_be_corrected(used: Company) -> None:
    assert refused(used, wrong("a", "1"), wrong("c", "1")) == ["there is no event 'c' of 'bridge'"]
    assert refused(used, wrong("a", "-1"), wrong("a", "1")) == [
        "-1 is below 0, or has more than 23 digits before the point",
        "event 'a' of 'bridge' is named twice",
    ]
    assert refused(used, wrong("a", "0.0000000000000001")) == ["1E-16 has more than 15 decimals"]
    used.bill(FEB)
    assert amounts(used) == [(JAN, Decimal(13), Decimal("2.40"))]
