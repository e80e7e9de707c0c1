"""The customer's rules: what they refuse, fill in, create and tell, and what they leave alone."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import FULL_ACCESS, Record
from counterfoil.platform.metadata.access import EVERY_ROW, Access, EntityAccess
from counterfoil.platform.model.applying import (
    apply_change_set,
    export_model,
    plan_change_set,
    retiring,
)
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

MODEL = """
change_set: Deals
entities:
  x_deal: {plural: x_deals}
  x_step: {plural: x_steps}
fields:
  account:
    x_limit: {kind: decimal, digits: 12, places: 2}
  x_deal:
    x_account: {kind: lookup, target: account}
    x_status: {kind: choice, choices: [new, sent, won, lost], default: new}
    x_value: {kind: decimal, digits: 12, places: 2}
    x_share: {kind: decimal, digits: 5, places: 4}
    x_commission: {kind: decimal, digits: 12, places: 2}
    x_seats: {kind: number}
    x_reason: {kind: text}
    x_won_on: {kind: date}
    x_margin: {kind: decimal, digits: 9, places: 2}
  x_step:
    x_deal: {kind: master_detail, target: x_deal}
    x_due: {kind: date}
    x_no: {kind: number}
rules:
  share:
    entity: x_deal
    when: [create]
    if: x_value >= 1000
    then: default
    field: x_share
    value: 0.05
  commission:
    {entity: x_deal, then: set, field: x_commission, value: "round(x_value * x_share, 2)"}
  won-today:
    entity: x_deal
    if: x_status = 'won' and (old.x_status is null or old.x_status <> 'won')
    then: set
    field: x_won_on
    value: today
  reason:
    entity: x_deal
    if: x_status = 'lost'
    then: require
    field: x_reason
    message: why was it lost?
  within-limit:
    entity: x_deal
    if: x_value > x_account.x_limit
    then: refuse
    field: x_value
    message: is more than the limit of the account
  path:
    entity: x_deal
    then: path
    field: x_status
    path: {new: [sent, lost], sent: [won, lost]}
  first-step:
    entity: x_deal
    when: [update]
    if: x_status = 'sent' and old.x_status = 'new'
    then: create
    target: x_step
    values: {x_deal: id, name: "'Call about ' || name", x_no: "1"}
  big-deal:
    entity: x_deal
    if: x_status = 'won'
    then: tell
    values: {value: x_value, account: x_account.external_id, on: x_won_on}
  bill:
    entity: x_deal
    if: x_status = 'won' and x_account is not null
    then: enqueue
    target: run_bills
    values: {account: x_account.external_id, billing_date: x_won_on, finalize: "false"}
