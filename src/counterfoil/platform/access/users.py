"""Commands on users: made, given a password, a second factor and roles."""

import secrets
from collections.abc import Sequence

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.access.one_time_codes import enrolment_url, matching_step, new_secret
from counterfoil.platform.access.passwords import hash_password, password_problems
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

ADMINISTRATOR = "admin"
"""The user name of the first administrator."""

ADMINISTRATOR_ROLE = "administrator"


def create_user(
    uow: UnitOfWork,
    username: str,
    *,
    name: str | None = None,
    email: str | None = None,
    password: str | None = None,
    roles: Sequence[str] = (),
) -> Record:
    """Make a user, with a password and roles where they are given."""
    user = uow.create("access_user", {"external_id": username, "name": name, "email": email})
    if password is not None:
        set_password(uow, username, password)
    give_roles(uow, username, roles)
    return user


def find_user(uow: UnitOfWork, username: str) -> Record:
    """The user of a name; refuses (404) an unknown one."""
    found = uow.find("access_user", external_id=username)
    if found is None:
        raise Refused(Problem("unknown_record", f"there is no user {username!r}", "user"), 404)
    return found


def set_password(uow: UnitOfWork, username: str, password: str) -> None:
    """Give a user a password; all sessions of the user end."""
    user = find_user(uow, username)
    problems = password_problems(password, username)
    if problems:
        raise Refused(problems)
    _keep_password(uow, user["id"], password)
    end_sessions(uow, user["id"])


def _keep_password(uow: UnitOfWork, user_id: int, password: str) -> None:
    change = {"password_hash": hash_password(password)}
    uow.update("access_user", user_id, change, by_command=True)


def end_sessions(uow: UnitOfWork, user_id: int) -> None:
    """End every open session of a user."""
    rows = uow.query(
        "SELECT id FROM access_session WHERE access_user_id = :user AND ended_at IS NULL"
        " AND expires_at > :now FOR UPDATE",
        user=user_id,
        now=uow.now,
    )
    ended: list[tuple[int, Record]] = [(row["id"], {"ended_at": uow.now}) for row in rows]
    uow.update_many("access_session", ended, by_command=True)


def give_roles(uow: UnitOfWork, username: str, roles: Sequence[str]) -> None:
    """Give a user roles by their external ids; those he has already are left as they are."""
    if not roles:
        return
    user = find_user(uow, username)
    ids = uow.ids_by("access_role", "external_id", roles)
    unknown = [role for role in roles if role not in ids]
    if unknown:
        known = tuple(row["external_id"] for row in uow.list("access_role", limit=1000).records)
        message = f"there is no role {unknown[0]!r}"
        raise Refused(Problem("unknown_record", message, "roles", known), 404)
    had = {
        row["access_role_id"]
        for row in uow.query(
            "SELECT access_role_id FROM user_role WHERE access_user_id = :user", user=user["id"]
        )
    }
    wanted = [ids[role] for role in dict.fromkeys(roles) if ids[role] not in had]
    given = [{"access_user_id": user["id"], "access_role_id": role} for role in wanted]
    uow.create_many("user_role", given)


def enrol_totp(uow: UnitOfWork, username: str) -> tuple[str, str]:
    """A new second factor: its secret and the URL for an app, shown this once.

    It counts as soon as :func:`confirm_totp` has seen a code of it. Refused (409) who has one that
    counts: it would end before the new one is known to work.
    """
    user = find_user(uow, username)
    if uow.query(
        "SELECT 1 FROM access_user WHERE id = :user AND totp_step IS NOT NULL", user=user["id"]
    ):
        message = "there is a second factor; give it up first"
        raise Refused(Problem("second_factor_exists", message), status=409)
    secret = new_secret()
    change = {"totp_secret": secret, "totp_step": None}
    uow.update("access_user", user["id"], change, by_command=True)
    return secret, enrolment_url(secret, username)


def confirm_totp(uow: UnitOfWork, username: str, code: str) -> None:
    """Take the first code; from now on a sign-in with the password needs one."""
    user = find_user(uow, username)
    if not take_code(uow, user["id"], code):
        raise Refused(Problem("wrong_code", "is not the code of this moment", "code"))


def remove_totp(uow: UnitOfWork, username: str) -> None:
    """Sign in with the password alone again."""
    user = find_user(uow, username)
    change = {"totp_secret": None, "totp_step": None}
    uow.update("access_user", user["id"], change, by_command=True)


def take_code(uow: UnitOfWork, user_id: int, code: str) -> bool:
    """Whether a code is right now the user's, and was not taken before; now it is."""
    rows = uow.query("SELECT totp_secret FROM access_user WHERE id = :user", user=user_id)
    step = matching_step(rows[0]["totp_secret"] or "", code, uow.now)
    if step is None or rows[0]["totp_secret"] is None:
        return False
    taken = uow.execute(
        "UPDATE access_user SET totp_step = :step WHERE id = :user"
        " AND (totp_step IS NULL OR totp_step < :step)",
        step=step,
        user=user_id,
    )
    return taken == 1


def make_administrator(uow: UnitOfWork, password: str | None) -> str | None:
    """Make the first user, ``admin``, where there is none; a password made for it, or None.

    What is answered has to be shown once; it is stored only as a hash. A password that the operator
    of the machine gives is taken as it is, however short.
    """
    uow.query("SELECT pg_advisory_xact_lock(hashtextextended('first administrator', 0))")
    if uow.query("SELECT 1 AS found FROM access_user LIMIT 1"):
        return None
    if uow.find("access_role", external_id=ADMINISTRATOR_ROLE) is None:
        role = {"external_id": ADMINISTRATOR_ROLE, "name": "Administrator", "administrator": True}
        uow.create("access_role", role)
    made = secrets.token_urlsafe(15) if password is None else None
    user = create_user(uow, ADMINISTRATOR, name="Administrator", roles=[ADMINISTRATOR_ROLE])
    _keep_password(uow, user["id"], password or str(made))
    return made
