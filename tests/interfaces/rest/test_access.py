"""Nothing answers without the token, and nothing is changed; changes meet the version meant."""

import stat
from pathlib import Path

import httpx
import pytest

from counterfoil.core.problems import Refused
from counterfoil.interfaces.http.authentication import load_admin_token
from counterfoil.platform.access.tokens import AdminToken


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", "Basic nonsense", "correct horse battery staple"],
)
@pytest.mark.parametrize("path", ["/accounts", "/openapi.json", "/nothing-here"])
def test_a_bad_token_gets_nothing(served, acme, header, path) -> None:  # type: ignore[no-untyped-def]
    before = served.count("account")
    headers = {} if header is None else {"Authorization": header}
    with served.client(None) as stranger:
        for refused in (
            stranger.get(path, headers=headers),
            stranger.post(path, headers=headers, json=acme),
        ):
            assert refused.status_code == 401
            assert refused.headers["content-type"] == "application/problem+json"
            assert refused.headers["www-authenticate"].startswith("Bearer")
    assert served.count("account") == before


def test_only_healthz_is_open_and_says_nothing_else(served) -> None:  # type: ignore[no-untyped-def]
    assert httpx.get(served.url + "/healthz").json() == {"status": "ok"}
    for path in ("/", "/docs", "/redoc", "/openapi.json"):
        assert httpx.get(served.url + path).status_code == 401


def test_every_answer_carries_the_security_headers(served, api: httpx.Client) -> None:  # type: ignore[no-untyped-def]
    for response in (api.get("/accounts"), api.get("/nothing/at/all"), httpx.get(served.url)):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in response.headers["content-security-policy"]


def test_a_token_is_made_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    token, text = load_admin_token(tmp_path, None)
    assert text is not None
    assert token.admits(f"Bearer {text}".encode())
    kept = list(tmp_path.iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in kept] == [0o600]
    assert text not in kept[0].read_text()
    assert load_admin_token(tmp_path, None) == (token, None)
    renewed, fresh = load_admin_token(tmp_path, None, renew=True)
    assert fresh != text
    assert renewed != token


def test_the_token_of_the_environment_wins_and_leaves_no_file(tmp_path: Path) -> None:
    for mine in ("correct horse battery staple", "3f1c9a52b7e04d8896aa1f0e2c3b4d5e"):
        assert load_admin_token(tmp_path, mine) == (AdminToken.of(mine), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("secret", "has 6 characters, and has to have at least 24"),
        ("x7Kq93mPz2Rv8LtW4nYc6Bd", "has 23 characters"),
        ("administrator-token-12345678", "too easy to guess"),
        ("changeme-changeme-changeme", "too easy to guess"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "too easy to guess"),
        ("counterfoil_admin_token_1234567890", "too easy to guess"),
    ],
)
def test_a_weak_token_is_refused_before_anybody_is_answered(
    tmp_path: Path, token: str, why: str
) -> None:
    with pytest.raises(Refused, match=why) as refused:
        load_admin_token(tmp_path, token)
    assert refused.value.problems[0].field == "COUNTERFOIL_ADMIN_TOKEN"
    assert token not in str(refused.value)


def test_the_token_is_not_shown_by_accident() -> None:
    assert "digest" not in repr(AdminToken.of("secret"))


def test_a_change_meets_the_version_it_names(api: httpx.Client, acme: dict[str, str]) -> None:
    created = api.post("/accounts", json=acme)
    path = f"/accounts/{created.json()['id']}"
    first = created.headers["etag"]
    changed = api.patch(path, json={"name": "Acme Ltd"}, headers={"If-Match": first})
    assert changed.status_code == 200
    assert changed.headers["etag"] == '"2"'
    late = api.patch(path, json={"name": "Lost"}, headers={"If-Match": first})
    assert late.status_code == 412
    assert api.patch(path, json={"name": "Lost", "row_version": 1}).status_code == 409
    assert api.patch(path, json={}, headers={"If-Match": "yesterday"}).status_code == 400
    assert api.get(path).json()["name"] == "Acme Ltd"


def test_an_unchanged_record_is_not_sent_again(api: httpx.Client, acme: dict[str, str]) -> None:
    created = api.post("/accounts", json=acme)
    path = f"/accounts/{created.json()['id']}"
    same = api.get(path, headers={"If-None-Match": created.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")
