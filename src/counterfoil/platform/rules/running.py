"""Carries out the customer's rules when records are written, for many rows at once."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.enqueuing import Request, enqueue_many
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.entity import Computation
from counterfoil.platform.metadata.rules import Effect, Rule
from counterfoil.platform.metadata.validation import fit_value, half_amounts
from counterfoil.platform.outbox.emitting import EventType, Happening, emit_many
from counterfoil.platform.records.evaluating import evaluate
from counterfoil.platform.records.exact_json import encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork
from counterfoil.platform.rules.approving import APPROVAL_REQUESTED, ASKED, ask, hold_back

MOST_DEPTH = 5
"""How often a record that a rule has created may make rules create another one."""

RULE_MET = EventType("rule.met", "A rule that says tell has met a record.")
EVENT_TYPES = (RULE_MET, APPROVAL_REQUESTED)

FIRED = " fired"
"""Under this name, which no field has, a row carries what rules have filled until it is written."""

Rows = list[Record]
OldRows = list[Record | None]
Met = tuple[int, Record, list[object]]
"""A row that a rule is for: its place, itself, and the values of the rule's formulas."""


class CustomerRules:
    """The rules of the catalogue at hand."""

    def fill(self, uow: UnitOfWork, entity: Entity, rows: Rows, old_rows: OldRows) -> list[Problem]:
        """Fill rows in place by the rules that say default and set, one after the other, and take
        out of them what has to be approved first."""
        problems: list[Problem] = []
        for rule in _rules(uow, entity, (Effect.DEFAULT, Effect.SET, Effect.APPROVE)):
            if rule.stated.effect == Effect.APPROVE:
                met = list(_met(uow, entity, rule, rows, old_rows))
                hold_back(uow, rule, [(row, old_rows[place]) for place, row, _ in met])
                continue
            for place, row, (value,) in _met(uow, entity, rule, rows, old_rows):
                name = rule.stated.field
                if rule.stated.effect == Effect.DEFAULT and row[name] is not None:
                    continue
                field = entity.field(name)
                fitted, problem = (value, None) if field is None else fit_value(field, value)
                if problem is not None:
                    problems.append(_at(_by(rule, problem), place, rows))
                elif fitted != row[name]:
                    row[name] = fitted
                    row.setdefault(FIRED, []).append(_firing(rule, row, {name: fitted}))
        for place, row in enumerate(rows):
            problems += [_at(problem, place, rows) for problem in _left_wrong(entity, row)]
        return problems

    def check(
        self, uow: UnitOfWork, entity: Entity, rows: Rows, old_rows: OldRows
    ) -> list[Problem]:
        """What the rules that say refuse, require and path have against the rows."""
        problems: list[Problem] = []
        for rule in _rules(uow, entity, (Effect.REFUSE, Effect.REQUIRE, Effect.PATH)):
            for place, row, _ in _met(uow, entity, rule, rows, old_rows):
                problem = _objection(rule, row, old_rows[place])
                if problem is not None:
                    problems.append(_at(problem, place, rows))
        fired = [firing for row in rows for firing in row.pop(FIRED, ())]
        asked = [request for row in rows for request in row.pop(ASKED, ())]
        if not problems:
            _keep(uow, fired)
            ask(uow, asked)
        return problems

    def follow(self, uow: UnitOfWork, entity: Entity, rows: Rows, old_rows: OldRows) -> None:
        """Create, tell and enqueue what follows from rows that have been written."""
        for rule in _rules(uow, entity, (Effect.CREATE, Effect.TELL, Effect.ENQUEUE)):
            met = list(_met(uow, entity, rule, rows, old_rows))
            if met and rule.stated.effect == Effect.CREATE:
                _create(uow, rule, met)
            elif met and rule.stated.effect == Effect.ENQUEUE:
                _enqueue(uow, rule, met)
            elif met:
                _tell(uow, entity, rule, met)


def _rules(uow: UnitOfWork, entity: Entity, effects: Collection[str]) -> list[Rule]:
    rules = uow.catalogue.rules.get(entity.name, ())
    return [rule for rule in rules if rule.stated.effect in effects]


def _met(
    uow: UnitOfWork, entity: Entity, rule: Rule, rows: Rows, old_rows: OldRows
) -> Iterator[Met]:
    """The rows for which the rule's condition holds, as they are now."""
    places = [
        place
        for place, old in enumerate(old_rows)
        if (rule.stated.on_create if old is None else rule.stated.on_update)
    ]
    computations: list[Computation] = [computation for _, computation in rule.values]
    computations += [rule.value] if rule.value else []
    computations += [rule.condition] if rule.condition else []
    values = evaluate(
        uow,
        entity,
        computations,
        [rows[place] for place in places],
        [old_rows[place] for place in places],
    )
    for place, computed in zip(places, values, strict=True):
        if rule.condition is None:
            yield place, rows[place], computed
        elif computed[-1] is True:
            yield place, rows[place], computed[:-1]


