"""Signing in at an identity provider: a small one of our own, which may also lie."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import httpx
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from tests.interfaces.rest.conftest import TOKEN, Served

from counterfoil.bootstrap import Settings, scratch_organisation
from counterfoil.core.problems import Refused
from counterfoil.interfaces.cli.serve import listening_socket
from counterfoil.interfaces.rest.app import build_app
from counterfoil.interfaces.rest.openid import COOKIE
from counterfoil.platform.access.openid import IdentityProvider, OpenIdSettings

CLIENT, SECRET = "counterfoil", "a secret: with marks"


class Provider(ThreadingHTTPServer):
    """An identity provider at which everybody is Ada, unless a test says otherwise."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.key: RSAKey | ECKey = RSAKey.generate_key(2048, {"kid": "1", "use": "sig"})
        self.algorithm = "RS256"
        self.signer: RSAKey | ECKey | None = None
        self.claims: dict[str, object] = {}
        self.codes: dict[str, dict[str, str]] = {}

    def authorize(self, query: dict[str, str]) -> str:
        """The user agrees: where the browser is sent back to."""
        code = f"code-{len(self.codes)}"
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, object] | None:
        name, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if (name, secret) != (CLIENT, "a%20secret%3A%20with%20marks") or asked is None:
            return None
        if (asked["code_challenge_method"], asked["code_challenge"]) != ("S256", challenge):
            return None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "ada-7",
            "exp": now + 60,
            "iat": now,
            "nonce": asked["nonce"],
            "email": "Ada@acme.example",
            "email_verified": True,
        }
        claims |= self.claims
        header = {"alg": self.algorithm, "kid": "1"}
        return {"id_token": jwt.encode(header, claims, self.signer or self.key)}


class Requests(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        issuer = self.server.issuer
        if self.path == "/.well-known/openid-configuration":
            self.answer(
                {
                    "issuer": issuer,
                    "authorization_endpoint": f"{issuer}/authorize",
                    "token_endpoint": f"{issuer}/token",
                    "jwks_uri": f"{issuer}/jwks",
                }
            )
        else:
            self.answer(KeySet([self.server.key]).as_dict(private=False))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        answer = self.server.token(dict(parse_qsl(body)), self.headers["authorization"])
        self.answer(answer or {"error": "invalid_grant"}, 200 if answer else 400)

    def answer(self, value: object, status: int = 200) -> None:
        encoded = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    """The provider, for the tests of this module."""
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def provider(running: Provider) -> Iterator[Provider]:
    """The provider, honest until a test says otherwise."""
    key, algorithm = running.key, running.algorithm
    yield running
    running.key, running.algorithm = key, algorithm
    running.claims, running.signer = {}, None


@pytest.fixture(scope="module")
def place(server: Settings, running: Provider) -> Iterator[Served]:
    """A server whose users may sign in at the provider; Ada is one of them and has done so."""
    with scratch_organisation(server) as organisation, listening_socket("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()
        url = f"http://{host}:{port}"
        back = f"{url}/api/v1/openid/callback"
        identity = IdentityProvider(OpenIdSettings(running.issuer, CLIENT, SECRET, back))
        app = build_app(organisation, TOKEN, (), identity)
        serving = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        served = Served(url, organisation)
        add_user(served, "ada")
        with served.client(None) as browser:
            assert browser.get(sent_back(served, running, browser)).status_code == 201
        yield served
        serving.should_exit = True
        thread.join()
        identity.close()


def add_user(place: Served, name: str) -> None:
    user = {"external_id": name, "email": f"{name}@acme.example"}
    with place.client() as api:
        assert api.post("/access-users", json=user).status_code == 201


def sent_back(place: Served, provider: Provider, browser: httpx.Client) -> str:
    """Begin, sign in at the provider; where the browser is sent back to."""
    begun = browser.post("/openid-sign-ins")
    assert begun.status_code == 201, begun.text
    parts = urlsplit(begun.json()["authorization_url"])
    assert f"{parts.scheme}://{parts.netloc}" == provider.issuer
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert (query["response_type"], query["scope"]) == ("code", "openid email")
    return provider.authorize(query)


def test_a_verified_address_finds_the_user_once_and_then_the_subject(
    place: Served, provider: Provider
) -> None:
    add_user(place, "eve")
    for address in ("Eve@acme.example", "changed@acme.example"):
        provider.claims = {"sub": "eve-9", "email": address}
        with place.client(None) as browser:
            back = browser.get(sent_back(place, provider, browser))
        assert back.status_code == 201, back.text
        assert back.json()["user"] == "eve"
        with place.client(back.json()["token"]) as api:
            assert api.get("/me").json()["user"] == "eve"
    with place.client() as api:
        (user,) = api.get("/access-users?external_id=eve").json()["records"]
        assert user["openid_subject"] == f"{provider.issuer} eve-9"
        sessions = api.get(f"/access-sessions?access_user_id={user['id']}").json()["records"]
        assert [session["via"] for session in sessions] == ["openid", "openid"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"iss": "https://another.example"},
        {"nonce": "another"},
        {"exp": 1},
        {"azp": "another", "aud": [CLIENT, "another"]},
        {"sub": None},
        {"sub": "bob-8"},
        {"sub": "bob-8", "email_verified": False},
        {"sub": "bob-8", "email_verified": "true"},
        {"sub": "bob-8", "email": "bob@acme.example"},
    ],
    ids=str,
)
def test_a_token_that_is_not_right_is_not_accepted(
    place: Served, provider: Provider, claims: dict[str, object]
) -> None:
    """Ada is known by her subject already: her address is no way in for another subject."""
    sessions = place.count("access_session")
    provider.claims = claims
    with place.client(None) as browser:
        refused = browser.get(sent_back(place, provider, browser))
    assert refused.status_code == 401
    assert refused.json()["detail"] == "this sign-in is not accepted; begin again"
    assert place.count("access_session") == sessions


