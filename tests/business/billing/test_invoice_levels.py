"""Where a subscription is invoiced, and what no longer changes once it has been."""

from collections.abc import Callable
from datetime import date

import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.subscriptions.invoicing import billed_account, who_are_billed
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)


@pytest.fixture
def tree(company: Company) -> Company:
    """GROUP (required) over NORTH (optional) over OFFICE (no profile) and PLANT (no)."""
    levels = {"GROUP": "required", "NORTH": "optional", "OFFICE": None, "PLANT": "no"}
    parents = {"NORTH": "GROUP", "OFFICE": "NORTH", "PLANT": "NORTH"}
    with company.database.transaction(now=NOW) as uow:
        ids: dict[str, int] = {}
        for name, level in levels.items():
            values = {"external_id": name, "name": name, "parent_id": ids.get(parents.get(name))}
            ids[name] = int(uow.create("account", values)["id"])
            if level is not None:
                profile = {"account_id": ids[name], "currency": "USD"}
                uow.create("billing_profile", {**profile, "invoice_at_this_level": level})
    return company


def account_id(uow: UnitOfWork, name: str) -> int:
    return int(uow.ids_by("account", "external_id", [name])[name])


def set_level(company: Company, name: str, level: str) -> None:
    """Change the profile of an account, or give it one."""
    with company.database.transaction(now=NOW) as uow:
        account = account_id(uow, name)
        found = uow.ids_by("billing_profile", "account_id", [account])
        if found:
            uow.update("billing_profile", found[account], {"invoice_at_this_level": level})
        else:
            profile = {"account_id": account, "currency": "USD"}
            uow.create("billing_profile", {**profile, "invoice_at_this_level": level})


def set_parent(company: Company, name: str, parent: str | None) -> None:
    with company.database.transaction(now=NOW) as uow:
        above = None if parent is None else account_id(uow, parent)
        uow.update("account", account_id(uow, name), {"parent_id": above})


def invoiced(company: Company) -> list[tuple[str, str]]:
    """Account and total of every invoice."""
    with company.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT a.external_id, i.total FROM invoice i JOIN account a ON a.id = i.account_id"
            " ORDER BY i.id"
        )
    return [(row["external_id"], f"{row['total']:.2f}") for row in rows]


@pytest.mark.parametrize(
    ("account", "expected"),
    [("GROUP", "GROUP"), ("NORTH", "NORTH"), ("OFFICE", "GROUP"), ("PLANT", "GROUP")],
)
def test_who_is_billed_for_an_account(tree: Company, account: str, expected: str) -> None:
    with tree.database.transaction(now=NOW) as uow:
        assert billed_account(uow, account) == account_id(uow, expected)


