"""Discounts, commitments and balances on drafts, in bill runs that are killed or run at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing import commands
from counterfoil.business.billing.balances import read_balances, read_movements, void_grant
from counterfoil.business.billing.bills import Bills
from counterfoil.business.billing.commands import BatchOrder, BillRunSummary, discard_drafts
from counterfoil.business.billing.explanation import explain_line
from counterfoil.business.billing.queries import preview_invoice
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.subscriptions.commands import cancel_subscriptions
from counterfoil.core.problems import Refused
from counterfoil.platform.records.unit_of_work import UnitOfWork

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)

INCENTIVES = """
discounts:
  - {id: ten, name: Ten percent, code: TEN, percent: 10, holder_uses: 1, accounts: [ACME]}
commitments:
  - {id: floor, name: Minimum, minimum: 300, currency: USD, account: ACME, start: 2024-01-01}
grants:
  - {id: gift, account: ACME, kind: free, currency: USD, amount: 240.00, start: 2024-01-01}
"""


def load(company: Company, text: str) -> None:
    incentives, problems = parse_incentives(text, "incentives.yaml")
    assert problems == []
    with company.database.transaction(now=NOW) as uow:
        save_incentives(uow, incentives)


def remaining(company: Company, account: str = "ACME") -> dict[str, Decimal]:
    with company.database.transaction(now=NOW) as uow:
        return {row["grant"]: row["remaining"] for row in read_balances(uow, account, MAR)}


def amounts(company: Company) -> list[tuple[str, Decimal]]:
    """Kind and amount of every rated charge, invoice by invoice."""
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT r.kind, r.amount FROM rated_charge r JOIN invoice_line l"
            " ON l.rated_charge_id = r.id ORDER BY r.invoice_id, l.position"
        )
    return [(row["kind"], row["amount"]) for row in rows]


FIRST = [
    ("recurring", Decimal("249.95")),
    ("discount", Decimal("-25.00")),
    ("prepaid", Decimal("-224.95")),
]


@pytest.fixture
def acme(company: Company) -> Company:
    company.open_account("ACME")
    company.subscribe("S", "ACME", "rooms", JAN)
    load(company, INCENTIVES)
    return company


def test_what_is_discarded_with_a_draft_is_given_back(acme: Company) -> None:
    acme.bill(JAN, finalize=False)
    assert amounts(acme) == FIRST
    assert remaining(acme) == {"gift": Decimal("15.05")}
    discard_drafts(acme.database, now=NOW)
    assert remaining(acme) == {"gift": Decimal("240.00")}
    acme.bill(JAN)
    assert amounts(acme) == FIRST


def test_a_draft_uses_what_it_uses_until_it_is_discarded(acme: Company) -> None:
    acme.bill(JAN, finalize=False)
    summary = acme.bill(FEB)
    assert [code for _, code, _ in summary.problems] == ["open_draft"]
    assert amounts(acme) == FIRST


def test_a_preview_says_what_the_bill_run_makes_and_uses_nothing(acme: Company) -> None:
    for day in (JAN, FEB):
        preview = preview_invoice(acme.database, acme.store, "ACME", day, now=NOW)
        before = len(amounts(acme))
        acme.bill(day)
        made = amounts(acme)[before:]
        assert [(one["kind"], one["amount"]) for one in preview.rated_charges] == made
    assert amounts(acme)[3:] == [
        ("recurring", Decimal("249.95")),
        ("true_up", Decimal("75.05")),
        ("prepaid", Decimal("-15.05")),
    ]
    assert acme.bill(FEB).lines == 0


def test_the_next_bill_run_after_a_cancellation_takes_all_of_it_back(acme: Company) -> None:
    acme.bill(JAN)
    acme.bill(FEB)
    with acme.database.transaction(now=NOW) as uow:
        subscription = uow.ids_by("subscription", "external_id", ["S"])["S"]
        cancel_subscriptions(uow, [subscription], date(2024, 1, 11))
    acme.bill(date(2024, 2, 2))
    assert amounts(acme)[6:] == [
        ("reversal", Decimal("-169.32")),
        ("reversal", Decimal("-249.95")),
        ("reversal", Decimal("16.94")),
        ("true_up", Decimal("152.38")),
    ]
    assert acme.bill(date(2024, 2, 2)).lines == 0


def test_every_step_explains_itself(acme: Company) -> None:
    acme.bill(JAN)
    acme.bill(FEB)
    with acme.database.transaction(now=NOW) as uow:
        lines = uow.query("SELECT id FROM invoice_line ORDER BY invoice_id, position")
        said = [explain_line(uow, acme.store, line["id"]).sentences for line in lines]
    assert said[1][0] == "Discount ten takes 10 percent off."
    assert said[1][2].endswith("came to 249.95 USD before; its share is 25.00 USD.")
    assert said[2] == (
        "Prepaid grant gift (free) had 240.00 USD left.",
        "This invoice draws 224.95 USD; 15.05 USD remain.",
    )
    assert said[4] == (
        "Commitment floor is a minimum of 300.00 USD from 2024-01-01 to 2024-02-01.",
        "Billed for that period, net of discounts: 224.95 USD.",
        "What remains is this line: 75.05 USD.",
    )


def test_a_grant_is_voided_in_parts_and_never_more_than_is_left(acme: Company) -> None:
    with acme.database.transaction(now=NOW) as uow:
        load_text = "grants: [{id: G, account: ACME, currency: USD, amount: 15, start: 2024-01-01}]"
        save_incentives(uow, parse_incentives(load_text, "g.yaml")[0])
        assert void_grant(uow, "G", Decimal(5), reason="refunded") == 10
        assert void_grant(uow, "G", Decimal("9.95")) == Decimal("0.05")
        with pytest.raises(Refused, match=r"0\.05 USD are left of grant 'G'"):
            void_grant(uow, "G", Decimal("0.06"))
        assert void_grant(uow, "G") == 0
        with pytest.raises(Refused, match="0 USD are left"):
            void_grant(uow, "G")
        moved = [(m["movement"], m["amount"]) for m in read_movements(uow, "ACME")]
    assert moved[:4] == [
        ("granted", Decimal("15.0000")),
        ("voided", Decimal("-5.0000")),
        ("voided", Decimal("-9.9500")),
        ("voided", Decimal("-0.0500")),
    ]


def test_of_many_voids_at_once_one_is_booked(acme: Company) -> None:
    def void(_: int) -> int:
        try:
            with acme.database.transaction(now=NOW) as uow:
                void_grant(uow, "gift")
                return 1
        except Refused:
            return 0

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(void, range(8))) == 1
    assert remaining(acme) == {"gift": Decimal(0)}


def test_a_grant_voided_during_a_bill_run_is_not_voided_for_what_was_drawn(
    acme: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The void waits for the run's transaction and then finds what it has left."""
    save = commands.save_bills

    def void() -> None:
        with acme.database.transaction(now=NOW) as uow:
            void_grant(uow, "gift")

    with ThreadPoolExecutor(1) as pool:

        def interrupted(uow: UnitOfWork, bills: Bills, order: BatchOrder) -> BillRunSummary:
            pool.submit(void)
            return save(uow, bills, order)

        monkeypatch.setattr(commands, "save_bills", interrupted)
        acme.bill(JAN)
    assert amounts(acme) == FIRST
    assert remaining(acme) == {"gift": Decimal(0)}
    with acme.database.transaction(now=NOW) as uow:
        assert uow.query("SELECT amount FROM prepaid_void") == [{"amount": Decimal("15.0500")}]