def test_a_token_that_the_provider_has_not_signed_is_not_accepted(
    place: Served, provider: Provider
) -> None:
    provider.signer = RSAKey.generate_key(2048, {"kid": "1"})
    with place.client(None) as browser:
        assert browser.get(sent_back(place, provider, browser)).status_code == 401


def test_new_keys_of_the_provider_are_fetched(place: Served, provider: Provider) -> None:
    provider.key = ECKey.generate_key("P-256", {"kid": "1", "use": "sig"})
    provider.algorithm = "ES256"
    with place.client(None) as browser:
        assert browser.get(sent_back(place, provider, browser)).status_code == 201


def test_only_the_browser_that_was_sent_may_come_back_and_once(
    place: Served, provider: Provider
) -> None:
    with place.client(None) as browser, place.client(None) as another:
        back = sent_back(place, provider, browser)
        assert another.get(back).status_code == 401
        cookie = {"Cookie": f"{COOKIE}={browser.cookies[COOKIE]}"}
        assert browser.get(back).status_code == 201
        assert another.get(back, headers=cookie).status_code == 401
        forged = back.replace("state=", "state=x")
        assert another.get(forged, headers=cookie).status_code == 401


def test_without_a_provider_there_is_nothing(served: Served) -> None:
    with served.client(None) as browser:
        assert browser.post("/openid-sign-ins").status_code == 404
        assert browser.get("/openid/callback?code=1&state=2").status_code == 404


def test_the_settings_are_complete_and_secure() -> None:
    start = "COUNTERFOIL_OPENID_"
    assert OpenIdSettings.from_environment({}) is None
    with pytest.raises(Refused) as refused:
        OpenIdSettings.from_environment({start + "ISSUER": "https://id.example"})
    assert len(refused.value.problems) == 3
    whole = {
        start + "ISSUER": "http://id.example",
        start + "CLIENT_ID": "x",
        start + "CLIENT_SECRET": "y",
        start + "REDIRECT_URL": "https://billing.example/api/v1/openid/callback",
    }
    with pytest.raises(Refused) as refused:
        OpenIdSettings.from_environment(whole)
    assert refused.value.problems[0].code == "not_https"
