"""Why someone may or may not do something: which role, grant and rule decided."""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.access.roles import Role, compile_access, load_roles
from counterfoil.platform.access.users import find_user
from counterfoil.platform.metadata import Access, Catalogue, Entity, Record
from counterfoil.platform.metadata.access import EVERY_ROW, Operation, seen_catalogue
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Reason:
    """What one role says to a question: allowed or not, and why."""

    role: str
    allows: bool
    says: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to a question about access, with what each role says.

    ``rows`` tells the conditions of the records for which it holds, empty for all.
    """

    allowed: bool
    reasons: tuple[Reason, ...]
    rows: tuple[str, ...] = ()


def explain_access(
    roles: Sequence[Role],
    catalogue: Catalogue,
    entity: str,
    operation: Operation,
    field: str | None = None,
) -> Explanation:
    """Whether someone with these roles may do this with the entity, or with a field of it."""
    declared = catalogue.entity(entity)
    if field is not None and declared.field(field) is None:
        known = tuple(one.name for one in declared.readable)
        message = f"{entity} has no such field"
        raise Refused(Problem("unknown_field", message, "field", known))
    access = compile_access(roles, catalogue)
    reasons = [_reason(role, declared, operation, field) for role in roles]
    if not roles:
        reasons = [Reason("", allows=False, says="has no role, so nothing is granted")]
    return Explanation(
        allowed=may(access, catalogue, entity, operation, field),
        reasons=tuple(reasons),
        rows=_rows_in_words(access, entity, operation),
    )


def may(
    access: Access, catalogue: Catalogue, entity: str, operation: Operation, field: str | None
) -> bool:
    """Whether an access lets the operation through; this is what counts, in every statement."""
    if not access.may(entity, operation) or field is None or operation == "delete":
        return access.may(entity, operation)
    seen = seen_catalogue(access, catalogue).entity(entity).field(field)
    if seen is None or (operation == "read" and seen.secret):
        return False
    return operation not in ("create", "update") or not seen.computed


def _reason(role: Role, declared: Entity, operation: Operation, field: str | None) -> Reason:
    if role.administrator:
        return Reason(role.name, allows=True, says="is an administrator's: everything is granted")
    entity, grant = declared.name, role.grant(declared)
    if grant is None:
        covered = "; * does not mean it" if declared.apart else ""
        return Reason(role.name, allows=False, says=f"has no grant for {entity}{covered}")
    which = "all of business (*)" if grant.entity == "*" else entity
    if operation not in grant.operations:
        granted = ", ".join(sorted(grant.operations)) or "nothing"
        return Reason(role.name, allows=False, says=f"grants {granted} on {which}, no {operation}")
    says = f"grants {operation} on {which}"
    if field is not None and operation != "delete":
        kinds = ("read",) if operation == "read" else ("read", "write")
        if field in role.denied(entity, *kinds):
            denial = "read" if field in role.denied(entity, "read") else "write"
            return Reason(
                role.name, allows=False, says=f"{says}, but a rule denies {denial} {field}"
            )
    if grant.conditions:
        met = " and ".join(f"{one.path} {one.op} {one.value}" for one in grant.conditions)
        says += f", where {met}"
    return Reason(role.name, allows=True, says=says)


def _rows_in_words(access: Access, entity: str, operation: Operation) -> tuple[str, ...]:
    rows = access.rows(entity, operation)
    if rows == EVERY_ROW:
        return ()
    return tuple(
        " and ".join(f"{one.path} {one.op} {one.value}" for one in conditions)
        for conditions in rows
    )


def explain_user(
    uow: UnitOfWork, username: str, entity: str, operation: Operation, field: str | None
) -> Record:
    """The explanation of one question, as it is answered."""
    user = find_user(uow, username)
    ids = [
        row["access_role_id"]
        for row in uow.query(
            "SELECT access_role_id FROM user_role WHERE access_user_id = :user ORDER BY id",
            user=user["id"],
        )
    ]
    found = explain_access(load_roles(uow, ids), uow.catalogue, entity, operation, field or None)
    return {
        "user": username,
        "entity": entity,
        "operation": operation,
        "field": field,
        "allowed": found.allowed and user["active"],
        "only_where": list(found.rows),
        "roles": [
            {"role": one.role, "allows": one.allows, "says": one.says} for one in found.reasons
        ],
    }