def _left_wrong(entity: Entity, row: Record) -> list[Problem]:
    """What rules have made wrong of a row that was right: a required field, half of an amount."""
    fired = row.get(FIRED, ())
    required = {field.name for field in entity.fields if field.required}
    problems = [
        Problem("required", f"is required, and the rule {one['rule']} leaves it empty", name)
        for one in fired
        for name in one["details"]
        if name in required and row[name] is None
    ]
    return problems + (half_amounts(entity, row, None) if fired else [])


def _objection(rule: Rule, row: Record, old: Record | None) -> Problem | None:
    stated = rule.stated
    value = row.get(stated.field)
    if stated.effect == Effect.REFUSE:
        return Problem("refused_by_rule", stated.message, stated.field)
    if stated.effect == Effect.REQUIRE and value in (None, ""):
        return Problem("required", stated.message or "is required", stated.field)
    if stated.effect == Effect.PATH and old is not None and old[stated.field] != value:
        following = dict(stated.path).get(str(old[stated.field]), ())
        if old[stated.field] is not None and value not in following:
            message = stated.message or f"cannot go from {old[stated.field]} to {value}"
            return Problem("not_on_the_path", message, stated.field, allowed=following)
    return None


def _create(uow: UnitOfWork, rule: Rule, met: Sequence[Met]) -> None:
    _refuse_too_deep(uow, rule, "create records because of records that rules have created")
    target = uow.catalogue.entity(rule.stated.target)
    with _refusing_by(rule):
        ids = uow.by_rule().create_many(target.name, _filled(rule, target, met))
    firings = [
        _firing(rule, row, {"entity": target.name, "id": made})
        for (_, row, _), made in zip(met, ids, strict=True)
    ]
    _keep(uow, firings)


def _enqueue(uow: UnitOfWork, rule: Rule, met: Sequence[Met]) -> None:
    """Ask for a job for each of the rows; of what is the same, for one."""
    _refuse_too_deep(uow, rule, "ask for jobs because of what jobs that rules asked for have done")
    kind = uow.catalogue.job_kind(rule.stated.target)
    origin = f"rules/{rule.stated.name}"
    requests = [
        Request(
            kind,
            payload,
            key=f"{origin}/{sha256(encode_json(payload).encode()).hexdigest()}",
            origin=origin,
        )
        for payload in _filled(rule, kind.shape, met)
    ]
    with _refusing_by(rule):
        ids = enqueue_many(uow.by_rule(), requests)
    firings = [
        _firing(rule, row, {"kind": kind.name, "job": job})
        for (_, row, _), job in zip(met, ids, strict=True)
    ]
    _keep(uow, firings)


def _filled(rule: Rule, target: Entity, met: Sequence[Met]) -> Rows:
    """The values of the rule for each of the rows, as the fields of the target keep them."""
    names = [name for name, _ in rule.values]
    return [
        {
            name: fit_value(field, value)[0]
            for name, value in zip(names, values, strict=True)
            if (field := target.field(name)) is not None and value is not None
        }
        for _, _, values in met
    ]


def _refuse_too_deep(uow: UnitOfWork, rule: Rule, what: str) -> None:
    if uow.depth >= MOST_DEPTH:
        message = (
            f"the rule {rule.stated.name} would {what}, "
            f"more than {MOST_DEPTH} times one after the other"
        )
        raise Refused(Problem("rules_too_deep", message))


@contextmanager
def _refusing_by(rule: Rule) -> Iterator[None]:
    """Refusals within name the rule."""
    try:
        yield
    except Refused as refused:
        problems = [_by(rule, replace(one, line=None)) for one in refused.problems]
        raise Refused(problems, refused.status) from refused


def _tell(uow: UnitOfWork, entity: Entity, rule: Rule, met: Sequence[Met]) -> None:
    names = [name for name, _ in rule.values]
    happenings = [
        Happening(
            key=f"{rule.stated.name}/{row['id']}/{row['row_version']}",
            subject=f"{entity.plural.replace('_', '-')}/{row['id']}",
            data={
                "rule": rule.stated.name,
                "entity": entity.name,
                "id": row["id"],
                "values": {name: plain(value) for name, value in zip(names, values, strict=True)},
            },
        )
        for _, row, values in met
    ]
    emit_many(uow, RULE_MET, happenings)
    _keep(uow, [_firing(rule, row, {}) for _, row, _ in met])


def _firing(rule: Rule, row: Record, details: Record) -> Record:
    return {
        "rule": rule.stated.name,
        "entity": rule.stated.entity,
        "record_id": row["id"],
        "effect": rule.stated.effect,
        "details": details or None,
    }


def _keep(uow: UnitOfWork, firings: Rows) -> None:
    if firings:
        uow.create_many("rule_firing", firings, by_command=True)


def _by(rule: Rule, problem: Problem) -> Problem:
    return replace(problem, message=f"{problem.message} (by the rule {rule.stated.name})")


def _at(problem: Problem, place: int, rows: Rows) -> Problem:
    return replace(problem, line=place + 1) if len(rows) > 1 else problem
