"""Generated from the catalogue: every entity and every field of it that a role may not read, tried
in every clause. It is told as a field that is not there, and nothing is changed."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlglot
from sqlglot import exp

from counterfoil.bootstrap import CATALOGUE, Settings, scratch_organisation
from counterfoil.core.formulas.formula import parse_formula
from counterfoil.core.formulas.vocabulary import TEXT, Kind, Vocabulary
from counterfoil.core.problems import Refused
from counterfoil.interfaces.rest.app import ENDPOINTS
from counterfoil.interfaces.rest.openapi import describe_api
from counterfoil.interfaces.rest.schemas import schema_name
from counterfoil.platform.access.roles import FieldRule, Grant, Role, compile_access
from counterfoil.platform.metadata import Entity, Field, FieldType
from counterfoil.platform.metadata.access import OPERATIONS, seen_catalogue
from counterfoil.platform.metadata.entity import Computation, Read
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.exact_json import encode_json
from counterfoil.platform.records.history import HistoryQuery
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.querying import Aggregate, Grouping, Query
from counterfoil.platform.records.unit_of_work import UnitOfWork
from counterfoil.platform.transfer.exporting import Export, export_records

NOW = datetime(2026, 2, 1, tzinfo=UTC)
UNKNOWN = "no_such_field_at_all"
ALL = frozenset(OPERATIONS)
READ = frozenset({"read"})

FORMULA, _ = parse_formula("x", returns=Kind.TEXT, vocabulary=Vocabulary({"x": TEXT}))
assert FORMULA is not None
COPY = Field(name="x_copy", computed=True)

ENTITIES = tuple(CATALOGUE.entities.values())
Clause = Callable[[UnitOfWork, str], object]


def denying(entity: str, *fields: str, name: str = "clerk") -> Role:
    """A role that grants everything but reading these fields."""
    return Role(
        name,
        grants=(
            Grant("*", ALL),
            *(Grant(one.name, READ) for one in ENTITIES if one.apart),
        ),
        rules=tuple(FieldRule(entity, field, "read") for field in fields),
    )


def role_sets(entity: str, field: str) -> list[list[Role]]:
    """Sets of roles of which none leaves the field open."""
    elsewhere = "account" if entity != "account" else "site"
    return [
        [denying(entity, field)],
        [denying(entity, field), denying(entity, field, name="second")],
        [
            Role("own", grants=(Grant(entity, READ),), rules=(FieldRule(entity, field, "read"),)),
            Role("elsewhere", grants=(Grant(elsewhere, ALL),)),
        ],
    ]


def readable_fields(entity: Entity) -> list[Field]:
    return [field for field in entity.fields if not field.secret]


def halves(entity: Entity) -> list[list[Field]]:
    """Every other readable field, then the rest: a role denies one half, and the other is there."""
    fields = readable_fields(entity)
    return [half for half in (fields[::2], fields[1::2]) if half]


@pytest.fixture(scope="module")
def database(server: Settings) -> Iterator[Database]:
    """A database without records, of which a history tells nonetheless."""
    with scratch_organisation(server) as organisation:
        yield organisation.database


def own_clauses(entity: Entity) -> dict[str, Clause]:
    """Every way to name a field of the entity itself."""
    name = entity.name
    clauses: dict[str, Clause] = {
        "list filter": lambda uow, field: uow.list(name, filters=[Filter(field, "eq", "1")]),
        "list sort": lambda uow, field: uow.list(name, sort=[field]),
        "find": lambda uow, field: uow.find(name, **{field: "1"}),
        "ids by": lambda uow, field: uow.ids_by(name, field, ["1"]),
        "export": lambda uow, field: export_records(
            uow, Export(entity=name, fields=(field,)), Path("/nonexistent"), "csv"
        ),
    }
    if not entity.created_by_command and not entity.apart:
        clauses["create"] = lambda uow, field: uow.create(name, {field: "1"})
        clauses["upsert by"] = lambda uow, field: uow.upsert_many(name, field, [{field: "1"}])
    return clauses


def path_clauses(entity: Entity, prefix: str) -> dict[str, Clause]:
    """Every way to name a field by a path that begins at the entity."""
    name = entity.name

    def query(**asked: object) -> Callable[[UnitOfWork], object]:
        return lambda uow: uow.query_records(name, Query(**asked))  # type: ignore[arg-type]

    def group(**asked: object) -> Callable[[UnitOfWork], object]:
        count = (Aggregate("count", "", "n"),)
        grouping = Grouping(**({"aggregates": count} | asked))  # type: ignore[arg-type]
        return lambda uow: uow.aggregate(name, grouping)

    def value(function: str, path: str) -> tuple[Aggregate, ...]:
        return (Aggregate(function, path, "value"),)  # type: ignore[arg-type]

    return {
        "select": lambda uow, field: query(fields=(prefix + field,))(uow),
        "where": lambda uow, field: query(where=Filter(prefix + field, "eq", "1"))(uow),
        "sort": lambda uow, field: query(sort=(prefix + field,))(uow),
        "group by": lambda uow, field: group(group_by=(prefix + field,))(uow),
        "group where": lambda uow, field: group(where=Filter(prefix + field, "eq", "1"))(uow),
        "count": lambda uow, field: group(aggregates=value("count", prefix + field))(uow),
        "sum": lambda uow, field: group(aggregates=value("sum", prefix + field))(uow),
    }


def sql_clauses(entity: Entity) -> dict[str, Clause]:
    """Every part of a SELECT of someone's own."""

    def selecting(sql: str) -> Clause:
        def run(uow: UnitOfWork, field: str) -> object:
            statement = sqlglot.parse_one(sql.format(e=entity.name, f=field), dialect="postgres")
            assert isinstance(statement, exp.Select)
            return uow.select(statement)

        return run

    statements = (
        'SELECT "{f}" FROM "{e}"',
        'SELECT id FROM "{e}" WHERE "{f}" IS NULL',
        'SELECT id FROM "{e}" ORDER BY "{f}"',
        'SELECT count(*) FROM "{e}" GROUP BY "{f}"',
        'SELECT a.id FROM "{e}" AS a JOIN "{e}" AS b ON a."{f}" = b."{f}"',
        'SELECT id FROM "{e}" WHERE id IN (SELECT id FROM "{e}" WHERE "{f}" IS NULL)',
    )
    return {sql: selecting(sql) for sql in statements}


