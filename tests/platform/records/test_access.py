"""An actor's access holds in every read and write; denied means that nothing has changed."""

from decimal import Decimal

import pytest
from tests.platform.records.conftest import NOW

from counterfoil.core.problems import Refused
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    NO_ACCESS,
    Access,
    Condition,
    EntityAccess,
    seen_catalogue,
)
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.unit_of_work import UnitOfWork

GOLD = ((Condition("tier", "eq", "gold"),),)
UNDER_GOLD = ((Condition("parent_id.tier", "eq", "gold"),),)


def access(**given: object) -> Access:
    rows = given.pop("rows", dict.fromkeys(("read", "create", "update"), EVERY_ROW))
    return Access(entities={"customer": EntityAccess(rows=rows, **given)})  # type: ignore[arg-type]


NO_CREDIT = access(unreadable=frozenset({"credit"}))
ONLY_GOLD = access(rows=dict.fromkeys(("read", "create", "update"), GOLD))


@pytest.fixture
def three(customers: Database) -> list[int]:
    rows = [
        {"external_id": "A", "tier": "gold", "credit": Decimal(100)},
        {"external_id": "B", "tier": "standard", "credit": Decimal(200)},
        {"external_id": "C", "tier": "standard", "credit": Decimal(300)},
    ]
    with customers.transaction(now=NOW) as uow:
        ids = uow.create_many("customer", rows)
        uow.update("customer", ids[2], {"parent_id": ids[0]})
        return ids


def everything(database: Database) -> object:
    with database.transaction(now=NOW) as uow:
        return (
            uow.query("SELECT * FROM customer ORDER BY id"),
            uow.query("SELECT * FROM record_change ORDER BY id"),
        )


def refusal(act, *given) -> Refused:  # type: ignore[no-untyped-def]
    with pytest.raises(Refused) as caught:
        act(*given)
    return caught.value


def test_an_unreadable_field_is_told_as_an_unknown_one(
    customers: Database, three: list[int]
) -> None:
    def answers(uow: UnitOfWork, name: str) -> list[str]:
        acts = (
            lambda: uow.list("customer", filters=[Filter(name, "eq", "100")]),
            lambda: uow.list("customer", sort=[name]),
            lambda: uow.find("customer", **{name: 100}),
            lambda: uow.ids_by("customer", name, [100]),
            lambda: uow.create("customer", {"external_id": "D", name: "1"}),
            lambda: uow.update("customer", three[0], {name: "1"}),
        )
        return [repr(refusal(act).problems).replace(name, "FIELD") for act in acts]

    before = everything(customers)
    with customers.transaction(now=NOW, access=NO_CREDIT) as uow:
        assert answers(uow, "credit") == answers(uow, "nothing")
        assert "credit" not in repr(answers(uow, "nothing"))
        for record in (uow.get("customer", three[0]), *uow.list("customer").records):
            assert "credit" not in record
        assert uow.catalogue.entity("customer").field("credit") is None
    assert everything(customers) == before


def test_an_unwritable_field_is_refused_and_not_dropped(
    customers: Database, three: list[int]
) -> None:
    before = everything(customers)
    with customers.transaction(now=NOW, access=access(unwritable=frozenset({"tier"}))) as uow:
        refused = refusal(lambda: uow.update("customer", three[0], {"tier": "standard"}))
        assert [(one.code, one.field) for one in refused.problems] == [("not_granted", "tier")]
        assert uow.get("customer", three[0])["tier"] == "gold"
    assert everything(customers) == before


def test_a_field_without_a_rule_can_be_written_beside_the_others(
    customers: Database, three: list[int]
) -> None:
    with customers.transaction(now=NOW, access=NO_CREDIT) as uow:
        assert uow.update("customer", three[0], {"name": "Acme"})["name"] == "Acme"
    with customers.transaction(now=NOW) as uow:
        assert uow.get("customer", three[0])["credit"] == 100


def test_a_required_field_out_of_reach_is_not_named(customers: Database) -> None:
    before = everything(customers)
    hidden = access(unreadable=frozenset({"external_id"}))
    with customers.transaction(now=NOW, access=hidden) as uow:
        refused = refusal(lambda: uow.create("customer", {"name": "Acme"}))
        assert [one.code for one in refused.problems] == ["not_granted"]
        assert "external_id" not in str(refused)
    assert everything(customers) == before


def test_records_outside_the_row_filter_are_not_there(
    customers: Database, three: list[int]
) -> None:
    gold, standard = three[:2]
    before = everything(customers)
    with customers.transaction(now=NOW, access=ONLY_GOLD) as uow:
        assert [one["external_id"] for one in uow.list("customer").records] == ["A"]
        assert uow.find("customer", external_id="B") is None
        assert uow.ids_by("customer", "external_id", ["A", "B"]) == {"A": gold}
        for act in (
            lambda record: uow.get("customer", record),
            lambda record: uow.update("customer", record, {"name": "x"}),
            lambda record: uow.update_many("customer", [(gold, {}), (record, {"name": "x"})]),
        ):
            refused, unknown = (refusal(act, one) for one in (standard, 999))
            assert refused.status == unknown.status == 404
            assert str(refused) == str(unknown).replace("999", str(standard))
    assert everything(customers) == before


