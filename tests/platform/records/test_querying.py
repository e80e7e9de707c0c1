"""Records with what they refer to, by path; aggregates; and what a reader does not see."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    Access,
    Condition,
    EntityAccess,
)
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.paths import All, Any_, Not, Where
from counterfoil.platform.records.querying import Aggregate, Function, Grouping, Query

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def company(server: Settings) -> Iterator[Database]:
    """A head office and two below it, five sites, commitments of several amounts."""
    with scratch_organisation(server) as organisation:
        with organisation.database.transaction(now=NOW) as uow:
            head = uow.create("account", {"external_id": "HEAD", "name": "Head"})["id"]
            below = [
                {"external_id": name, "name": name.title(), "parent_id": head}
                for name in ("EAST", "WEST")
            ]
            east, west = uow.create_many("account", below)
            places = (
                ("E1", east, "DE"),
                ("E2", east, "FR"),
                ("W1", west, "US"),
                ("H1", head, "DE"),
            )
            sites = [
                {"external_id": name, "name": name, "account_id": account, "country": country}
                for name, account, country in places
            ]
            first = uow.create_many("site", sites)[0]
            contact = {"external_id": "C1", "name": "Ada", "account_id": east, "site_id": first}
            uow.create("contact", contact)
            uow.create("contact", {"external_id": "C2", "name": "Bob", "account_id": west})
            amounts = (("M1", "0.10"), ("M2", "0.20"), ("M3", "9999999999999999.9999"))
            commitments = [
                {
                    "external_id": name,
                    "name": name,
                    "kind": "minimum",
                    "amount": amount,
                    "currency": "EUR",
                    "scope": "account",
                    "account_id": east if name != "M3" else west,
                    "start_date": "2026-01-01",
                }
                for name, amount in amounts
            ]
            uow.create_many("commitment", commitments)
        yield organisation.database


def ask(database: Database, entity: str, *include: str, access: Access | None = None, **asked):
    given = {} if access is None else {"access": access}
    with database.transaction(now=NOW, **given) as uow:
        return uow.query_records(entity, Query(**asked), include).records


def refusal(database: Database, entity: str, *include: str, **asked) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        ask(database, entity, *include, **asked)
    return [(one.code, one.field) for one in refused.value.problems]


def test_fields_filters_and_order_lead_through_references(company: Database):
    found = ask(
        company,
        "site",
        fields=("external_id", "account.name", "account.parent.external_id"),
        where=All((Filter("country", "in", ["DE", "FR"]), Filter("account_id.name", "ne", "x"))),
        sort=("-account.name", "external_id"),
    )
    assert found == [
        {"external_id": "H1", "account.name": "Head", "account.parent.external_id": None},
        {"external_id": "E1", "account.name": "East", "account.parent.external_id": "HEAD"},
        {"external_id": "E2", "account.name": "East", "account.parent.external_id": "HEAD"},
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Any_((Filter("country", "eq", "US"), Filter("external_id", "eq", "H1"))), ["W1", "H1"]),
        (Not(Filter("account.parent.name", "eq", "Head")), ["H1"]),
        (Filter("account.parent_id", "is_null", value=True), ["H1"]),
        (All(()), ["E1", "E2", "W1", "H1"]),
        (Any_(()), []),
    ],
)
def test_conditions_combine(company: Database, where: Where, expected: list[str]):
    found = ask(company, "site", where=where)
    assert [record["external_id"] for record in found] == expected


def test_pages_continue_over_paths_with_empty_values(company: Database):
    for sort in (("account.parent.name", "-country"), ("-account.parent.name", "country")):
        whole = ask(company, "site", fields=("external_id",), sort=sort)
        seen, cursor = [], None
        while True:
            with company.transaction(now=NOW) as uow:
                page = uow.query_records(
                    "site", Query(fields=("external_id",), sort=sort, limit=1, cursor=cursor)
                )
            seen += page.records
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == whole
        assert len(seen) == 4


def test_related_records_are_put_into_their_record(company: Database):
    (east,) = ask(
        company,
        "account",
        "parent",
        "sites",
        "contacts.site",
        fields=("external_id",),
        where=Filter("external_id", "eq", "EAST"),
    )
    assert east["parent"]["external_id"] == "HEAD"
    assert [site["external_id"] for site in east["sites"]] == ["E1", "E2"]
    assert [one["site"]["external_id"] for one in east["contacts"]] == ["E1"]
    assert set(east) == {"external_id", "parent", "sites", "contacts"}

    (bob,) = ask(company, "contact", "site", where=Filter("name", "eq", "Bob"))
    assert bob["site"] is None


def test_what_is_not_there_is_refused_with_what_is(company: Database):
    assert refusal(company, "site", fields=("nothing", "account.nothing", "nowhere.name")) == [
        ("unknown_field", "nothing"),
        ("unknown_field", "account.nothing"),
        ("unknown_field", "nowhere.name"),
    ]
    assert refusal(company, "site", "nothing") == [("unknown_relation", "include")]
    deep = ".".join(["parent"] * 6)
    assert refusal(company, "account", fields=(f"{deep}.name",)) == [
        ("path_too_long", f"{deep}.name")
    ]
    assert refusal(company, "account", deep) == [("path_too_long", "include")]
    assert refusal(company, "webhook", fields=("secret",)) == [("unknown_field", "secret")]
    nested: Where = Filter("name", "eq", "x")
    for _ in range(12):
        nested = Not(nested)
    assert refusal(company, "account", where=nested) == [("too_deep", "where")]


def totals(database: Database, entity: str, *functions: tuple[Function, str], access=None, **asked):
    aggregates = tuple(
        Aggregate(function, field, f"{function}_{field}") for function, field in functions
    )
    given = {} if access is None else {"access": access}
    with database.transaction(now=NOW, **given) as uow:
        return uow.aggregate(entity, Grouping(aggregates=aggregates, **asked))


def test_aggregates_are_exact_and_grouped_by_paths(company: Database):
    rows = totals(
        company,
        "commitment",
        ("count", ""),
        ("sum", "amount"),
        ("min", "amount"),
        ("max", "amount"),
        ("avg", "amount"),
        ("count_distinct", "currency"),
        group_by=("account.parent.name", "account.external_id"),
        sort=("-sum_amount",),
    )
    west, east = rows
    assert west["sum_amount"] == Decimal("9999999999999999.9999")
    assert east == {
        "account.parent.name": "Head",
        "account.external_id": "EAST",
        "count_": 2,
        "sum_amount": Decimal("0.30"),
        "min_amount": Decimal("0.10"),
        "max_amount": Decimal("0.20"),
        "avg_amount": Decimal("0.15"),
        "count_distinct_currency": 1,
    }
    (whole,) = totals(company, "commitment", ("sum", "amount"))
    assert whole["sum_amount"] == Decimal("10000000000000000.2999")
    none = totals(company, "commitment", ("sum", "amount"), where=Filter("name", "eq", "x"))
    assert none == [{"sum_amount": None}]


def test_a_function_needs_a_field_that_has_it(company: Database):
    with pytest.raises(Refused) as refused:
        totals(company, "site", ("sum", "name"), ("avg", "nothing"), sort=("country",))
    assert [(one.code, one.field) for one in refused.value.problems] == [
        ("wrong_function", "name"),
        ("unknown_field", "nothing"),
        ("unknown_field", "country"),
    ]


EAST_ONLY = Access(
    entities={
        "site": EntityAccess(rows={"read": EVERY_ROW}),
        "account": EntityAccess(
            rows={"read": ((Condition("external_id", "eq", "EAST"),),)},
            unreadable=frozenset({"name"}),
        ),
    }
)


def test_what_a_reader_does_not_see_is_in_no_clause(company: Database):
    found = ask(
        company, "site", "account", access=EAST_ONLY, fields=("external_id", "account.external_id")
    )
    assert [(one["external_id"], one["account.external_id"]) for one in found] == [
        ("E1", "EAST"),
        ("E2", "EAST"),
        ("W1", None),
        ("H1", None),
    ]
    assert [one["account"] and one["account"]["external_id"] for one in found] == [
        "EAST",
        "EAST",
        None,
        None,
    ]
    assert "name" not in found[0]["account"]
    hidden = Filter("account.name", "eq", "East")
    for asked in ({"fields": ("account.name",)}, {"where": hidden}, {"sort": ("account.name",)}):
        assert refusal(company, "site", access=EAST_ONLY, **asked) == [
            ("unknown_field", "account.name")
        ]
    assert refusal(company, "site", "contacts", access=EAST_ONLY) == [
        ("unknown_relation", "include")
    ]
    for asked in (
        {"group_by": ("account.name",)},
        {"where": hidden},
        {"sort": ("account.name",)},
    ):
        with pytest.raises(Refused):
            totals(company, "site", ("count", ""), access=EAST_ONLY, **asked)
    with pytest.raises(Refused):
        totals(company, "site", ("max", "account.name"), access=EAST_ONLY)
    assert totals(company, "account", ("count", ""), access=EAST_ONLY) == [{"count_": 1}]


def test_a_list_of_values_may_be_longer_than_postgresql_takes_parameters(company: Database):
    found = ask(company, "site", where=Filter("id", "in", list(range(1, 70_001))))
    assert [site["external_id"] for site in found] == ["E1", "E2", "W1", "H1"]


def test_a_query_follows_a_bounded_number_of_references(
    company: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("counterfoil.platform.records.paths.MOST_JOINED", 2)
    enough = ("account.name", "account.external_id", "account.parent.name")
    assert len(ask(company, "site", fields=enough)) == 4
    assert refusal(company, "site", fields=enough, sort=("account.parent.parent.name",)) == [
        ("too_many_references", "account.parent.parent.name")
    ]


def test_aggregates_are_bounded(company: Database):
    many = tuple(Aggregate("count", "", f"n{place}") for place in range(1_700))
    with company.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        uow.aggregate("site", Grouping(aggregates=many))
    assert [(one.code, one.field) for one in refused.value.problems] == [
        ("too_many_fields", "aggregates")
    ]


def test_related_records_that_are_put_into_many_records_count_as_often(
    company: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("counterfoil.platform.records.including.MOST_INCLUDED", 9)
    there_and_back = ("parent.accounts", "parent.accounts.parent.accounts")
    below = Filter("parent_id", "is_null", value=False)
    # Two accounts, in each their parent and both of them again.
    assert len(ask(company, "account", there_and_back[0], where=below)) == 2
    assert refusal(company, "account", there_and_back[1], where=below) == [
        ("too_many_records", "include")
    ]
