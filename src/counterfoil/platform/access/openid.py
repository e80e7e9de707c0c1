"""Sign-in at an identity provider: OpenID Connect, authorization code with PKCE.

The provider's configuration and keys are fetched when first needed. Of its ID token signature,
issuer, audience, time and nonce are checked; then the user is known by issuer and subject, or for
the first time by an address that the provider has verified.
"""

import base64
import hashlib
import secrets
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import httpcore
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.access.openid_settings import OpenIdSettings, refuse_open_url
from counterfoil.platform.access.tokens import digest_of
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
LASTS = timedelta(minutes=10)
"""How long a user may take at the provider."""

MOST_PENDING = 1000
LEEWAY = 60
TIMEOUT = 10.0
_MOST_READ = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at the provider: issuer and subject, and the address if it is verified."""

    subject: str
    email: str | None


class IdentityProvider:
    """One provider; may be used from several threads."""

    def __init__(self, settings: OpenIdSettings) -> None:
        self.settings = settings
        trusted = httpcore.default_ssl_context()
        trusted.load_default_certs(ssl.Purpose.SERVER_AUTH)
        self._pool = httpcore.ConnectionPool(ssl_context=trusted)
        self._lock = threading.Lock()
        self._configuration: dict[str, Any] = {}
        self._keys: KeySet | None = None

    def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where the user signs in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": self.settings.redirect_url,
                "scope": "openid email",
                "state": state,
                "nonce": nonce,
                "code_challenge": challenge.decode().rstrip("="),
                "code_challenge_method": "S256",
            }
        )
        endpoint = self._endpoint("authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{query}"

    def identity(self, code: str, verifier: str, nonce: str, now: datetime) -> Identity:
        """Who a code stands for; refuses (401) what the provider or the checks do not accept."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.redirect_url,
            "code_verifier": verifier,
        }
        name, secret = (quote(one, safe="") for one in (self._client(), self._secret()))
        credentials = base64.b64encode(f"{name}:{secret}".encode()).decode()
        answer = self._ask(
            "POST",
            self._endpoint("token_endpoint"),
            {"authorization": f"Basic {credentials}"},
            urlencode(form).encode(),
        )
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _not_accepted()
        return self._checked(token, nonce, now)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._pool.close()

    def _checked(self, token: str, nonce: str, now: datetime) -> Identity:
        try:
            claims = self._decoded(token)
            registry = JWTClaimsRegistry(
                now=int(now.timestamp()),
                leeway=LEEWAY,
                iss={"essential": True, "value": self.settings.issuer},
                aud={"essential": True, "value": self.settings.client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            )
            registry.validate(claims)
        except (JoseError, ValueError, TypeError):
            raise _not_accepted() from None
        if claims.get("azp", self.settings.client_id) != self.settings.client_id:
            raise _not_accepted()
        email = claims.get("email") if claims.get("email_verified") is True else None
        subject = f"{self.settings.issuer} {claims['sub']}"
        return Identity(subject, email if isinstance(email, str) else None)

    def _decoded(self, token: str) -> dict[str, Any]:
        """The claims of a token that one of the provider's keys has signed."""
        try:
            return jwt.decode(token, self._key_set(), list(ALGORITHMS)).claims
        except (JoseError, ValueError):
            # Keys are changed from time to time.
            return jwt.decode(token, self._key_set(renew=True), list(ALGORITHMS)).claims

    def _key_set(self, *, renew: bool = False) -> KeySet:
        with self._lock:
            keys = self._keys
        if keys is None or renew:
            keys = KeySet.import_key_set(self._ask("GET", self._endpoint("jwks_uri")))  # type: ignore[arg-type]
            with self._lock:
                self._keys = keys
        return keys

    def _endpoint(self, name: str) -> str:
        with self._lock:
            known = self._configuration
        if not known:
            url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
            known = self._ask("GET", url)
            if known.get("issuer") != self.settings.issuer:
                raise _unreachable("it calls itself otherwise than the issuer that is set")
            with self._lock:
                self._configuration = known
        endpoint = known.get(name)
        if not isinstance(endpoint, str):
            raise _unreachable(f"it has no {name}")
        refuse_open_url(endpoint, name)
        return endpoint

    def _ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> dict[str, Any]:
        sent = {"accept": "application/json", **(headers or {})}
        if content is not None:
            sent["content-type"] = "application/x-www-form-urlencoded"
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)
        try:
            with self._pool.stream(
                method,
                url,
                headers=list(sent.items()),
                content=content,
                extensions={"timeout": timeouts},
            ) as response:
                status, body = response.status, _beginning(response)
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as fault:
            raise _unreachable(str(fault) or type(fault).__name__) from None
        if status != 200:
            # A refused code is the user's matter, everything else the provider's.
            raise _not_accepted() if 400 <= status < 500 else _unreachable(f"answered {status}")
        try:
            decoded = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise _unreachable("its answer is no JSON object") from None
        return decoded

    def _client(self) -> str:
        return self.settings.client_id

    def _secret(self) -> str:
        return self.settings.client_secret


def begin_openid(uow: UnitOfWork, provider: IdentityProvider) -> tuple[str, str]:
    """Begin a sign-in: the URL to send the user to, and the state that the browser keeps."""
    uow.execute("DELETE FROM openid_sign_in WHERE expires_at <= :now", now=uow.now)
    pending = uow.query("SELECT count(*) AS pending FROM openid_sign_in")[0]["pending"]
    if pending >= MOST_PENDING:
        message = "too many sign-ins are under way; try again in some minutes"
        raise Refused(Problem("too_many_attempts", message), status=429, retry_after=60)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    url = provider.authorization_url(state, nonce, verifier)
    values: Record = {
        "state_hash": digest_of(state),
        "nonce": nonce,
        "verifier": verifier,
        "expires_at": uow.now + LASTS,
    }
    uow.create("openid_sign_in", values, by_command=True)
    return url, state


def take_state(uow: UnitOfWork, state: str) -> tuple[str, str]:
    """The nonce and the verifier of a sign-in that comes back; each state counts once."""
    rows = uow.query(
        "DELETE FROM openid_sign_in WHERE state_hash = :state"
        " RETURNING nonce, verifier, expires_at",
        state=digest_of(state),
    )
    if not rows or rows[0]["expires_at"] <= uow.now:
        raise _not_accepted()
    return rows[0]["nonce"], rows[0]["verifier"]


def user_of_identity(uow: UnitOfWork, identity: Identity) -> Record:
    """The user of an identity; by a verified address the first time, and by the subject from then
    on. Refused (401): users are made by administrators, not by providers."""
    known = uow.query(
        "SELECT * FROM access_user WHERE openid_subject = :subject AND active",
        subject=identity.subject,
    )
    if known:
        return known[0]
    if identity.email is not None:
        found = uow.query(
            "SELECT * FROM access_user WHERE lower(email) = lower(:email) AND active"
            " AND openid_subject IS NULL FOR UPDATE",
            email=identity.email,
        )
        if len(found) == 1:
            uow.update("access_user", found[0]["id"], {"openid_subject": identity.subject})
            return found[0]
    raise _not_accepted()


def _beginning(response: httpcore.Response) -> bytes:
    body = b""
    for part in response.iter_stream():
        body += part
        if len(body) > _MOST_READ:
            raise _unreachable("its answer is too long")
    return body


def _not_accepted() -> Refused:
    message = "this sign-in is not accepted; begin again"
    return Refused(Problem("unauthorized", message), status=401)


def _unreachable(reason: str) -> Refused:
    message = f"the identity provider cannot be used: {reason}"
    return Refused(Problem("provider_unreachable", message), status=503)
