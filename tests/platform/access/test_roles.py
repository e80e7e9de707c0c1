"""Roles become an access: a union, in which rules only restrict."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.problems import Refused
from counterfoil.platform.access.entities import ENTITIES
from counterfoil.platform.access.explaining import explain_access, may
from counterfoil.platform.access.roles import (
    FieldRule,
    Grant,
    Role,
    check_scopes,
    compile_access,
    limit_access,
)
from counterfoil.platform.metadata import FULL_ACCESS, Entity, Field, build_catalogue
from counterfoil.platform.metadata.access import (
    EVERY_ROW,
    OPERATIONS,
    Condition,
    seen_catalogue,
)

INVOICE = Entity(
    name="invoice", plural="invoices", fields=(Field(name="number"), Field(name="margin"))
)
LEAD = Entity(name="lead", plural="leads", fields=(Field(name="margin"),))
CATALOGUE = build_catalogue((*ENTITIES, INVOICE, LEAD))

READ = frozenset({"read"})
FRENCH = (Condition("country", "eq", "FR"),)
GERMAN = (Condition("country", "eq", "DE"),)
NO_MARGIN = FieldRule("invoice", "margin", "read")


def fields(access, entity: str = "invoice") -> list[str]:  # type: ignore[no-untyped-def]
    return [one.name for one in seen_catalogue(access, CATALOGUE).entity(entity).fields]


def test_without_a_role_there_is_nothing() -> None:
    access = compile_access([], CATALOGUE)
    assert seen_catalogue(access, CATALOGUE).entities == {}
    assert not access.may_run("run_bills")


def test_an_administrator_may_do_everything() -> None:
    assert compile_access([Role("root", administrator=True)], CATALOGUE) is FULL_ACCESS


def test_a_grant_of_all_entities_means_business_and_not_security() -> None:
    access = compile_access([Role("reader", grants=(Grant("*", READ),))], CATALOGUE)
    assert set(seen_catalogue(access, CATALOGUE).entities) == {"invoice", "lead"}


def test_a_grant_of_its_own_takes_the_place_of_that_of_all() -> None:
    role = Role("clerk", grants=(Grant("*", READ), Grant("lead", frozenset())))
    assert set(seen_catalogue(compile_access([role], CATALOGUE), CATALOGUE).entities) == {"invoice"}


def test_a_field_is_readable_when_one_role_that_grants_the_entity_leaves_it() -> None:
    clerk = Role("clerk", grants=(Grant("invoice", READ),), rules=(NO_MARGIN,))
    controller = Role("controller", grants=(Grant("invoice", READ),))
    elsewhere = Role("sales", grants=(Grant("lead", READ),))
    assert fields(compile_access([clerk], CATALOGUE)) == ["number"]
    assert fields(compile_access([clerk, elsewhere], CATALOGUE)) == ["number"]
    assert fields(compile_access([clerk, controller], CATALOGUE)) == ["number", "margin"]


def test_who_may_not_read_a_field_may_not_write_it() -> None:
    both = frozenset({"read", "update"})
    clerk = Role("clerk", grants=(Grant("invoice", both),), rules=(NO_MARGIN,))
    reader = Role("reader", grants=(Grant("invoice", READ),))
    access = compile_access([clerk, reader], CATALOGUE)
    assert fields(access) == ["number", "margin"]
    assert not may(access, CATALOGUE, "invoice", "update", "margin")
    assert may(access, CATALOGUE, "invoice", "update", "number")


def test_row_filters_of_roles_are_alternatives() -> None:
    roles = [
        Role("fr", grants=(Grant("invoice", READ, FRENCH),)),
        Role("de", grants=(Grant("invoice", READ, GERMAN),)),
    ]
    assert compile_access(roles, CATALOGUE).rows("invoice", "read") == (FRENCH, GERMAN)
    roles.append(Role("all", grants=(Grant("invoice", READ),)))
    assert compile_access(roles, CATALOGUE).rows("invoice", "read") == EVERY_ROW


def test_scopes_name_a_part_of_the_owners_rights() -> None:
    clerk = Role(
        "clerk",
        commands=frozenset({"run_bills", "rerate"}),
        grants=(Grant("invoice", frozenset({"read", "update"}), FRENCH), Grant("lead", READ)),
        rules=(NO_MARGIN,),
    )
    owner = compile_access([clerk], CATALOGUE)
    key = limit_access(owner, ["invoice:read", "command:run_bills"], CATALOGUE)
    assert key.rows("invoice", "read") == (FRENCH,)
    assert fields(key) == ["number"]
    assert not key.may("invoice", "update")
    assert not key.may("lead", "read")
    assert (key.may_run("run_bills"), key.may_run("rerate")) == (True, False)


def test_an_administrators_key_can_only_what_it_names() -> None:
    key = limit_access(FULL_ACCESS, ["*:read"], CATALOGUE)
    assert set(seen_catalogue(key, CATALOGUE).entities) == {"invoice", "lead"}
    assert not key.may("invoice", "update")
    assert not key.may_run("run_bills")
    assert not key.unrestricted


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ("invoice:update", "not_granted"),
        ("command:run_bills", "not_granted"),
        ("access_user:read", "not_granted"),
        ("nothing:read", "unknown_scope"),
        ("invoice:approve", "unknown_scope"),
        ("invoice", "unknown_scope"),
        (7, "unknown_scope"),
    ],
)
def test_scopes_beyond_the_owners_rights_are_refused(scope: object, code: str) -> None:
    owner = compile_access([Role("reader", grants=(Grant("*", READ),))], CATALOGUE)
    with pytest.raises(Refused) as refused:
        check_scopes([scope], owner, CATALOGUE)
    assert [one.code for one in refused.value.problems] == [code]


GRANTS = st.builds(
    Grant,
    entity=st.sampled_from(["invoice", "lead", "*"]),
    operations=st.frozensets(st.sampled_from(OPERATIONS)).map(
        lambda chosen: chosen | READ if chosen else chosen
    ),
    conditions=st.just(()),
)
RULES = st.builds(
    FieldRule,
    entity=st.sampled_from(["invoice", "lead"]),
    field=st.sampled_from(["number", "margin"]),
    denies=st.sampled_from(["read", "write"]),
)
ROLES = st.builds(
    Role,
    name=st.sampled_from(["a", "b", "c"]),
    administrator=st.sampled_from([False, False, False, True]),
    grants=st.lists(GRANTS, max_size=3, unique_by=lambda one: one.entity).map(tuple),
    rules=st.lists(RULES, max_size=3).map(tuple),
)


@given(
    st.lists(ROLES, max_size=3),
    st.sampled_from(["invoice", "lead"]),
    st.sampled_from(OPERATIONS),
    st.sampled_from([None, "margin"]),
)
def test_an_explanation_says_what_counts(roles, entity, operation, field) -> None:  # type: ignore[no-untyped-def]
    found = explain_access(roles, CATALOGUE, entity, operation, field)
    access = compile_access(roles, CATALOGUE)
    assert found.allowed == may(access, CATALOGUE, entity, operation, field)
    if field is None:
        assert found.allowed == any(reason.allows for reason in found.reasons)
    elif not any(reason.allows for reason in found.reasons):
        assert not found.allowed