CHILD = Path(__file__).with_name("incentive_child.py")


def test_two_processes_use_the_last_coupon_and_each_cent_once(
    company: Company,
) -> None:
    """Two batches at once, of different accounts, with a coupon for three uses and one balance."""
    company.open_account("TOP")
    with company.database.transaction(now=NOW) as uow:
        top = uow.ids_by("account", "external_id", ["TOP"])["TOP"]
    accounts: list[list[int]] = [[], []]
    for number in range(8):
        account = company.open_account(f"A{number}")
        accounts[number % 2].append(account)
        with company.database.transaction(now=NOW) as uow:
            uow.update("account", account, {"parent_id": top})
        company.subscribe(f"S{number}", f"A{number}", "rooms", JAN)
    load(
        company,
        """
discounts:
  - {id: scarce, name: Scarce, code: SCARCE, amount: 49.95, currency: USD, maximum_uses: 3,
     accounts: [TOP]}
grants:
  - {id: pot, account: TOP, currency: USD, amount: 777.77, start: 2024-01-01}
""",
    )
    with company.database.transaction(now=NOW) as uow:
        run = uow.create("bill_run", {"billing_date": JAN})["id"]
    arguments = [company.database.url, str(company.store.folder), JAN.isoformat(), str(run)]
    children = [
        subprocess.Popen([sys.executable, str(CHILD), *arguments, *map(str, half)])
        for half in accounts
    ]
    assert [child.wait(timeout=300) for child in children] == [0, 0]
    made = amounts(company)
    assert sum(kind == "recurring" for kind, _ in made) == 8
    assert [amount for kind, amount in made if kind == "discount"] == [Decimal("-49.95")] * 3
    assert sum(amount for kind, amount in made if kind == "prepaid") == Decimal("-777.77")
    assert remaining(company, "A0") == {"pot": Decimal(0)}
