"""Time-based one-time codes (RFC 6238, TOTP): the second factor of a sign-in."""

import hmac
from datetime import datetime

import pyotp

SECONDS = 30
ISSUER = "Counterfoil"
DRIFT = 1
"""Steps that the clock of a phone may be off, either way."""


def new_secret() -> str:
    """A new secret, as the apps take it (base32, 160 bits)."""
    return pyotp.random_base32()


def enrolment_url(secret: str, username: str) -> str:
    """The otpauth URL that an app reads as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=ISSUER)


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The time step that a code belongs to, or None; a step may be used only once."""
    given = "".join(code.split()).encode("utf-8", "surrogateescape")
    step = int(now.timestamp()) // SECONDS
    totp = pyotp.TOTP(secret)
    found = None
    for candidate in range(step - DRIFT, step + DRIFT + 1):
        if hmac.compare_digest(totp.at(candidate * SECONDS).encode(), given):
            found = candidate
    return found