def answer(uow: UnitOfWork, clause: Clause, field: str) -> str:
    """The refusal, word by word."""
    try:
        return f"answered {clause(uow, field)!r}"
    except Refused as refused:
        return f"{refused.status} {refused.problems!r}"


def referrer(target: str) -> tuple[Entity, str] | None:
    """Another entity that refers to this one, and how its path to it begins."""
    for entity in ENTITIES:
        for field in entity.fields:
            if field.target == target and entity.name != target and not field.secret:
                return entity, field.name.removesuffix("_id") + "."
    return None


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_an_unreadable_field_is_in_no_clause(database: Database, entity: Entity) -> None:
    clauses = own_clauses(entity) | path_clauses(entity, "") | sql_clauses(entity)
    further = referrer(entity.name)
    if further is not None:
        afar = path_clauses(*further)
        clauses |= {f"{words} from afar": afar[words] for words in ("select", "where", "group by")}
    for half in halves(entity):
        denied = denying(entity.name, *(field.name for field in half))
        access = compile_access([denied], CATALOGUE)
        with database.transaction(now=NOW, access=access) as uow:
            for words, clause in clauses.items():
                unknown = answer(uow, clause, UNKNOWN)
                assert unknown[:3] in ("400", "422"), (words, unknown)
                for field in half:
                    hidden = answer(uow, clause, field.name)
                    assert hidden == unknown.replace(UNKNOWN, field.name), (field.name, words)
    with database.transaction(now=NOW) as uow:
        count = f'SELECT (SELECT count(*) FROM "{entity.name}")'
        assert uow.query(f"{count} + (SELECT count(*) FROM record_change) AS n") == [{"n": 0}]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_whoever_denies_it_no_role_opens_it_but_one_that_grants_it(entity: Entity) -> None:
    few = {name: CATALOGUE.entities[name] for name in (entity.name, "account", "site")}
    catalogue = replace(CATALOGUE, entities=few)
    for field in readable_fields(entity):
        for roles in role_sets(entity.name, field.name):
            seen = seen_catalogue(compile_access(roles, catalogue), catalogue).entity(entity.name)
            names = [one.name for one in seen.fields]
            assert names == [one.name for one in entity.fields if one.name != field.name]
            assert all(field.name not in key for key in (*seen.unique, *seen.indexes))
        opening = Role("controller", grants=(Grant(entity.name, READ),))
        access = compile_access([denying(entity.name, field.name), opening], catalogue)
        assert seen_catalogue(access, catalogue).entity(entity.name).field(field.name) is not None


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_no_formula_reads_around_it(entity: Entity) -> None:
    """A computed field is hidden with what it reads: of its own record, or of one far away."""
    for field in readable_fields(entity):
        reads = (Read("x", field.name),)
        computed = replace(COPY, computation=Computation(FORMULA, reads))
        catalogue = replace(
            CATALOGUE,
            entities={entity.name: replace(entity, fields=(*entity.fields, computed))},
        )
        access = compile_access([denying(entity.name, field.name)], catalogue)
        assert seen_catalogue(access, catalogue).entity(entity.name).field("x_copy") is None
    further = referrer(entity.name)
    if further is None:
        return
    owner, prefix = further
    for field in readable_fields(entity):
        reads = (Read("x", prefix.removesuffix(".") + "_id", entity.name, field.name),)
        computed = replace(COPY, computation=Computation(FORMULA, reads))
        catalogue = replace(
            CATALOGUE,
            entities={
                entity.name: entity,
                owner.name: replace(owner, fields=(*owner.fields, computed)),
            },
        )
        access = compile_access([denying(entity.name, field.name)], catalogue)
        assert seen_catalogue(access, catalogue).entity(owner.name).field("x_copy") is None