def test_who_is_billed_for_many_accounts_is_one_question(
    tree: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tree.database.transaction(now=NOW) as uow:
        for name in ("LONE", "ALONE"):
            uow.create("account", {"external_id": name, "name": name})
        asked: list[str] = []
        query = type(uow).query

        def counted(one: UnitOfWork, sql: str, **more: object) -> list[Record]:
            asked.append(sql)
            return query(one, sql, **more)

        monkeypatch.setattr(type(uow), "query", counted)
        found = who_are_billed(uow, ["OFFICE", "NORTH", "PLANT", "NORTH"])
        assert len(asked) == 1
        assert {name: one.external_id for name, one in found.items()} == {
            "NORTH": "NORTH",
            "OFFICE": "GROUP",
            "PLANT": "GROUP",
        }
        assert who_are_billed(uow, []) == {}
        with pytest.raises(Refused) as answer:
            who_are_billed(uow, ["LONE", "OFFICE", "ALONE"])
        assert [one.message.split("'")[1] for one in answer.value.problems] == ["ALONE", "LONE"]
        with pytest.raises(Refused, match="there is no account 'X'") as answer:
            who_are_billed(uow, ["LONE", "X"])
        assert answer.value.status == 404


def test_an_optional_account_is_invoiced_for_those_who_name_it(tree: Company) -> None:
    tree.subscribe("S-1", "OFFICE", "rooms", JAN)
    tree.subscribe("S-2", "OFFICE", "rooms", JAN, invoice_account="NORTH")
    tree.subscribe("S-3", "NORTH", "rooms", JAN)
    tree.subscribe("S-4", "PLANT", "rooms", JAN, invoice_account="GROUP")
    tree.bill(JAN)
    assert invoiced(tree) == [("GROUP", "749.85"), ("NORTH", "249.95")]


@pytest.mark.parametrize(
    ("account", "named", "reason"),
    [
        ("OFFICE", "PLANT", "can be invoiced at its own account or at one above it only"),
        ("OFFICE", "OFFICE", "has no billing profile"),
        ("PLANT", "PLANT", "account PLANT is not invoiced: its billing profile says no"),
    ],
)
def test_an_account_that_cannot_be_invoiced_is_refused(
    tree: Company, account: str, named: str, reason: str
) -> None:
    with pytest.raises(Refused) as answer:
        tree.subscribe("S", account, "rooms", JAN, invoice_account=named)
    (problem,) = answer.value.problems
    assert (problem.code, problem.field) == ("wrong_invoice_account", "invoice_account_id")
    assert reason in problem.message


def test_nothing_is_invoiced_above_an_account_that_must_be(tree: Company) -> None:
    set_level(tree, "OFFICE", "required")
    with pytest.raises(Refused) as answer:
        tree.subscribe("S", "OFFICE", "rooms", JAN, invoice_account="NORTH")
    assert "cannot be invoiced above account OFFICE" in answer.value.problems[0].message
    tree.subscribe("S", "OFFICE", "rooms", JAN, invoice_account="OFFICE")
    tree.bill(JAN)
    assert invoiced(tree) == [("OFFICE", "249.95")]


NAMED: list[Callable[[Company], None]] = [
    lambda company: set_level(company, "NORTH", "no"),
    lambda company: set_level(company, "OFFICE", "required"),
    lambda company: set_parent(company, "OFFICE", "GROUP"),
]


@pytest.mark.parametrize("change", NAMED)
def test_what_would_make_a_named_account_wrong_is_refused(
    tree: Company, change: Callable[[Company], None]
) -> None:
    tree.subscribe("S", "OFFICE", "rooms", JAN, invoice_account="NORTH")
    with pytest.raises(Refused) as answer:
        change(tree)
    assert [problem.code for problem in answer.value.problems] == ["invoice_account_in_use"]
    set_level(tree, "NORTH", "required")
    set_parent(tree, "PLANT", "GROUP")


BILLED: list[Callable[[Company], None]] = [
    lambda company: set_level(company, "GROUP", "optional"),
    lambda company: set_level(company, "GROUP", "no"),
    lambda company: set_level(company, "OFFICE", "required"),
    lambda company: set_level(company, "NORTH", "required"),
]


@pytest.mark.parametrize("change", BILLED)
def test_who_was_invoiced_stays_invoiced(tree: Company, change: Callable[[Company], None]) -> None:
    tree.subscribe("S", "OFFICE", "rooms", JAN)
    tree.bill(JAN)
    with pytest.raises(Refused) as answer:
        change(tree)
    assert [(problem.code, problem.field) for problem in answer.value.problems] == [
        ("already_billed", "invoice_at_this_level")
    ]


def test_a_profile_that_changes_nothing_may_come_later(tree: Company) -> None:
    tree.subscribe("S", "OFFICE", "rooms", JAN)
    tree.bill(JAN)
    set_level(tree, "OFFICE", "optional")
    tree.subscribe("T", "OFFICE", "rooms", FEB, invoice_account="OFFICE")
    tree.bill(FEB)
    assert invoiced(tree)[1:] == [("GROUP", "249.95"), ("OFFICE", "249.95")]


def test_who_is_only_invoiced_optionally_is_nobody(company: Company) -> None:
    company.open_account("ALONE", invoice_at_this_level="optional")
    company.subscribe("S", "ALONE", "rooms", JAN)
    summary = company.bill(JAN)
    assert [code for _, code, _ in summary.problems] == ["no_billing_profile"]