"""


@pytest.fixture(scope="module")
def deals(server: Settings) -> Iterator[Database]:
    """A database with the rules of deals; tests undo what they do."""
    with scratch_organisation(server) as organisation:
        apply_change_set(organisation.database, MODEL, now=NOW, source="cli")
        yield organisation.database


class UndoneError(Exception):
    """Ends a transaction that shall leave nothing."""


@pytest.fixture
def uow(deals: Database) -> Iterator[UnitOfWork]:
    """A transaction that is rolled back at its end."""
    with suppress(UndoneError), deals.transaction(now=NOW) as uow:
        yield uow
        raise UndoneError


def deal(uow: UnitOfWork, **values: object) -> Record:
    return uow.create("x_deal", {"name": "Deal", **values})


def refusal(act: Callable[[], object]) -> list[Problem]:
    with pytest.raises(Refused) as caught:
        act()
    return list(caught.value.problems)


def firings(uow: UnitOfWork) -> list[tuple[object, ...]]:
    rows = uow.list("rule_firing").records
    return [(row["rule"], row["effect"], row["details"]) for row in rows]


def test_an_empty_field_gets_its_default_when_the_condition_holds(uow: UnitOfWork) -> None:
    assert deal(uow, x_value="1000")["x_share"] == Decimal("0.0500")
    assert deal(uow, x_value="999.99")["x_share"] is None
    assert deal(uow, x_value="1000", x_share="0.01")["x_share"] == Decimal("0.0100")


def test_a_computed_value_follows_what_it_is_computed_from(uow: UnitOfWork) -> None:
    made = deal(uow, x_value="1333.30")
    assert made["x_commission"] == Decimal("66.67"), "0.05, filled in by the rule before"
    changed = uow.update("x_deal", int(made["id"]), {"x_share": "0.1"})
    assert (changed["x_commission"], changed["row_version"]) == (Decimal("133.33"), 2)
    (history,) = uow.query(
        "SELECT changes FROM record_change WHERE action = 'update' AND entity = 'x_deal'"
    )
    assert set(history["changes"]) == {"x_share", "x_commission"}


def test_what_a_rule_has_done_is_kept(uow: UnitOfWork) -> None:
    made = deal(uow, x_value="1000")
    assert firings(uow) == [
        ("share", "default", {"x_share": Decimal("0.0500")}),
        ("commission", "set", {"x_commission": Decimal("50.00")}),
    ]
    assert {row["record_id"] for row in uow.list("rule_firing").records} == {made["id"]}
    uow.update("x_deal", int(made["id"]), {"name": "Same value"})
    assert len(firings(uow)) == 2, "the same value again is nothing done"


def test_a_required_field_is_demanded_in_the_words_of_the_rule(uow: UnitOfWork) -> None:
    made = deal(uow)
    (problem,) = refusal(lambda: uow.update("x_deal", int(made["id"]), {"x_status": "lost"}))
    assert (problem.code, problem.field, problem.message) == (
        "required",
        "x_reason",
        "why was it lost?",
    )
    assert uow.get("x_deal", int(made["id"]))["x_status"] == "new"
    changes = {"x_status": "lost", "x_reason": "price"}
    assert uow.update("x_deal", int(made["id"]), changes)["x_status"] == "lost"


def test_a_record_is_refused_by_what_it_points_to(uow: UnitOfWork) -> None:
    account = uow.create("account", {"external_id": "A", "name": "A", "x_limit": "500"})["id"]
    assert deal(uow, x_account=account, x_value="500")["x_value"] == Decimal("500.00")
    (problem,) = refusal(lambda: deal(uow, x_account=account, x_value="500.01"))
    assert (problem.code, problem.field) == ("refused_by_rule", "x_value")
    assert len(uow.list("x_deal").records) == 1


def test_of_many_rows_each_wrong_one_is_told(uow: UnitOfWork) -> None:
    rows: list[Record] = [{"x_status": status} for status in ("new", "lost", "won", "lost")]
    problems = refusal(lambda: uow.create_many("x_deal", rows))
    assert [(one.line, one.field) for one in problems] == [(2, "x_reason"), (4, "x_reason")]
    assert (uow.list("x_deal").records, firings(uow)) == ([], [])


def test_a_status_keeps_to_its_path(uow: UnitOfWork) -> None:
    made = int(deal(uow)["id"])
    (problem,) = refusal(lambda: uow.update("x_deal", made, {"x_status": "won"}))
    assert (problem.code, problem.allowed) == ("not_on_the_path", ("sent", "lost"))
    for status in ("sent", "won"):
        uow.update("x_deal", made, {"x_status": status})
    (problem,) = refusal(lambda: uow.update("x_deal", made, {"x_status": "new"}))
    assert problem.allowed == ()
    assert uow.get("x_deal", made)["x_won_on"] == date(2026, 1, 31)


def test_a_record_is_created_by_a_rule(uow: UnitOfWork) -> None:
    made = int(deal(uow, name="Paris")["id"])
    uow.update("x_deal", made, {"x_status": "sent"})
    (step,) = uow.list("x_step").records
    assert (step["x_deal"], step["name"], step["x_no"]) == (made, "Call about Paris", 1)
    (history,) = uow.query("SELECT source FROM record_change WHERE entity = 'x_step'")
    assert history["source"] == "rule"
    assert firings(uow)[-1] == ("first-step", "create", {"entity": "x_step", "id": step["id"]})
    uow.update("x_deal", made, {"name": "London"})
    assert len(uow.list("x_step").records) == 1


def test_others_are_told(uow: UnitOfWork) -> None:
    account = uow.create("account", {"external_id": "ACME", "name": "A"})["id"]
    made = int(deal(uow, x_value="10.50", x_account=account, x_status="sent")["id"])
    uow.update("x_deal", made, {"x_status": "won"})
    (event,) = uow.list("outgoing_event").records
    assert (event["type"], event["subject"]) == ("rule.met", f"x-deals/{made}")
    assert event["data"] == {
        "rule": "big-deal",
        "entity": "x_deal",
        "id": made,
        "values": {"value": "10.5", "account": "ACME", "on": "2026-01-31"},
    }


def test_a_job_is_asked_for_once_for_the_same_thing(uow: UnitOfWork) -> None:
    account = uow.create("account", {"external_id": "ACME", "name": "A"})["id"]
    for _ in range(2):
        made = int(deal(uow, x_account=account, x_status="sent")["id"])
        uow.update("x_deal", made, {"x_status": "won"})
    (job,) = uow.list("job").records
    assert (job["kind"], job["state"], job["origin"]) == ("run_bills", "waiting", "rules/bill")
    assert (job["enqueued_by"], job["depth"]) == ("admin", 1)
    assert job["payload"] == {"account": "ACME", "billing_date": "2026-01-31", "finalize": False}
    told = [row for row in firings(uow) if row[1] == "enqueue"]
    assert told == [("bill", "enqueue", {"kind": "run_bills", "job": job["id"]})] * 2


def test_no_job_is_asked_for_by_what_is_refused(uow: UnitOfWork) -> None:
    account = uow.create("account", {"external_id": "ACME", "name": "A"})["id"]
    made = int(deal(uow, x_account=account)["id"])
    refusal(lambda: uow.update("x_deal", made, {"x_status": "won"}))
    assert uow.list("job").records == []


def test_what_a_job_does_that_a_rule_asked_for_makes_no_circle(database: Database) -> None:
    circle = """
