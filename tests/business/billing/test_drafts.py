"""Drafts wait for late usage until their days of grace are over."""

from datetime import UTC, date, datetime
from decimal import Decimal

from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.drafts import Refreshed, refresh_drafts

MAY, JUNE = date(2024, 5, 1), date(2024, 6, 1)


def refresh(company: Company, today: date) -> Refreshed:
    return refresh_drafts(company.database, company.store, now=NOW, today=today)


def test_a_draft_takes_in_late_usage_until_its_grace_is_over(company: Company) -> None:
    company.open_account("ACME", grace_days=3)
    subscription = company.subscribe("S-1", "ACME", "minutes", MAY)
    company.use(subscription, ("a", datetime(2024, 5, 9, tzinfo=UTC), "600"))
    assert company.bill(JUNE, finalize=False).totals == {"USD": Decimal("1.76")}
    company.use(subscription, ("b", datetime(2024, 5, 31, 9, tzinfo=UTC), "120"))
    assert refresh(company, date(2024, 6, 3)) == Refreshed(drafts=1, finalized=0)
    assert [(line[0], line[5]) for line in company.lines()] == [(None, Decimal("2.20"))]
    assert refresh(company, date(2024, 6, 4)) == Refreshed(drafts=1, finalized=1)
    before = company.lines()
    assert refresh(company, date(2024, 6, 5)) == Refreshed(drafts=0, finalized=0)
    assert company.bill(JUNE).lines == 0
    assert company.lines() == before
    company.use(subscription, ("c", datetime(2024, 5, 30, tzinfo=UTC), "60"))
    assert company.bill(date(2024, 7, 1)).totals == {"USD": Decimal("0.20")}


def test_without_grace_a_refreshed_draft_is_final_at_once(company: Company) -> None:
    company.open_account("ACME")
    company.subscribe("S-1", "ACME", "rooms", MAY)
    company.bill(MAY, finalize=False)
    assert refresh(company, MAY) == Refreshed(drafts=1, finalized=1)
    assert [line[0] for line in company.lines()] == ["INV-000001"]