@pytest.fixture(scope="module")
def told(server: Settings) -> Iterator[Database]:
    """A database whose history tells of every field of every entity, of record 1."""
    with scratch_organisation(server) as organisation:
        database = organisation.database
        with database.transaction(now=NOW) as uow:
            for entity in ENTITIES:
                for field in readable_fields(entity):
                    _write_change(uow, entity.name, {field.name: [None, "S3CRET"]})
        yield database


def _write_change(uow: UnitOfWork, entity: str, changes: dict[str, object]) -> None:
    uow.execute(
        "INSERT INTO record_change (at, actor, source, entity, record_id, action, row_version,"
        " catalogue_version, changes) VALUES (:now, 'ada', 'rest', :entity, 1, 'update', 1, 0,"
        " CAST(:changes AS jsonb))",
        now=uow.now,
        entity=entity,
        changes=encode_json(changes),
    )


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_the_history_does_not_tell_of_it(told: Database, entity: Entity) -> None:
    every = {field.name for field in readable_fields(entity)}
    for half in halves(entity):
        denied = {field.name for field in half}
        access = compile_access([denying(entity.name, *denied)], CATALOGUE)
        with told.transaction(now=NOW, access=access) as uow:
            page = uow.history(HistoryQuery(entity=entity.name, limit=1000))
        names = [name for change in page.records for name in change["changes"]]
        assert sorted(names) == sorted(every - denied)


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_files_and_descriptions_do_not_have_it(
    database: Database, entity: Entity, tmp_path: Path
) -> None:
    for number, half in enumerate(halves(entity)):
        denied = {field.name for field in half}
        access = compile_access([denying(entity.name, *denied)], CATALOGUE)
        with database.transaction(now=NOW, access=access) as uow:
            path = tmp_path / f"{number}.csv"
            export_records(uow, Export(entity=entity.name), path, "csv")
            listed = uow.list(entity.name)
        with path.open(encoding="utf-8-sig") as file:
            header = next(csv.reader(file))
        assert denied.isdisjoint(name.split(".")[0] for name in header)
        assert {f"{name.removesuffix('_id')}.external_id" for name in denied}.isdisjoint(header)
        assert listed.records == []


@pytest.mark.parametrize("entity", ENTITIES[::6], ids=lambda entity: entity.name)
def test_openapi_does_not_describe_it(entity: Entity) -> None:
    field = readable_fields(entity)[-1]
    access = compile_access([denying(entity.name, field.name)], CATALOGUE)
    document = describe_api(seen_catalogue(access, CATALOGUE), ENDPOINTS)
    schemas = document["components"]["schemas"]  # type: ignore[index]
    name = schema_name(entity)
    for variant in (name, f"{name}Create", f"{name}Update"):
        assert field.name not in schemas.get(variant, {}).get("properties", {})


def test_documents_are_fields_as_well() -> None:
    """The kit is not about a few types: it has tried all there are in the system's entities."""
    kinds = {field.type for entity in ENTITIES for field in readable_fields(entity)}
    assert kinds >= set(FieldType) - {FieldType.MULTI_CHOICE}