change_set: Circle
rules:
  again: {entity: site, then: enqueue, target: renew_subscriptions}
"""
    apply_change_set(database, circle, now=NOW, source="cli")
    site: Record = {"external_id": "S", "name": "S", "country": "DE"}
    for depth in range(6):
        working = database.acting(actor="ann", source="job", request_id="jobs/1", depth=depth)
        with suppress(Refused), working.transaction(now=NOW) as uow:
            account = uow.create("account", {"external_id": f"A{depth}", "name": "A"})["id"]
            uow.create("site", {**site, "external_id": f"S{depth}", "account_id": account})
    with database.transaction(now=NOW) as uow:
        assert [row["depth"] for row in uow.list("job").records] == [5]
        assert len(uow.list("site").records) == 5


def test_who_may_write_less_is_ruled_all_the_same(deals: Database) -> None:
    rows = {"read": EVERY_ROW, "create": EVERY_ROW, "update": EVERY_ROW}
    hidden = frozenset({"x_commission", "x_reason"})
    access = Access(entities={"x_deal": EntityAccess(rows=rows, unreadable=hidden)})
    with deals.transaction(now=NOW, access=access) as uow:
        made = uow.create("x_deal", {"x_value": "1000"})
        assert "x_commission" not in made
        (problem,) = refusal(lambda: uow.create("x_deal", {"x_status": "lost"}))
        assert "x_reason" not in (problem.field, *problem.message.split())
    with deals.transaction(now=NOW) as uow:
        assert uow.get("x_deal", int(made["id"]))["x_commission"] == Decimal("50.00")
        uow.delete_many("x_deal", [int(made["id"])])
        uow.execute("DELETE FROM rule_firing")


def test_rules_that_create_one_another_come_to_an_end(database: Database) -> None:
    loop = """
change_set: Loop
entities: {x_egg: {plural: x_eggs}, x_hen: {plural: x_hens}}
rules:
  hatch: {entity: x_egg, when: [create], then: create, target: x_hen, values: {name: name}}
  lay: {entity: x_hen, when: [create], then: create, target: x_egg, values: {name: name}}