def test_a_reference_to_a_record_outside_the_row_filter_is_one_to_nowhere(
    customers: Database, three: list[int]
) -> None:
    before = everything(customers)
    with customers.transaction(now=NOW, access=ONLY_GOLD) as uow:
        for parent in (three[1], 999):
            refused = refusal(
                lambda one=parent: uow.update("customer", three[0], {"parent_id": one})
            )
            assert refused.problems[0].code == "unknown_reference"
            assert str(refused) == f"parent_id: there is no record with id {parent}"
    assert everything(customers) == before


def test_nothing_is_written_out_of_the_row_filter(customers: Database, three: list[int]) -> None:
    before = everything(customers)
    with customers.transaction(now=NOW, access=ONLY_GOLD) as uow:
        for act in (
            lambda: uow.create("customer", {"external_id": "D", "tier": "standard"}),
            lambda: uow.update("customer", three[0], {"tier": "standard"}),
        ):
            refused = refusal(act)
            assert (refused.status, refused.problems[0].code) == (403, "not_granted")
    assert everything(customers) == before


def test_a_row_filter_leads_through_references(customers: Database, three: list[int]) -> None:
    reader = access(rows={"read": UNDER_GOLD})
    with customers.transaction(now=NOW, access=reader) as uow:
        assert [one["external_id"] for one in uow.list("customer").records] == ["C"]


def test_each_operation_has_rows_of_its_own(customers: Database, three: list[int]) -> None:
    before = everything(customers)
    clerk = access(rows={"read": EVERY_ROW, "update": GOLD})
    with customers.transaction(now=NOW, access=clerk) as uow:
        assert len(uow.list("customer").records) == 3
        assert refusal(lambda: uow.update("customer", three[1], {"name": "x"})).status == 403
        assert refusal(lambda: uow.create("customer", {"external_id": "D"})).status == 403
    assert everything(customers) == before


def test_without_a_grant_the_entity_is_unknown(customers: Database, three: list[int]) -> None:
    with customers.transaction(now=NOW, access=NO_ACCESS) as uow:
        for act in (
            uow.list,
            lambda name: uow.get(name, three[0]),
            lambda name: uow.find(name, external_id="A"),
            lambda name: uow.ids_by(name, "external_id", ["A"]),
            lambda name: uow.create(name, {"external_id": "D"}),
            lambda name: uow.update(name, three[0], {"name": "x"}),
        ):
            refused, unknown = refusal(act, "customer"), refusal(act, "nothing")
            assert refused.status == unknown.status == 404
            assert str(refused).replace("customer", "nothing") == str(unknown)


def test_a_message_of_the_database_keeps_unreadable_values(
    customers: Database, three: list[int]
) -> None:
    before = everything(customers)
    with customers.transaction(now=NOW) as uow:
        uow.execute("CREATE UNIQUE INDEX one_credit ON customer (credit, cycle_day)")
        uow.execute("UPDATE customer SET cycle_day = id")
    try:
        with customers.transaction(now=NOW) as uow:
            uow.execute(
                "UPDATE customer SET credit = 7777 WHERE id IN (:a, :b)", a=three[0], b=three[1]
            )
        refused = refusal(lambda: _same_day(customers, three))
        assert (refused.status, refused.problems[0].code) == (409, "not_unique")
        assert "7777" not in str(refused)
        assert "credit" not in str(refused)
    finally:
        with customers.transaction(now=NOW) as uow:
            uow.execute("DROP INDEX one_credit")
    assert before != everything(customers)


def _same_day(database: Database, ids: list[int]) -> None:
    with database.transaction(now=NOW, access=NO_CREDIT) as uow:
        uow.update("customer", ids[0], {"cycle_day": ids[1]})


def test_sql_of_a_room_knows_no_access_and_is_not_run_for_an_actor(customers: Database) -> None:
    with customers.transaction(now=NOW, access=NO_CREDIT) as uow:
        for act in (uow.query, uow.execute, uow.read_arrow):
            with pytest.raises(RuntimeError):
                act("SELECT 1 AS n")
        assert uow.unrestricted().query("SELECT 1 AS n") == [{"n": 1}]


def test_the_seen_catalogue_is_kept(customers: Database) -> None:
    whole = customers.catalogue
    assert seen_catalogue(NO_CREDIT, whole) is seen_catalogue(NO_CREDIT, whole)
    assert "credit" not in {
        one.name for one in seen_catalogue(NO_CREDIT, whole).entity("customer").fields
    }
