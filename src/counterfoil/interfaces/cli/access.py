"""``counterfoil users``, ``roles`` and ``access``: who may sign in, and what each may do."""

import secrets
from typing import Annotated

import typer

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table
from counterfoil.platform.access.explaining import explain_user
from counterfoil.platform.access.users import (
    create_user,
    end_sessions,
    enrol_totp,
    find_user,
    give_roles,
    remove_totp,
    set_password,
)
from counterfoil.platform.metadata import Record
from counterfoil.platform.metadata.access import OPERATIONS, Operation
from counterfoil.platform.records.unit_of_work import UnitOfWork

users = typer.Typer(no_args_is_help=True, help="Who may sign in.")
roles = typer.Typer(no_args_is_help=True, help="What a role grants, and what it does not.")
access = typer.Typer(no_args_is_help=True, help="Why someone may or may not do something.")

User = Annotated[str, typer.Argument(help="User name.")]
Role = Annotated[str, typer.Argument(help="External id of the role.")]
EntityName = Annotated[str, typer.Argument(help="For example invoice; * means all of business.")]
Ask = Annotated[bool, typer.Option("--ask", help="Ask for the password instead of making one.")]


@users.command()
def add(
    user: User,
    name: Annotated[str | None, typer.Option(help="Full name.")] = None,
    email: Annotated[str | None, typer.Option(help="Mail address.")] = None,
    role: Annotated[list[str] | None, typer.Option(help="Role; may be repeated.")] = None,
    ask: Ask = False,
    as_json: AsJson = False,
) -> None:
    """Make a user with a password, which is shown this once.

    Example: counterfoil users add ada --role clerk
    """
    secret = _password(ask=ask)
    with opened_records() as uow:
        create_user(uow, user, name=name, email=email, password=secret, roles=role or ())
    _show_password("Created user", user, secret, ask=ask, as_json=as_json)


@users.command()
def password(user: User, ask: Ask = False, as_json: AsJson = False) -> None:
    """Give a user a new password, which is shown this once; all sessions end."""
    secret = _password(ask=ask)
    with opened_records() as uow:
        set_password(uow, user, secret)
    _show_password("New password", user, secret, ask=ask, as_json=as_json)


@users.command()
def totp(
    user: User,
    remove: Annotated[bool, typer.Option("--remove", help="Do without a second factor.")] = False,
    as_json: AsJson = False,
) -> None:
    """Begin a second factor, shown this once; it counts once its first code was confirmed."""
    with opened_records() as uow:
        if remove:
            remove_totp(uow, user)
            shown: Record = {"user": user, "second_factor": "none"}
        else:
            secret, url = enrol_totp(uow, user)
            shown = {"user": user, "secret": secret, "url": url}
    print_properties("Second factor", shown, as_json=as_json)


@users.command()
def give(user: User, role: Annotated[list[str], typer.Argument(help="Roles.")]) -> None:
    """Give a user roles."""
    with opened_records() as uow:
        give_roles(uow, user, role)


@users.command()
def take(user: User, role: Role) -> None:
    """Take a role from a user."""
    with opened_records() as uow:
        found = uow.find(
            "user_role",
            access_user_id=find_user(uow, user)["id"],
            access_role_id=_role(uow, role)["id"],
        )
        if found is None:
            message = f"{user} does not have the role {role}"
            raise Refused(Problem("unknown_record", message, "role"), status=404)
        uow.delete_many("user_role", [found["id"]])


@users.command()
def block(user: User) -> None:
    """Let a user in no more; all sessions end.

    `counterfoil records update access_user ada active=true` undoes it.
    """
    with opened_records() as uow:
        found = find_user(uow, user)
        uow.update("access_user", found["id"], {"active": False})
        end_sessions(uow, found["id"])


@users.command("list")
def list_users(as_json: AsJson = False) -> None:
    """Users and their roles."""
    columns = ("user", "name", "email", "active", "roles", "second_factor")
    with opened_records() as uow:
        rows = uow.query(
            "SELECT external_id, name, email, active, array(SELECT role.external_id FROM user_role"
            " JOIN access_role AS role ON role.id = access_role_id"
            " WHERE access_user_id = access_user.id ORDER BY 1) AS roles, totp_step IS NOT NULL"
            " AS second_factor FROM access_user ORDER BY external_id"
        )
    lines = [
        [*list(row.values())[:4], ", ".join(row["roles"]), row["second_factor"]] for row in rows
    ]
    print_table("Users", columns, lines, as_json=as_json)


@roles.command("add")
def add_role(
    role: Role,
    administrator: Annotated[
        bool, typer.Option("--administrator", help="Everything is granted.")
    ] = False,
    command: Annotated[list[str] | None, typer.Option(help="Command; may be repeated.")] = None,
) -> None:
    """Make a role.

    Example: counterfoil roles add clerk --command finalize_invoices
    """
    values = {"external_id": role, "administrator": administrator, "commands": command}
    with opened_records() as uow:
        uow.create("access_role", values)