"""
    apply_change_set(database, loop, now=NOW, source="cli")
    with pytest.raises(Refused, match="more than 5 times"), database.transaction(now=NOW) as uow:
        uow.create("x_egg", {"name": "First"})
    with database.transaction(now=NOW) as uow:
        assert uow.list("x_egg").records == uow.list("x_hen").records == []


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("{entity: deals, then: refuse, if: 'true', message: m}", ("unknown_entity", "entity")),
        ("{entity: rule, then: refuse, if: 'true', message: m}", ("unknown_entity", "entity")),
        ("{entity: site, then: refuse, message: no}", ("missing", "if")),
        ("{entity: site, then: refuse, if: city, message: no}", ("wrong_type", "if")),
        ("{entity: site, then: refuse, if: town = 'x', message: no}", ("unknown_name", "if")),
        ("{entity: site, then: require, field: town}", ("unknown_field", "field")),
        ("{entity: site, then: require, field: city, value: '1'}", ("unwelcome_option", "value")),
        ("{entity: site, then: set, field: city, value: '1'}", ("wrong_type", "value")),
        ("{entity: site, then: set, field: id, value: '1'}", ("unknown_field", "field")),
        ("{entity: site, then: set, field: external_id, value: name}", ("immutable_field", "when")),
        ("{entity: site, then: create, target: invoice, values: {total: '1'}}",
         ("unknown_entity", "target")),
        ("{entity: site, then: create, target: contact, values: {nose: '1'}}",
         ("unknown_field", "values.nose")),
        ("{entity: site, then: path, field: city, path: {a: [b]}}", ("wrong_type", "field")),
        ("{entity: account, then: path, field: status, path: {awake: [active]}}",
         ("unknown_choice", "path")),
        ("{entity: prepaid_grant, then: set, field: amount, value: amount / 3}",
         ("too_many_places", "value")),
        ("{entity: site, then: enqueue, target: contact}", ("unknown_job_kind", "target")),
        ("{entity: site, then: enqueue}", ("missing", "target")),
        ("{entity: site, then: enqueue, target: run_bills, values: {nose: '1'}}",
         ("unknown_field", "values.nose")),
        ("{entity: site, then: enqueue, target: run_bills, values: {account: '1'}}",
         ("wrong_type", "values.account")),
        ("{entity: provisioning_step, then: approve, field: secret}", ("secret_field", "field")),
        ("{entity: webhook, then: set, field: secret, value: external_id}",
         ("secret_field", "field")),
        ("{entity: site, then: fly, field: city}", ("unknown_value", "then")),
        ("{entity: site, when: [delete], then: require, field: city}", ("unknown_value", "when")),
    ],
)  # fmt: skip
def test_a_rule_that_could_not_work_is_refused(
    deals: Database, rule: str, problem: tuple[str, str]
) -> None:
    content = f"change_set: One\nrules:\n  one: {rule}\n"
    with deals.transaction(now=NOW) as uow:
        problems = refusal(lambda: plan_change_set(uow, content))
    assert (problem[0], f"rules.one.{problem[1]}") in [(one.code, one.field) for one in problems]


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ("{entity: x_deal, if: x_seats > 9, then: require, field: x_reason}", "then"),
        ("{entity: x_step, if: x_no > 9, then: refuse, message: no}", "entity"),
    ],
)
def test_what_a_rule_does_and_for_which_records_never_changes(
    deals: Database, other: str, field: str
) -> None:
    content = f"change_set: Other\nrules: {{within-limit: {other}}}\n"
    with deals.transaction(now=NOW) as uow:
        problems = refusal(lambda: plan_change_set(uow, content))
    assert ("cannot_change", f"rules.within-limit.{field}") in [
        (one.code, one.field) for one in problems
    ]


@pytest.mark.parametrize(
    ("fields", "rule", "problem"),
    [
        (
            "{x_old: {kind: text}, x_new: {kind: text, required: true}}",
            "{entity: seller, then: set, field: x_new, value: x_old}",
            ("required", "x_new"),
        ),
        (
            "{x_new: {kind: money}}",
            "{entity: seller, then: default, field: x_new, value: '10'}",
            ("half_amount", "x_new"),
        ),
    ],
)
def test_rules_leave_no_required_field_empty_and_no_amount_without_currency(
    database: Database, fields: str, rule: str, problem: tuple[str, str]
) -> None:
    content = f"change_set: One\nfields: {{seller: {fields}}}\nrules: {{one: {rule}}}\n"
    apply_change_set(database, content, now=NOW, source="cli")
    given = {"x_new": "there"} if "x_old" in fields else {}
    with database.transaction(now=NOW) as uow:
        seller: Record = {"name": "Us", "country": "DE", **given}
        problems = refusal(lambda: uow.create("seller", seller))
        assert [(one.code, one.field) for one in problems] == [problem]


OFF = """
change_set: Off
rules:
  reason:
    entity: x_deal
    if: x_status = 'lost'
    then: require
    field: x_reason
    message: tell us
    retired: true
