"""Sessions: begun by a sign-in, known by a token of which only the hash is kept."""

from datetime import datetime, timedelta

from counterfoil.platform.access.tokens import digest_of, new_token
from counterfoil.platform.records.unit_of_work import UnitOfWork

PREFIX = "cfs_"
LASTS = timedelta(hours=12)


def begin_session(uow: UnitOfWork, user_id: int, via: str) -> tuple[str, datetime]:
    """Begin a session of a user: its token, and when it expires."""
    token = new_token(PREFIX)
    expires_at = uow.now + LASTS
    values = {
        "access_user_id": user_id,
        "token_hash": digest_of(token),
        "via": via,
        "expires_at": expires_at,
    }
    uow.create("access_session", values, by_command=True)
    return token, expires_at


def end_session(uow: UnitOfWork, session_id: int) -> None:
    """End one session."""
    uow.update("access_session", session_id, {"ended_at": uow.now}, by_command=True)
