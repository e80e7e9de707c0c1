"""Change sets applied: all or nothing, by one at a time, and never for long in anyone's way."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from counterfoil.bootstrap import CATALOGUE, CHECKS, Organisation, Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.model.applying import (
    ATTEMPTS,
    Applied,
    apply_change_set,
    apply_draft,
    draft_change_set,
    export_model,
    plan_change_set,
    retiring,
)
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.pages import Filter

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

SURVEYS = """
change_set: Regions and surveys
entities:
  x_survey: {plural: x_surveys, label: Survey}
fields:
  account:
    x_region: {kind: choice, choices: [emea, apac, "a :b 100%"], on_invoice: true}
    x_seats: {kind: number, minimum: 0, unique: true}
    x_deposit: {kind: money}
    x_tags: {kind: multi_choice, choices: [vip, late]}
    x_margin: {kind: decimal, digits: 12, places: 3, indexed: true}
    x_since: {kind: date}
    x_seen: {kind: datetime}
    x_partner: {kind: boolean, default: "false"}
    x_mentor: {kind: lookup, target: account, on_delete: set_null}
    x_contract: {kind: file}
  x_survey:
    x_account: {kind: master_detail, target: account}
    x_score: {kind: number, maximum: 10}
"""
NOTE = "change_set: Notes\nfields: {site: {x_note: {kind: text}}}\n"


def apply(database: Database, content: str, pause: Callable[[float], None] = list) -> Applied:
    return apply_change_set(database, content, now=NOW, source="cli", pause=pause)


def refused(act: Callable[[], object]) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        act()
    return [(problem.code, problem.field) for problem in caught.value.problems]


def create(database: Database, entity: str, **values: object) -> Record:
    with database.transaction(now=NOW) as uow:
        return uow.create(entity, values)


def columns(database: Database, table: str) -> set[str]:
    with database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT column_name FROM information_schema.columns WHERE table_name = :table",
            table=table,
        )
    return {str(row["column_name"]) for row in rows}


def test_fields_and_entities_are_there_at_once(database: Database) -> None:
    assert apply(database, SURVEYS).version == 1
    acme = create(
        database,
        "account",
        external_id="ACME",
        name="Acme",
        x_region="a :b 100%",
        x_seats=40,
        x_deposit="1500.25",
        x_deposit_currency="EUR",
        x_tags=["late", "vip"],
        x_margin="12.5",
        x_since="2026-01-01",
        x_seen="2026-01-01T12:00:00Z",
    )
    assert acme["x_deposit"] == Decimal("1500.2500")
    assert (acme["x_tags"], acme["x_partner"]) == (["vip", "late"], False)
    survey = create(database, "x_survey", name="Paris", x_account=acme["id"], x_score=7)
    with database.transaction(now=NOW) as uow:
        assert uow.update("x_survey", int(survey["id"]), {"x_score": 9})["row_version"] == 2
        asked = [Filter("x_tags", "contains", "vip"), Filter("x_margin", "gt", "12")]
        page = uow.list("account", filters=asked, sort=["-x_since"])
        assert [row["external_id"] for row in page.records] == ["ACME"]
        (change,) = uow.query(
            "SELECT changes FROM record_change WHERE entity = 'x_survey' AND action = 'update'"
        )
        assert change["changes"] == {"x_score": [7, 9]}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"x_region": "mars"}, ("unknown_choice", "x_region")),
        ({"x_tags": ["vip", "loud"]}, ("unknown_choice", "x_tags")),
        ({"x_seats": -1}, ("too_small", "x_seats")),
        ({"x_deposit": "5"}, ("half_amount", "x_deposit")),
        ({"x_deposit_currency": "EUR"}, ("half_amount", "x_deposit")),
        ({"x_margin": "1.2345"}, ("scale_exceeded", "x_margin")),
        ({"x_mentor": 4711}, ("unknown_reference", "x_mentor")),
        ({"x_colour": "red"}, ("unknown_field", "x_colour")),
    ],
)
def test_values_are_checked_like_all_others(
    surveyed: Database, values: Record, problem: tuple[str, str]
) -> None:
    row: Record = {"external_id": "BAD", "name": "Bad", **values}
    assert refused(lambda: create(surveyed, "account", **row)) == [problem]


@pytest.fixture(scope="module")
def surveyed(server: Settings) -> Iterator[Database]:
    """A database with the regions and surveys, for tests that change nothing."""
    with scratch_organisation(server) as organisation:
        apply(organisation.database, SURVEYS)
        yield organisation.database


def test_a_unique_field_is_unique(surveyed: Database) -> None:
    rows: list[Record] = [{"external_id": f"U{n}", "name": "U", "x_seats": 7} for n in range(2)]
    refusal = pytest.raises(Refused, match="another account has x_seats 7 already")
    with refusal, surveyed.transaction(now=NOW) as uow:
        uow.create_many("account", rows)


def test_the_second_time_nothing_is_left_to_do(database: Database) -> None:
    apply(database, NOTE)
    assert apply(database, NOTE).steps == ()
    with database.transaction(now=NOW) as uow:
        assert uow.catalogue.version == 1
        assert plan_change_set(uow, NOTE).steps == ()


def test_a_plan_changes_nothing_and_shows_its_sql(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        plan = plan_change_set(uow, NOTE)
    assert plan.steps == ("add site.x_note: text",)
    assert plan.sql == ('ALTER TABLE "site" ADD COLUMN "x_note" TEXT',)
    assert "x_note" not in columns(database, "site")


def test_a_change_set_with_a_fault_changes_nothing(database: Database) -> None:
    content = NOTE + "    # not a field:\n".replace("    ", "") + "entities: {survey: {}}\n"
    assert refused(lambda: apply(database, content)) == [("missing", "entities.survey.plural")]
    content = "change_set: Two\nfields: {site: {x_a: {kind: text}}, sites: {x_b: {kind: text}}}\n"
    assert refused(lambda: apply(database, content)) == [("unknown_entity", "sites.x_b")]
    assert "x_a" not in columns(database, "site")
    with database.transaction(now=NOW) as uow:
        assert uow.customer_model()[0] == 0
        assert uow.list("change_set").records == []


def test_faults_are_told_with_their_lines(database: Database) -> None:
    content = "change_set: A\nfields:\n  site:\n    x_a: {kind: colour}\n    x_b: {size: 3}\n"
    with pytest.raises(Refused) as caught:
        apply(database, content)
    assert [(one.line, one.field) for one in caught.value.problems] == [
        (4, "fields.site.x_a.kind"),
        (5, "fields.site.x_b.size"),
        (5, "fields.site.x_b.kind"),
    ]


def test_a_draft_is_kept_and_applied_once(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        draft = draft_change_set(uow, NOTE)
    assert "x_note" not in columns(database, "site")
    done = [apply_draft(database, draft, now=NOW, source="rest") for _ in range(2)]
    assert done[0] == done[1] == Applied(draft, 1, ("add site.x_note: text",))
    with database.transaction(now=NOW) as uow:
        kept = uow.get("change_set", draft)
    assert (kept["status"], kept["version"], kept["applied_at"]) == ("applied", 1, NOW)


def test_a_retired_field_keeps_its_values(database: Database) -> None:
    apply(database, SURVEYS)
    acme = create(database, "account", external_id="A", name="A", x_region="emea")
    with database.transaction(now=NOW) as uow:
        hide = retiring(uow, "account", "x_region")
    apply(database, hide)
    with database.transaction(now=NOW) as uow:
        assert "x_region" not in uow.get("account", int(acme["id"]))
    apply(database, SURVEYS)
    with database.transaction(now=NOW) as uow:
        assert uow.get("account", int(acme["id"]))["x_region"] == "emea"


def test_what_is_retired_is_changed_only_by_bringing_it_back(database: Database) -> None:
    field = "{kind: decimal, digits: 8, places: 2}"
    apply(database, f"change_set: A\nfields: {{account: {{x_limit: {field}}}}}")
    hidden = field.replace("}", ", retired: true}")
    apply(database, f"change_set: B\nfields: {{account: {{x_limit: {hidden}}}}}")
    wider = hidden.replace("8", "12")
    content = f"change_set: C\nfields: {{account: {{x_limit: {wider}}}}}"
    assert refused(lambda: apply(database, content)) == [("retired", "account.x_limit.digits")]
    back = wider.replace(", retired: true", "")
    done = apply(database, f"change_set: D\nfields: {{account: {{x_limit: {back}}}}}")
    assert len(done.steps) == 2
    made = create(database, "account", external_id="A", name="A", x_limit="1234567890")
    assert made["x_limit"] == Decimal("1234567890.00")


def test_a_retired_entity_gets_no_field_before_it_is_back(database: Database) -> None:
    entity = "{x_visit: {plural: x_visits}}"
    apply(database, f"change_set: A\nentities: {entity}")
    hidden = entity.replace("}}", ", retired: true}}")
    apply(database, f"change_set: B\nentities: {hidden}")
    field = "fields: {x_visit: {x_note: {kind: text}}}"
    assert refused(lambda: apply(database, f"change_set: C\n{field}")) == [
        ("retired", "x_visit.x_note")
    ]
    apply(database, f"change_set: D\nentities: {entity}\n{field}")
    assert create(database, "x_visit", x_note="seen")["x_note"] == "seen"


def test_what_running_connections_know_of_a_column_is_forgotten_when_it_grows(
    database: Database,
) -> None:
    """Else PostgreSQL says: cached plan must not change result type."""
    apply(database, SURVEYS)
    acme = int(create(database, "account", external_id="A", name="A", x_margin="1")["id"])

    def look() -> object:
        with database.transaction(now=NOW) as uow:
            return uow.get("account", acme)["x_margin"]

    assert {look() for _ in range(20)} == {Decimal("1.000")}
    apply(database, SURVEYS.replace("digits: 12", "digits: 20"))
    assert {look() for _ in range(4)} == {Decimal("1.000")}


def test_choices_grow_and_digits_too(database: Database) -> None:
    apply(database, SURVEYS)
    wider = SURVEYS.replace("[vip, late]", "[vip, late, new]").replace("digits: 12", "digits: 20")
    wider = wider.replace("x_since: {kind: date}", "x_since: {kind: date, indexed: true}")
    assert len(apply(database, wider).steps) == 3
    made = create(
        database, "account", external_id="A", name="A", x_tags=["new"], x_margin="1234567890123"
    )
    assert (made["x_tags"], made["x_margin"]) == (["new"], Decimal("1234567890123.000"))
    with database.transaction(now=NOW) as uow:
        (index,) = uow.query("SELECT 1 FROM pg_indexes WHERE indexname = 'ix_account_x_since'")
        assert index


def test_deleting_the_master_deletes_its_details(database: Database) -> None:
    apply(database, SURVEYS)
    acme = create(database, "account", external_id="A", name="A")
    friend = create(database, "account", external_id="B", name="B", x_mentor=acme["id"])
    create(database, "x_survey", x_account=acme["id"])
    with database.transaction(now=NOW) as uow:
        uow.delete_many("account", [int(acme["id"])])
        assert uow.list("x_survey").records == []
        kept = uow.get("account", int(friend["id"]))
        assert (kept["x_mentor"], kept["row_version"]) == (None, 2)
        uow.undelete_many("account", [int(acme["id"])])
        assert len(uow.list("x_survey").records) == 1


@pytest.mark.parametrize(
    "hidden",
    [
        "fields: {x_survey: {x_account: {kind: master_detail, target: account, retired: true}}}",
        "entities: {x_survey: {plural: x_surveys, label: Survey, retired: true}}",
    ],
)
def test_what_is_hidden_is_not_deleted_with_its_master(database: Database, hidden: str) -> None:
    apply(database, SURVEYS)
    acme = int(create(database, "account", external_id="A", name="A")["id"])
    survey = int(create(database, "x_survey", x_account=acme)["id"])
    apply(database, f"change_set: Hide\n{hidden}")
    with pytest.raises(Refused) as caught, database.transaction(now=NOW) as uow:
        uow.delete_many("account", [acme])
    assert [one.message for one in caught.value.problems] == [
        f"account A is still referred to by 1 x survey ({survey}) in x_account"
    ]
    apply(database, SURVEYS)
    with database.transaction(now=NOW) as uow:
        uow.delete_many("account", [acme])
        assert uow.list("x_survey").records == []


def test_a_master_that_points_to_its_detail_can_be_put_back(database: Database) -> None:
    latest = "x_latest: {kind: lookup, target: x_survey, on_delete: set_null}"
    apply(database, SURVEYS.replace("  account:\n", f"  account:\n    {latest}\n"))
    acme = int(create(database, "account", external_id="A", name="A")["id"])
    survey = int(create(database, "x_survey", x_account=acme, x_score=7)["id"])
    with database.transaction(now=NOW) as uow:
        uow.update("account", acme, {"x_latest": survey})
        uow.delete_many("account", [acme])
        uow.undelete_many("account", [acme])
        assert uow.get("x_survey", survey)["x_score"] == 7
        assert uow.get("account", acme)["x_latest"] is None, "the survey was deleted first"


def test_of_two_that_go_together_each_is_let_go_once(database: Database) -> None:
    apply(database, SURVEYS)
    acme = int(create(database, "account", external_id="A", name="A")["id"])
    friend = int(create(database, "account", external_id="B", name="B", x_mentor=acme)["id"])
    with database.transaction(now=NOW) as uow:
        uow.delete_many("account", [acme, friend])
        changes = uow.query(
            "SELECT action, row_version FROM record_change"
            " WHERE entity = 'account' AND record_id = :id ORDER BY id",
            id=friend,
        )
        uow.undelete_many("account", [acme, friend])
        assert uow.get("account", friend)["x_mentor"] == acme
    assert [(one["action"], one["row_version"]) for one in changes] == [
        ("create", 1),
        ("delete", 2),
    ]


def test_an_export_makes_the_same_catalogue_elsewhere(database: Database, server: Settings) -> None:
    apply(database, SURVEYS)
    apply(database, NOTE)
    with database.transaction(now=NOW) as uow:
        apply_later = retiring(uow, "account", "x_seats")
    apply(database, apply_later)
    with database.transaction(now=NOW) as uow:
        exported = export_model(uow, "Ours")
        ours = uow.catalogue.entities
    with scratch_organisation(server) as second:
        apply(second.database, exported)
        with second.database.transaction(now=NOW) as uow:
            assert uow.catalogue.entities == ours
            assert uow.catalogue.problems == ()
            assert export_model(uow, "Ours") == exported


def test_another_process_sees_it_with_its_next_transaction(database: Database) -> None:
    other = Database(database.url, CATALOGUE, CHECKS)
    try:
        with other.transaction(now=NOW) as running:
            # The reader holds no lock on the table that is changed.
            apply(database, NOTE)
            assert running.catalogue.version == 0
            assert running.catalogue.entity("site").field("x_note") is None
            made = running.create("account", {"external_id": "A", "name": "A"})
        with other.transaction(now=NOW) as later:
            assert later.catalogue.version == 1
            assert later.catalogue.entity("site").field("x_note") is not None
            assert later.get("account", int(made["id"]))["name"] == "A"
    finally:
        other.close()


def test_a_long_reader_is_waited_for_and_nothing_is_half_done(
    organisation: Organisation,
) -> None:
    database = organisation.database
    pauses: list[float] = []
    reading, read = threading.Event(), threading.Event()

    def read_for_long() -> None:
        with database.transaction(now=NOW) as uow:
            uow.query("SELECT count(*) FROM site")
            reading.set()
            read.wait(30)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert "x_note" not in columns(database, "site")
        if len(pauses) == 2:
            read.set()
            reader.join()

    reader = threading.Thread(target=read_for_long)
    reader.start()
    reading.wait(30)
    assert apply(database, NOTE, pause).version == 1
    assert pauses == [0.05, 0.1]
    assert "x_note" in columns(database, "site")


def test_tables_that_are_never_free_are_given_up(database: Database) -> None:
    pauses: list[float] = []
    with database.transaction(now=NOW) as uow:
        uow.query("SELECT count(*) FROM site")
        uow.lock("change of the data model")
        assert refused(lambda: apply(database, NOTE, pauses.append)) == [("busy", "")]
    assert len(pauses) == ATTEMPTS - 1
    assert "x_note" not in columns(database, "site")


def test_two_at_once_are_applied_one_after_the_other(database: Database) -> None:
    contents = [NOTE.replace("x_note", f"x_note_{number}") for number in range(4)]
    done: list[Applied] = []

    def apply_one(content: str) -> None:
        done.append(apply_change_set(database, content, now=NOW, source="cli"))

    threads = [threading.Thread(target=apply_one, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.version for one in done) == [1, 2, 3, 4]
    with database.transaction(now=NOW) as uow:
        names = {field.name for field in uow.catalogue.entity("site").fields if field.custom}
    assert names == {f"x_note_{number}" for number in range(4)}


def indexes(database: Database, start: str) -> list[tuple[str, bool]]:
    with database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid"
            " WHERE relname LIKE :start ORDER BY 1",
            start=f"{start}%",
        )
    return [(row["relname"], row["indisvalid"]) for row in rows]


def test_the_index_of_a_new_field_is_made_while_others_work(database: Database) -> None:
    both = "{x_a: {kind: text, indexed: true}, x_b: {kind: text, unique: true}}"
    content = f"change_set: A\nfields: {{site: {both}}}"
    with database.transaction(now=NOW) as uow:
        sql = plan_change_set(uow, content).sql
    assert [one for one in sql if "INDEX" in one] == [
        "CREATE UNIQUE INDEX uq_site_x_b ON site (x_b) WHERE x_b IS NOT NULL",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_site_x_a ON site (x_a) WHERE x_a IS NOT NULL",
    ]
    apply(database, content)
    assert indexes(database, "ix_site_x_") == [("ix_site_x_a", True)]
    assert indexes(database, "uq_site_x_") == [("uq_site_x_b", True)]


def test_an_index_that_a_killed_process_was_to_make_is_made_with_the_next_change_set(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    apply(database, "change_set: A\nfields: {site: {x_a: {kind: text}, x_b: {kind: text}}}")

    def killed(_database: Database, _name: str, _statements: object) -> bool:
        raise KeyboardInterrupt

    both = "{x_a: {kind: text, indexed: true}, x_b: {kind: text, indexed: true}}"
    with monkeypatch.context() as patched:
        patched.setattr(Database, "run_alone", killed)
        with pytest.raises(KeyboardInterrupt):
            apply(database, f"change_set: B\nfields: {{site: {both}}}")
    assert indexes(database, "ix_site_x_") == []
    apply(database, "change_set: C\nfields: {site: {x_c: {kind: text}}}")
    assert indexes(database, "ix_site_x_") == [("ix_site_x_a", True), ("ix_site_x_b", True)]
    with database.transaction(now=NOW) as uow:
        name = "'ix_site_x_b'::regclass"
        uow.define(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = {name}")
    apply(database, "change_set: D\nfields: {site: {x_d: {kind: text}}}")
    assert indexes(database, "ix_site_x_") == [("ix_site_x_a", True), ("ix_site_x_b", True)]
