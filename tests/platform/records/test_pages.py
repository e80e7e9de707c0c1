"""Lists: filters, sort orders and keyset pages."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.core.problems import Refused
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.pages import Filter

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

few = {
    "name": st.sampled_from([None, "", "a", "A", "b,c", "ü%_"]),
    "credit": st.sampled_from([None, Decimal("0.000000000000001"), Decimal(-1), Decimal(10)]),
    "cycle_day": st.none() | st.integers(1, 3),
    "since": st.none() | st.dates(date(2026, 1, 1), date(2026, 1, 3)),
    "seen_at": st.none() | st.sampled_from([NOW, NOW + timedelta(microseconds=1)]),
    "active": st.none() | st.booleans(),
    "tier": st.sampled_from([None, "gold", "standard"]),
}
ROWS = st.lists(st.fixed_dictionaries(few), max_size=12)
SORTS = st.lists(
    st.builds(str.__add__, st.sampled_from(["", "-"]), st.sampled_from([*few, "id"])), max_size=3
)
FILTERS = st.lists(
    st.sampled_from(
        [
            (Filter("cycle_day", "ge", "2"), lambda row: (row["cycle_day"] or 0) >= 2),
            (Filter("tier", "ne", "gold"), lambda row: row["tier"] != "gold"),
            (Filter("name", "contains", "A"), lambda row: "a" in (row["name"] or "").lower()),
            (Filter("name", "contains", "%_"), lambda row: "%_" in (row["name"] or "")),
            (Filter("active", "eq", "true"), lambda row: row["active"] is True),
            (Filter("credit", "is_null", "false"), lambda row: row["credit"] is not None),
            (Filter("since", "in", "2026-01-01,2026-01-03"), lambda row: row["since"] in DAYS),
            (Filter("credit", "lt", "0.5"), lambda row: row["credit"] in SMALL),
        ]
    ),
    max_size=2,
)
DAYS = (date(2026, 1, 1), date(2026, 1, 3))
SMALL = (Decimal("0.000000000000001"), Decimal(-1))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=ROWS, sort=SORTS, filters=FILTERS, limit=st.integers(1, 5))
def test_pages_show_every_record_exactly_once_in_order(
    customers: Database, undone, rows, sort, filters, limit
):
    with undone(customers) as uow:
        numbered = [row | {"external_id": str(index)} for index, row in enumerate(rows)]
        ids = uow.create_many("customer", numbered)
        expected = {
            record_id
            for record_id, row in zip(ids, rows, strict=True)
            if all(matches(row) for _, matches in filters)
        }
        seen: list[dict[str, object]] = []
        cursor = None
        while True:
            page = uow.list(
                "customer",
                filters=[condition for condition, _ in filters],
                sort=sort,
                cursor=cursor,
                limit=limit,
            )
            seen.extend(page.records)
            cursor = page.next_cursor
            assert len(page.records) == limit or cursor is None
            if cursor is None:
                break
        order = ", ".join(f"{word[1:]} DESC" if word[0] == "-" else word for word in [*sort, "id"])
        in_order = [row["id"] for row in uow.query(f"SELECT id FROM customer ORDER BY {order}")]
        shown = [record["id"] for record in seen]
        assert shown == [record_id for record_id in in_order if record_id in expected]


def test_records_added_meanwhile_neither_repeat_nor_hide_another(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create_many("customer", [{"external_id": name, "name": name} for name in "bdfh"])
        first = uow.list("customer", sort=["name"], limit=2)
        uow.create_many("customer", [{"external_id": name, "name": name} for name in "ace"])
        second = uow.list("customer", sort=["name"], limit=9, cursor=first.next_cursor)

    assert [record["name"] for record in first.records] == ["b", "d"]
    assert [record["name"] for record in second.records] == ["e", "f", "h"]
    assert second.next_cursor is None


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"filters": [Filter("colour", "eq", "red")]}, "unknown_field"),
        ({"filters": [Filter("credit", "contains", "1")]}, "unknown_operator"),
        ({"filters": [Filter("credit", "like", "1")]}, "unknown_operator"),
        ({"filters": [Filter("notes", "eq", {})]}, "unknown_operator"),
        ({"filters": [Filter("credit", "eq", "much")]}, "wrong_value"),
        ({"filters": [Filter("tier", "in", "gold,silver")]}, "wrong_value"),
        ({"filters": [Filter("since", "is_null", "maybe")]}, "wrong_value"),
        ({"filters": [Filter("name", "eq", "a\x00")]}, "wrong_value"),
        ({"sort": ["colour"]}, "unknown_field"),
        ({"sort": ["-notes"]}, "unknown_field"),
        ({"limit": 0}, "bad_limit"),
        ({"limit": 1001}, "bad_limit"),
    ],
)
def test_what_a_list_cannot_do_is_refused(customers: Database, request_, code):
    with customers.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        uow.list("customer", **request_)
    assert [problem.code for problem in refused.value.problems] == [code]
    assert refused.value.status == 422


def test_unknown_fields_operators_and_choices_name_what_is_allowed(customers: Database):
    with customers.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        uow.list(
            "customer",
            filters=[
                Filter("colour", "eq", 1),
                Filter("notes", "eq", 1),
                Filter("tier", "eq", "x"),
            ],
            sort=["shape"],
        )
    fields, operators, choices, sorts = (problem.allowed for problem in refused.value.problems)
    assert {"id", "created_at", "external_id", "notes"} <= set(fields)
    assert operators == ("is_null",)
    assert choices == ("gold", "standard")
    assert "notes" not in sorts


@pytest.mark.parametrize("cursor", ["", "x", "é", "W10", "bnVsbA", "W1siaWQiXSxbIngiXV0"])
def test_a_cursor_that_was_not_given_out_is_refused(customers: Database, cursor: str):
    with customers.transaction(now=NOW) as uow, pytest.raises(Refused) as refused:
        uow.list("customer", cursor=cursor)
    assert (refused.value.status, refused.value.problems[0].code) == (400, "bad_cursor")


def test_a_cursor_belongs_to_its_sort_order(customers: Database):
    with customers.transaction(now=NOW) as uow:
        uow.create_many("customer", [{"external_id": name} for name in "ab"])
        page = uow.list("customer", sort=["external_id"], limit=1)
        with pytest.raises(Refused):
            uow.list("customer", sort=["-external_id"], cursor=page.next_cursor)
