"""API keys: for programs, with at most the rights of the user they belong to."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.access.tokens import digest_of, new_token
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

PREFIX = "cfk_"
SHOWN = len(PREFIX) + 8
LONGEST = timedelta(days=366)


def create_key(
    uow: UnitOfWork,
    user_id: int,
    *,
    name: str,
    scopes: Sequence[str] | None,
    expires_at: datetime | None,
) -> tuple[str, Record]:
    """Make a key: its text, answered this once, and its record.

    ``scopes`` have been checked (:func:`roles.check_scopes`); None means all that its user may.
    """
    until = expires_at or uow.now + LONGEST
    if not uow.now < until <= uow.now + LONGEST:
        message = f"has to be in the future, and within {LONGEST.days} days"
        raise Refused(Problem("out_of_range", message, "expires_at"))
    key = new_token(PREFIX)
    values = {
        "access_user_id": user_id,
        "name": name,
        "prefix": key[:SHOWN],
        "key_hash": digest_of(key),
        "scopes": None if scopes is None else list(scopes),
        "expires_at": until,
    }
    return key, uow.create("api_key", values, by_command=True)


def revoke_key(uow: UnitOfWork, key_id: int) -> Record:
    """End a key; again changes nothing."""
    key = uow.get("api_key", key_id)
    if key["revoked_at"] is not None:
        return key
    return uow.update("api_key", key_id, {"revoked_at": uow.now}, by_command=True)
