"""Signatures of messages by the Standard Webhooks convention (standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
from datetime import datetime

PREFIX = "whsec_"
SHORTEST_KEY, LONGEST_KEY = 24, 64


def read_secret(secret: str) -> bytes:
    """The key of a secret ``whsec_…``; ValueError, without the secret in it, when it is none."""
    if not secret.startswith(PREFIX):
        raise ValueError(f"must begin with {PREFIX}")
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be base64 behind {PREFIX}") from None
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(
            f"must hold {SHORTEST_KEY} to {LONGEST_KEY} bytes, not {len(key)}; "
            "`openssl rand -base64 32` makes some"
        )
    return key


def secret_of(key: bytes) -> str:
    """The secret in which a key is told."""
    return PREFIX + base64.b64encode(key).decode()


def signature_headers(
    secret: str, message_id: str, now: datetime, body: bytes
) -> dict[bytes | str, bytes | str]:
    """The three headers that a receiver verifies a body by; ``now`` is when it is sent."""
    timestamp = str(int(now.timestamp()))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    digest = hmac.new(read_secret(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