@roles.command()
def grant(
    role: Role,
    entity: EntityName,
    may: Annotated[str, typer.Option(help="Operations with commas.")] = "read",
    where: Annotated[
        list[str] | None,
        typer.Option(help="Only records with path=value, such as account_id.country=FR."),
    ] = None,
) -> None:
    """Grant operations on an entity; in place of what the role has granted on it.

    Example: counterfoil roles grant clerk invoice --may read,update --where account_id.country=FR
    """
    words = {word.strip() for word in may.split(",")}
    if unknown := words - set(OPERATIONS):
        message = f"{min(unknown)!r} is not an operation"
        raise Refused(Problem("unknown_choice", message, "--may", OPERATIONS))
    values: Record = {f"may_{one}": one in words for one in OPERATIONS}
    values["row_filter"] = [_condition(pair) for pair in where or []] or None
    with opened_records() as uow:
        key = {"access_role_id": _role(uow, role)["id"], "entity": entity}
        found = uow.find("access_grant", **key)
        if found is None:
            uow.create("access_grant", {**key, **values})
        else:
            uow.update("access_grant", found["id"], values)


@roles.command()
def deny(
    role: Role,
    entity: Annotated[str, typer.Argument(help="For example invoice.")],
    field: Annotated[str, typer.Argument(help="Field of the entity.")],
    writing: Annotated[bool, typer.Option("--write", help="Only writing it.")] = False,
) -> None:
    """Deny a field of an entity that the role grants: reading, and with it writing."""
    with opened_records() as uow:
        values = {"access_role_id": _role(uow, role)["id"], "entity": entity, "field": field}
        uow.create("field_rule", {**values, "denies": "write" if writing else "read"})


@roles.command("list")
def list_roles(as_json: AsJson = False) -> None:
    """Roles with what they grant."""
    columns = ("role", "administrator", "commands", "grants", "denied_fields")
    with opened_records() as uow:
        rows = uow.query(
            "SELECT external_id, administrator, commands,"
            " array(SELECT entity || concat(CASE WHEN may_read THEN ' read' END,"
            " CASE WHEN may_create THEN ' create' END, CASE WHEN may_update THEN ' update' END,"
            " CASE WHEN may_delete THEN ' delete' END)"
            " FROM access_grant WHERE access_role_id = access_role.id ORDER BY 1) AS grants,"
            " array(SELECT denies || ' ' || entity || '.' || field FROM field_rule"
            " WHERE access_role_id = access_role.id ORDER BY 1) AS denied"
            " FROM access_role ORDER BY external_id"
        )
    lines = [
        [
            row["external_id"],
            row["administrator"],
            ", ".join(row["commands"] or ()),
            "; ".join(row["grants"]),
            "; ".join(row["denied"]),
        ]
        for row in rows
    ]
    print_table("Roles", columns, lines, as_json=as_json)


@access.command()
def explain(
    user: User,
    entity: Annotated[str, typer.Argument(help="For example invoice.")],
    operation: Annotated[str, typer.Argument(help="read, create, update or delete.")] = "read",
    field: Annotated[str | None, typer.Option(help="A field of the entity.")] = None,
    as_json: AsJson = False,
) -> None:
    """Which role, grant and rule decides whether a user may do something.

    Example: counterfoil access explain ada invoice --field total
    """
    with opened_records() as uow:
        found = explain_user(uow, user, entity, operation_of(operation), field)
    if not as_json:
        said = "; ".join(f"{one['role'] or user}: {one['says']}" for one in found.pop("roles"))
        found["because"] = said
        found["only_where"] = " or ".join(found["only_where"])
    print_properties("Access", found, as_json=as_json)


def operation_of(word: str) -> Operation:
    """The operation of that name; refuses others."""
    found = next((one for one in OPERATIONS if one == word), None)
    if found is None:
        raise Refused(Problem("unknown_choice", "is not an operation", "operation", OPERATIONS))
    return found


def _password(*, ask: bool) -> str:
    if ask:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return secrets.token_urlsafe(15)


def _show_password(title: str, user: str, secret: str, *, ask: bool, as_json: bool) -> None:
    shown = {"user": user} if ask else {"user": user, "password": secret}
    print_properties(title, shown, as_json=as_json)


def _role(uow: UnitOfWork, role: str) -> Record:
    found = uow.find("access_role", external_id=role)
    if found is None:
        raise Refused(Problem("unknown_record", f"there is no role {role!r}", "role"), status=404)
    return found


def _condition(pair: str) -> Record:
    path, equals, value = pair.partition("=")
    if not equals:
        raise Refused(Problem("malformed_value", f"{pair!r} is not path=value", "--where"))
    return {"field": path, "op": "eq", "value": value}
