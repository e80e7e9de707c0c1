"""Trees of accounts, read and made by external id."""

from datetime import UTC, datetime

import pytest

from counterfoil.business.accounts.commands import create_account
from counterfoil.business.accounts.queries import (
    find_account,
    list_accounts,
    read_ancestors,
    read_sites,
    read_subtree,
)
from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture
def tree(database: Database) -> Database:
    """top (EUR) / b, a; a / below."""
    with database.transaction(now=NOW) as uow:
        profile = {"currency": "EUR", "time_zone": "Europe/Paris"}
        create_account(uow, {"external_id": "top", "name": "Top"}, billing_profile=profile)
        for name, parent in (("b", "top"), ("a", "top"), ("below", "a")):
            create_account(uow, {"external_id": name, "name": name.upper()}, parent=parent)
    return database


def identifier(uow: UnitOfWork, name: str) -> int:
    return int(str(find_account(uow, name)["id"]))


def test_a_subtree_names_parents_first(tree: Database) -> None:
    with tree.transaction(now=NOW) as uow:
        below = read_subtree(uow, identifier(uow, "top"))
    shape = [(row["depth"], row["external_id"]) for row in below]
    assert shape == [(0, "top"), (1, "a"), (2, "below"), (1, "b")]


def test_ancestors_are_nearest_first(tree: Database) -> None:
    with tree.transaction(now=NOW) as uow:
        above = read_ancestors(uow, identifier(uow, "below"))
    assert [row["external_id"] for row in above] == ["a", "top"]


def test_a_list_tells_parent_currency_and_sites(tree: Database) -> None:
    with tree.transaction(now=NOW) as uow:
        top = identifier(uow, "top")
        for name in ("s2", "s1"):
            site = {"external_id": name, "account_id": top, "name": name, "country": "FR"}
            uow.create("site", site)
        listed = [tuple(row.values()) for row in list_accounts(uow)]
        assert [site["external_id"] for site in read_sites(uow, [top])] == ["s1", "s2"]
    assert listed[0] == ("a", "A", "top", "active", None, 0)
    assert listed[-1] == ("top", "Top", None, "active", "EUR", 2)


def test_an_account_with_a_wrong_profile_is_not_made(database: Database) -> None:
    with (
        pytest.raises(Refused, match="not an active ISO 4217 currency"),
        database.transaction(now=NOW) as uow,
    ):
        create_account(uow, {"external_id": "x", "name": "X"}, billing_profile={"currency": "XXX"})
    with database.transaction(now=NOW) as uow:
        assert list_accounts(uow) == []


@pytest.mark.parametrize("named", ["parent", "pricing_template"])
def test_unknown_names_are_refused(database: Database, named: str) -> None:
    with database.transaction(now=NOW) as uow, pytest.raises(Refused, match="there is no"):
        create_account(uow, {"external_id": "x", "name": "X"}, **{named: "nowhere"})
