"""Renewals that are refused, and changes that say what nobody would do."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company
from tests.business.billing.test_amendments import (
    AUGUST,
    JULY,
    JUNE,
    NOW,
    Amend,
    amend,
    served,
)

from counterfoil.business.subscriptions.amending import Change
from counterfoil.business.subscriptions.amendments import amend_subscriptions
from counterfoil.business.subscriptions.renewals import renew_due
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.unit_of_work import UnitOfWork

__all__ = ["amend", "served"]


def test_what_cannot_be_renewed_keeps_no_other_from_it(served: Company) -> None:
    names = ["S-1", "S-6", "S-7", "S-8", "S-9"]
    for name in names[1:]:
        served.subscribe(name, "ACME", "small", JUNE)
    with served.database.transaction(now=NOW) as uow:
        ids = uow.ids_by("subscription", "external_id", names)
        terms = {"term_end": JULY, "term_months": 1, "renewal": "renew"}
        uow.update_many("subscription", [(ids[name], terms) for name in names])
        account = uow.ids_by("account", "external_id", ["ACME"])["ACME"]
        uow.create(
            "site",
            {"external_id": "LAB", "account_id": account, "name": "Lab", "country": "US"},
        )
        moved = Change(subscription=ids["S-9"], kind="transfer", day=date(2024, 7, 5), site="LAB")
        amend_subscriptions(uow, [moved])

        def picky(uow: UnitOfWork, changes: Sequence[Change]) -> None:
            amend_subscriptions(uow, changes)
            if any(one.subscription == ids["S-7"] for one in changes):
                raise Refused(Problem("no", "not this one"))

        done = renew_due(uow, AUGUST, picky)
        rows = uow.query("SELECT external_id, term_end FROM subscription ORDER BY id")
        # What was handed over is renewed as its successor.
        assert {row["external_id"]: row["term_end"] for row in rows} == {
            **dict.fromkeys(["S-1", "S-6", "S-8", "S-9-2"], date(2024, 9, 1)),
            **dict.fromkeys(["S-7", "S-9"], JULY),
        }
    assert (done.terms, done.problems) == (8, {"S-7": "not this one"})


@pytest.mark.parametrize(
    ("kind", "given"),
    [("cancel", {"amount": Decimal(50)}), ("renew", {"quantities": {"s": Decimal(5)}})],
)
def test_a_fee_or_quantities_that_belong_to_no_plan_are_not_passed_over(
    served: Company, amend: Amend, kind: str, given: dict[str, object]
) -> None:
    with pytest.raises(Refused) as refused:
        amend(kind, **given)
    assert [(one.field, one.code) for one in refused.value.problems] == [("rate_plan", "missing")]
    with served.database.transaction(now=NOW) as uow:
        assert uow.query("SELECT * FROM amendment") == []
