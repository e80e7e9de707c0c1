"""Accounts form trees; places, currencies and time zones are known ones."""

from datetime import UTC, date, datetime

import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.history import HistoryQuery
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 15, tzinfo=UTC)


def account(uow: UnitOfWork, name: str, parent: int | None = None) -> int:
    values: Record = {"external_id": name, "name": name, "parent_id": parent}
    return int(str(uow.create("account", values)["id"]))


def roots(uow: UnitOfWork) -> dict[str, str]:
    """External id of every account's root."""
    rows = uow.query(
        "SELECT account.external_id AS name, root.external_id AS root FROM account"
        " JOIN account AS root ON root.id = account.root_id"
    )
    return {str(row["name"]): str(row["root"]) for row in rows}


def codes(refused: pytest.ExceptionInfo[Refused]) -> list[tuple[str, str, int | None]]:
    return [(problem.code, problem.field, problem.line) for problem in refused.value.problems]


def test_every_account_knows_the_top_of_its_tree(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        top = account(uow, "top")
        division = account(uow, "division", top)
        account(uow, "team", division)
        account(uow, "other")
        assert roots(uow) == {"top": "top", "division": "top", "team": "top", "other": "other"}


def test_accounts_below_follow_to_the_new_tree(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        top, other = account(uow, "top"), account(uow, "other")
        division = account(uow, "division", top)
        account(uow, "office", account(uow, "team", division))
        uow.update("account", division, {"parent_id": other})
        assert roots(uow) == {
            "top": "top",
            "other": "other",
            "division": "other",
            "team": "other",
            "office": "other",
        }
        uow.update("account", division, {"parent_id": None})
        assert roots(uow)["office"] == "division"


def test_accounts_below_have_their_new_root_in_their_history(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        top, other = account(uow, "top"), account(uow, "other")
        division = account(uow, "division", top)
        team = account(uow, "team", division)
    with database.transaction(now=NOW, actor="ada", source="rest") as uow:
        uow.update("account", division, {"parent_id": other})
        asked = HistoryQuery(entity="account", record_id=team)
        moved, made = uow.history(asked).records
        assert (moved["actor"], moved["source"], moved["action"]) == ("ada", "rest", "update")
        assert moved["changes"] == {"root_id": [top, other]}
        assert (made["row_version"], moved["row_version"]) == (1, 2)
        assert uow.get("account", team)["row_version"] == 2
    with database.transaction(now=NOW) as uow:
        uow.update("account", division, {"name": "Division"})
        assert len(uow.history(asked).records) == 2


def test_several_accounts_move_at_once(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        first, second, third = account(uow, "a"), account(uow, "b"), account(uow, "c")
        account(uow, "below", second)
        uow.update_many("account", [(second, {"parent_id": first}), (third, {"parent_id": second})])
        assert set(roots(uow).values()) == {"a"}


def test_no_account_is_above_itself(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        top = account(uow, "top")
        division = account(uow, "division", top)
        with pytest.raises(Refused) as refused:
            uow.update("account", top, {"parent_id": division})
        assert codes(refused) == [("account_circle", "parent_id", None)]
        with pytest.raises(Refused) as refused:
            uow.update("account", top, {"parent_id": top})
        assert codes(refused) == [("account_circle", "parent_id", None)]


def test_a_circle_of_two_moves_is_refused(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        first, second = account(uow, "a"), account(uow, "b")
        with pytest.raises(Refused) as refused:
            uow.update_many(
                "account", [(first, {"parent_id": second}), (second, {"parent_id": first})]
            )
        assert {code for code, _, _ in codes(refused)} == {"account_circle"}
        assert roots(uow) == {"a": "a", "b": "b"}


def test_an_unknown_parent_is_refused(database: Database) -> None:
    with database.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        account(uow, "lost", 4711)
    assert codes(refused) == [("unknown_reference", "parent_id", None)]


def test_an_account_with_subscriptions_stays_in_its_tree(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        top, other = account(uow, "top"), account(uow, "other")
        division = account(uow, "division", top)
        team = account(uow, "team", division)
        product = uow.create("product", {"external_id": "p", "name": "P"})
        plan = {"external_id": "r", "name": "R", "product_id": product["id"]}
        subscription: Record = {
            "external_id": "S",
            "account_id": team,
            "rate_plan_id": uow.create("rate_plan", plan)["id"],
            "start_date": date(2026, 1, 1),
        }
        uow.create("subscription", subscription)
        with pytest.raises(Refused) as refused:
            uow.update("account", division, {"parent_id": other})
        assert codes(refused) == [("account_in_use", "parent_id", None)]
        uow.update("account", team, {"parent_id": top})
        assert roots(uow)["team"] == "top"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"currency": "EURO"}, "too_long"),
        ({"currency": "XXX"}, "unknown_currency"),
        ({"currency": "eur"}, "unknown_currency"),
        ({"currency": "EUR", "time_zone": "Mars/Olympus"}, "unknown_time_zone"),
        ({"currency": "EUR", "country": "UK"}, "unknown_country"),
        ({"currency": "EUR", "cycle_day": 32}, "too_large"),
    ],
)
def test_a_wrong_billing_profile_is_refused(database: Database, values: Record, code: str) -> None:
    with database.transaction(now=NOW) as uow:
        top = account(uow, "top")
        with pytest.raises(Refused) as refused:
            uow.create("billing_profile", {"account_id": top, **values})
        assert [problem.code for problem in refused.value.problems] == [code]


def test_the_wrong_sites_of_many_are_named_by_their_position(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        site: Record = {"account_id": account(uow, "top"), "name": "Site"}
        with pytest.raises(Refused) as refused:
            uow.create_many(
                "site",
                [
                    {**site, "external_id": "1", "country": "FR", "time_zone": "Europe/Paris"},
                    {**site, "external_id": "2", "country": "XX"},
                    {**site, "external_id": "3", "country": "FR", "time_zone": "Paris"},
                ],
            )
        assert codes(refused) == [
            ("unknown_country", "country", 2),
            ("unknown_time_zone", "time_zone", 3),
        ]


def test_a_contact_belongs_to_a_site_of_its_account(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        top, other = account(uow, "top"), account(uow, "other")
        site = uow.create(
            "site", {"external_id": "1", "account_id": top, "name": "Site", "country": "FR"}
        )
        contact: Record = {"name": "Ada", "site_id": site["id"]}
        uow.create("contact", {**contact, "external_id": "a", "account_id": top})
        with pytest.raises(Refused) as refused:
            uow.create("contact", {**contact, "external_id": "b", "account_id": other})
        assert codes(refused) == [("wrong_site", "site_id", None)]


def test_a_template_does_not_build_on_itself(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        base = uow.create("pricing_template", {"external_id": "base", "name": "Base"})
        top = uow.create(
            "pricing_template",
            {"external_id": "top", "name": "Top", "base_template_id": base["id"]},
        )
        with pytest.raises(Refused) as answer:
            uow.update("pricing_template", int(base["id"]), {"base_template_id": top["id"]})
        assert codes(answer) == [("template_circle", "base_template_id", None)]


def test_an_account_has_one_assigned_template_on_a_day(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        acme, other = account(uow, "ACME"), account(uow, "OTHER")
        template = uow.create("pricing_template", {"external_id": "t", "name": "T"})["id"]

        def assign(holder: int, first: str | None, end: str | None) -> Record:
            values = {"account_id": holder, "pricing_template_id": template}
            return uow.create(
                "template_assignment", {**values, "valid_from": first, "valid_to": end}
            )

        assign(acme, None, "2026-02-01")
        assign(acme, "2026-02-01", None)
        assign(other, None, None)
        with pytest.raises(Refused) as answer:
            assign(acme, "2026-05-01", None)
        assert codes(answer) == [("overlapping_validity", "valid_from", None)]
        with pytest.raises(Refused) as answer:
            assign(other, "2026-05-01", "2026-05-01")
        assert ("ends_before_start", "valid_to", None) in codes(answer)
