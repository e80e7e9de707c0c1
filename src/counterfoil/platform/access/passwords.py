"""Passwords as Argon2id hashes."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from counterfoil.core.problems import Problem

SHORTEST = 12
LONGEST = 256

_HASHER = PasswordHasher()
# Of no password: verified for users who are not there, so that these take as long as others.
# Written down, because every command would compute it as it starts.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$PPFswcDT+JM59WQrShO/2Q"
    "$i0OzfVlRWEWNNjmur4JulwVFkKYKK0KNMhGsXgsScYQ"
)


def password_problems(password: str, username: str) -> list[Problem]:
    """What is wrong with a new password; length is what counts."""
    if not SHORTEST <= len(password) <= LONGEST:
        message = f"has to have from {SHORTEST} to {LONGEST} characters"
        return [Problem("unfit_password", message, "password")]
    if password.casefold() == username.casefold() or len(set(password)) < 4:
        return [Problem("unfit_password", "is too easy to guess", "password")]
    return []


def hash_password(password: str) -> str:
    """The hash to keep."""
    return _HASHER.hash(password.encode("utf-8", "surrogateescape"))


def is_password(stored: str | None, password: str) -> bool:
    """Whether a password is the one of a hash; takes as long where there is no hash."""
    given = password[: LONGEST + 1].encode("utf-8", "surrogateescape")
    try:
        _HASHER.verify(stored or _NOBODY, given)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None
