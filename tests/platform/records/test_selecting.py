"""SELECTs of others: only what is listed, over what the actor may see, and never more than that."""

from decimal import Decimal

import pytest
import sqlglot
from sqlglot import exp
from tests.platform.records.conftest import NOW

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata.access import Access, Condition, EntityAccess
from counterfoil.platform.records.database import Database

GOLD = EntityAccess(
    rows={"read": ((Condition("tier", "eq", "gold"),),)}, unreadable=frozenset({"credit"})
)
CLERK = Access(entities={"customer": GOLD})


@pytest.fixture
def two(customers: Database) -> Database:
    """A gold customer, and a standard one whose name is no number."""
    with customers.transaction(now=NOW) as uow:
        uow.create("customer", {"external_id": "G", "name": "7", "tier": "gold", "credit": "1.5"})
        uow.create("customer", {"external_id": "S", "name": "s", "tier": "standard"})
    return customers


def selected(
    database: Database, sql: str, access: Access | None = None
) -> list[tuple[object, ...]]:
    tree = sqlglot.parse_one(sql, read="postgres")
    assert isinstance(tree, exp.Select)
    given = {} if access is None else {"access": access}
    with database.transaction(now=NOW, **given) as uow:
        return uow.select(tree).rows


def test_rows_come_with_exact_values(two: Database) -> None:
    sql = "SELECT name, credit * 3 FROM customer AS c WHERE c.credit IS NOT NULL ORDER BY c.id"
    assert selected(two, sql) == [("7", Decimal("4.500000000000000"))]
    assert selected(two, "SELECT count(*) FROM customer") == [(2,)]
    assert selected(two, "SELECT a.id FROM customer a JOIN customer b ON a.id < b.id") == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_sleep(1) FROM customer",
        "SELECT lo_import('/etc/passwd')",
        "SELECT id FROM customer FOR UPDATE",
        "SELECT CAST(name AS regclass) FROM customer",
        "SELECT CAST(name AS decimal(5, 1)) FROM customer",
        "SELECT * FROM customer",
        "SELECT id FROM public.customer",
        "SELECT id FROM generate_series(1, 1000000) AS id",
        "WITH x AS (DELETE FROM customer RETURNING id) SELECT id FROM x",
        "SELECT row_number() OVER () FROM customer",
        "SELECT id FROM customer UNION ALL SELECT id FROM customer ORDER BY 1",
        "SELECT id FROM customer LIMIT (SELECT 1)",
    ],
)
def test_what_is_not_listed_is_refused(two: Database, sql: str) -> None:
    tree = sqlglot.parse_one(sql, read="postgres")
    with two.transaction(now=NOW) as uow, pytest.raises(Refused) as caught:
        uow.select(tree)  # type: ignore[arg-type]
    assert caught.value.status in (400, 404)


def test_deep_nesting_is_refused(two: Database) -> None:
    tree = exp.select(exp.Literal.number(1))
    condition: exp.Expr = exp.true()
    for _ in range(200):
        condition = exp.Not(this=condition)
    tree.set("where", exp.Where(this=condition))
    with two.transaction(now=NOW) as uow, pytest.raises(Refused) as caught:
        uow.select(tree)
    assert caught.value.problems[0].code == "not_in_a_query"


def test_an_entity_that_is_not_seen_is_unknown(two: Database) -> None:
    for sql in ("SELECT id FROM record_change", "SELECT relname FROM pg_class"):
        with pytest.raises(Refused) as caught:
            selected(two, sql)
        assert caught.value.problems[0].code == "unknown_entity"
    with pytest.raises(Refused) as caught:
        selected(two, "SELECT id FROM customer", Access())
    assert caught.value.problems[0].code == "unknown_entity"


def test_the_actors_rows_and_fields_only(two: Database) -> None:
    assert selected(two, "SELECT name FROM customer", CLERK) == [("7",)]
    assert selected(two, "SELECT count(*) FROM customer a, customer b", CLERK) == [(1,)]
    for sql in (
        "SELECT credit FROM customer",
        "SELECT id FROM customer WHERE credit > 1",
        "SELECT id FROM customer ORDER BY credit",
        "SELECT id FROM customer GROUP BY id, credit",
        "SELECT seen_0.credit FROM customer AS seen_0",
    ):
        with pytest.raises(Refused):
            selected(two, sql, CLERK)


def test_no_condition_is_tried_on_rows_that_are_not_seen(two: Database) -> None:
    sql = "SELECT id FROM customer WHERE CAST(name AS decimal) = 7"
    assert selected(two, sql, CLERK) == [(1,)]
    with pytest.raises(Refused):
        selected(two, sql)


def test_the_transaction_goes_on_and_can_write(two: Database) -> None:
    bad = sqlglot.parse_one("SELECT 1 / 0", read="postgres")
    good = sqlglot.parse_one("SELECT id FROM customer", read="postgres")
    assert isinstance(bad, exp.Select) and isinstance(good, exp.Select)
    with two.transaction(now=NOW) as uow:
        with pytest.raises(Refused):
            uow.select(bad)
        uow.create("customer", {"external_id": "N"})
        assert len(uow.select(good).rows) == 3
        uow.create("customer", {"external_id": "M"})
    assert len(selected(two, "SELECT id FROM customer")) == 4
