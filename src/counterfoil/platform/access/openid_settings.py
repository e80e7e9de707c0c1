"""Which identity provider users may sign in at, as the environment tells."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from counterfoil.core.problems import Problem, Refused


@dataclass(frozen=True, slots=True, repr=False)
class OpenIdSettings:
    """The provider, and this program as its client; ``redirect_url`` is where users come back."""

    issuer: str
    client_id: str
    client_secret: str
    redirect_url: str

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> "OpenIdSettings | None":
        """The settings COUNTERFOIL_OPENID_…, or None where there is no issuer."""
        start = "COUNTERFOIL_OPENID_"
        if not env.get(start + "ISSUER"):
            return None
        names = ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "REDIRECT_URL")
        missing = [start + name for name in names if not env.get(start + name)]
        if missing:
            message = "is needed for OpenID sign-in"
            raise Refused([Problem("required", message, name) for name in missing])
        settings = cls(*(env[start + name] for name in names))
        for name in ("ISSUER", "REDIRECT_URL"):
            refuse_open_url(env[start + name], start + name)
        return settings


def refuse_open_url(url: str, name: str) -> None:
    """Refuse a URL without TLS, but of this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise Refused(Problem("not_https", "has to be an https URL", name))