"""


def test_an_unknown_kind_of_job_is_refused_with_those_there_are(deals: Database) -> None:
    content = "change_set: One\nrules: {one: {entity: site, then: enqueue, target: bill}}\n"
    with deals.transaction(now=NOW) as uow:
        (problem,) = refusal(lambda: plan_change_set(uow, content))
    assert problem.message == "there is no kind of job 'bill'"
    assert {"run_bills", "refresh_drafts", "renew_subscriptions"} <= set(problem.allowed)


def test_rules_are_planned_in_words_and_travel_with_an_export(
    deals: Database, server: Settings
) -> None:
    with deals.transaction(now=NOW) as uow:
        exported = export_model(uow, "Deals")
        planned = plan_change_set(uow, OFF)
    assert planned.steps == (
        "retire the rule reason: hide it, keep its values",
        "change the rule reason: message from why was it lost? to tell us",
    )
    assert planned.sql == ()
    with scratch_organisation(server) as second:
        with second.database.transaction(now=NOW) as uow:
            words = plan_change_set(uow, exported).steps
        assert (
            "add the rule commission: when a record of x_deal is created or changed, "
            "then set x_commission to round(x_value * x_share, 2)"
        ) in words
        apply_change_set(second.database, exported, now=NOW, source="cli")
        with second.database.transaction(now=NOW) as uow:
            assert export_model(uow, "Deals") == exported
            assert deal(uow, x_value="1000")["x_share"] == Decimal("0.0500")


def test_a_field_that_a_rule_reads_cannot_be_retired(deals: Database) -> None:
    content = (
        "change_set: Off\nfields: {account: {x_limit: "
        "{kind: decimal, digits: 12, places: 2, retired: true}}}\n"
    )
    with deals.transaction(now=NOW) as uow:
        problems = refusal(lambda: plan_change_set(uow, content))
    assert [(one.code, one.field) for one in problems] == [
        ("unknown_name", "rules.within-limit.if")
    ]


def test_the_change_set_of_the_guide_can_be_applied(database: Database) -> None:
    guide = Path(__file__).parents[3] / "docs" / "rules.md"
    text = guide.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    done = apply_change_set(database, text, now=NOW, source="cli")
    assert len([step for step in done.steps if step.startswith("add the rule")]) == 5
    with database.transaction(now=NOW) as uow:
        assert deal(uow, x_value="100")["x_commission"] == Decimal("5.00")


def test_a_retired_rule_does_nothing_any_more(database: Database) -> None:
    content = "change_set: One\nrules:\n  city: {entity: site, then: require, field: city}\n"
    apply_change_set(database, content, now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        account = uow.create("account", {"external_id": "A", "name": "A"})["id"]
        site: Record = {"external_id": "S", "account_id": account, "name": "S", "country": "DE"}
        assert refusal(lambda: uow.create("site", site))[0].field == "city"
        ended = retiring(uow, "rule", "city")
    apply_change_set(database, ended, now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        assert uow.create("site", site)["city"] is None


def test_why_a_rule_cannot_create_its_record_is_told_to_who_may_see_it(database: Database) -> None:
    change = """
change_set: Pins
entities: {x_visit: {plural: x_visits}, x_pass: {plural: x_passes}}
fields:
  account: {x_pin: {kind: text}}
  x_visit: {x_account: {kind: lookup, target: account}}
rules:
  pass: {entity: x_visit, when: [create], then: create, target: x_pass,
         values: {external_id: x_account.x_pin}}
"""
    apply_change_set(database, change, now=NOW, source="cli")
    with database.transaction(now=NOW) as uow:
        values = {"external_id": "ACME", "name": "Acme", "x_pin": "4711-0815"}
        account = uow.create("account", values)["id"]
        uow.create("x_visit", {"x_account": account})

    def visit(access: Access) -> str:
        with pytest.raises(Refused) as caught, database.transaction(now=NOW, access=access) as uow:
            uow.create("x_visit", {"x_account": account})
        assert caught.value.status == 409
        return str(caught.value.problems)

    assert "4711-0815" in visit(FULL_ACCESS)
    seen = EntityAccess(rows={"read": EVERY_ROW}, unreadable=frozenset({"x_pin"}))
    visits = EntityAccess(rows={"read": EVERY_ROW, "create": EVERY_ROW})
    told = visit(Access(entities={"account": seen, "x_visit": visits}))
    assert "refused_by_rule" in told
    assert "4711-0815" not in told
