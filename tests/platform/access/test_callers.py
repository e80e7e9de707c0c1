"""Who comes in: passwords, second factors, sessions, API keys; and who does not."""

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from counterfoil.core.problems import Refused
from counterfoil.platform.access.callers import ADMIN, Entrance
from counterfoil.platform.access.keys import create_key, revoke_key
from counterfoil.platform.access.sessions import LASTS, end_session
from counterfoil.platform.access.throttling import FREE
from counterfoil.platform.access.tokens import AdminToken
from counterfoil.platform.access.users import (
    confirm_totp,
    create_user,
    enrol_totp,
    make_administrator,
    remove_totp,
    set_password,
)
from counterfoil.platform.records.database import Database

NOW = datetime(2026, 2, 1, 12, 0, tzinfo=UTC)
PASSWORD = "a horse in the rain"


@pytest.fixture
def entrance(database: Database) -> Entrance:
    """The entrance of an organisation in which Ada is a clerk who reads accounts."""
    with database.transaction(now=NOW) as uow:
        role = uow.create("access_role", {"external_id": "clerk", "commands": ["run_bills"]})
        uow.create("access_grant", {"access_role_id": role["id"], "entity": "account"})
        create_user(uow, "ada", password=PASSWORD, roles=["clerk"])
    return Entrance(database, AdminToken.of("the administrator's token"))


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def basic(username: str, password: str) -> dict[str, str]:
    text = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"authorization": f"Basic {text}"}


def refusal(act, *given, **named) -> Refused:  # type: ignore[no-untyped-def]
    with pytest.raises(Refused) as caught:
        act(*given, **named)
    return caught.value


def test_a_session_is_the_users_until_it_ends(database: Database, entrance: Entrance) -> None:
    signed_in = entrance.sign_in("ada", PASSWORD, now=NOW)
    caller = entrance.caller(bearer(signed_in.token), now=NOW)
    assert caller.actor == "ada"
    assert caller.access.may("account", "read")
    assert not caller.access.may("account", "update")
    assert caller.access.may_run("run_bills")
    late = refusal(entrance.caller, bearer(signed_in.token), now=NOW + LASTS)
    assert late.status == 401
    with database.transaction(now=NOW) as uow:
        end_session(uow, caller.session_id or 0)
    assert refusal(entrance.caller, bearer(signed_in.token), now=NOW).status == 401


def test_nothing_tells_which_part_of_the_credentials_was_wrong(entrance: Entrance) -> None:
    wrong = refusal(entrance.sign_in, "ada", "another password", now=NOW)
    unknown = refusal(entrance.sign_in, "bob", PASSWORD, now=NOW)
    assert (wrong.status, str(wrong)) == (unknown.status, str(unknown))
    for token in ("", "x", "cfk_x", "cfs_x", "ä\udcff"):
        assert refusal(entrance.caller, bearer(token), now=NOW).status == 401
    for name in ("\x00", "a" * 5000, "\udcff"):
        assert refusal(entrance.sign_in, name, PASSWORD, now=NOW).status == 401


def test_the_administrators_token_opens_everything(entrance: Entrance) -> None:
    assert entrance.caller(bearer("the administrator's token"), now=NOW) is ADMIN
    assert ADMIN.access.unrestricted


def test_basic_credentials_are_the_users(entrance: Entrance) -> None:
    for _ in range(2):
        assert entrance.caller(basic("ada", PASSWORD), now=NOW).actor == "ada"
    assert refusal(entrance.caller, basic("ada", "another password"), now=NOW).status == 401


def test_a_user_who_is_not_active_does_not_come_in(database: Database, entrance: Entrance) -> None:
    token = entrance.sign_in("ada", PASSWORD, now=NOW).token
    with database.transaction(now=NOW) as uow:
        (user,) = uow.list("access_user").records
        uow.update("access_user", user["id"], {"active": False})
    for headers in (bearer(token), basic("ada", PASSWORD)):
        assert refusal(entrance.caller, headers, now=NOW).status == 401


def test_a_new_password_ends_the_sessions(database: Database, entrance: Entrance) -> None:
    token = entrance.sign_in("ada", PASSWORD, now=NOW).token
    entrance.caller(basic("ada", PASSWORD), now=NOW)
    with database.transaction(now=NOW) as uow:
        set_password(uow, "ada", "a cow in the sunshine")
    for headers in (bearer(token), basic("ada", PASSWORD)):
        assert refusal(entrance.caller, headers, now=NOW).status == 401
    assert entrance.sign_in("ada", "a cow in the sunshine", now=NOW).caller.actor == "ada"


@pytest.mark.parametrize("password", ["short", "a" * 300, "aaaaaaaaaaaaaaaa", "ada-lovelace-1"])
def test_easy_passwords_are_refused(database: Database, password: str) -> None:
    with database.transaction(now=NOW) as uow:
        refused = refusal(create_user, uow, "ada-lovelace-1", password=password)
        assert refused.problems[0].code == "unfit_password"


@pytest.mark.parametrize("username", ["ada", "nobody"])
def test_failed_sign_ins_are_slowed_down(entrance: Entrance, username: str) -> None:
    now = NOW
    for _ in range(FREE):
        assert refusal(entrance.sign_in, username, "a wrong password", now=now).status == 401
    blocked = refusal(entrance.sign_in, username, PASSWORD, now=now)
    assert (blocked.status, blocked.problems[0].code) == (429, "too_many_attempts")
    assert "1 seconds" in str(blocked)
    assert blocked.retry_after == 1
    now += timedelta(seconds=2)
    assert refusal(entrance.sign_in, username, "a wrong password", now=now).status == 401
    assert "2 seconds" in str(refusal(entrance.sign_in, username, PASSWORD, now=now))
    if username == "ada":
        now += timedelta(seconds=3)
        assert entrance.sign_in("ada", PASSWORD, now=now).caller.actor == "ada"
        assert refusal(entrance.sign_in, "ada", "a wrong password", now=now).status == 401


def test_many_guesses_at_once_are_no_way_around_it(entrance: Entrance) -> None:
    def guess(number: int) -> int:
        return refusal(entrance.sign_in, "ada", f"wrong password {number}", now=NOW).status

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(guess, range(24)))
    assert statuses.count(401) == FREE
    assert statuses.count(429) == 24 - FREE


def test_a_code_is_taken_once_however_many_send_it(database: Database, entrance: Entrance) -> None:
    with database.transaction(now=NOW) as uow:
        secret, _ = enrol_totp(uow, "ada")
        confirm_totp(uow, "ada", pyotp.TOTP(secret).at(NOW))
    later = NOW + timedelta(minutes=5)
    code = pyotp.TOTP(secret).at(later)

    def sign_in(entrance: Entrance) -> bool:
        try:
            return entrance.sign_in("ada", PASSWORD, code, now=later).caller.actor == "ada"
        except Refused:
            return False

    processes = [Entrance(database) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(sign_in, processes)) == 1


def test_a_second_factor_is_asked_for_once_confirmed(
    database: Database, entrance: Entrance
) -> None:
    with database.transaction(now=NOW) as uow:
        secret, url = enrol_totp(uow, "ada")
    assert url.startswith("otpauth://totp/Counterfoil:ada?secret=")
    codes = pyotp.TOTP(secret)
    assert entrance.sign_in("ada", PASSWORD, now=NOW), "it does not count before it is confirmed"
    with database.transaction(now=NOW) as uow:
        assert refusal(confirm_totp, uow, "ada", "000000").problems[0].code == "wrong_code"
        confirm_totp(uow, "ada", codes.at(NOW))
        # It would not be asked for until the new one is confirmed.
        assert refusal(enrol_totp, uow, "ada").problems[0].code == "second_factor_exists"
    without = refusal(entrance.sign_in, "ada", PASSWORD, now=NOW)
    replayed = refusal(entrance.sign_in, "ada", PASSWORD, codes.at(NOW), now=NOW)
    assert str(without) == str(replayed)
    later = NOW + timedelta(seconds=30)
    assert entrance.sign_in("ada", PASSWORD, codes.at(later), now=later).caller.actor == "ada"
    assert refusal(entrance.sign_in, "ada", PASSWORD, codes.at(later), now=later).status == 401
    assert refusal(entrance.caller, basic("ada", PASSWORD), now=later).status == 401
    with database.transaction(now=NOW) as uow:
        remove_totp(uow, "ada")
    assert entrance.sign_in("ada", PASSWORD, now=later)


def test_an_api_key_has_at_most_its_scopes(database: Database, entrance: Entrance) -> None:
    with database.transaction(now=NOW) as uow:
        (user,) = uow.list("access_user").records
        until = NOW + timedelta(days=10)
        key, record = create_key(
            uow, user["id"], name="CRM", scopes=["command:run_bills"], expires_at=until
        )
        whole, _ = create_key(uow, user["id"], name="all", scopes=None, expires_at=None)
    assert key.startswith(record["prefix"])
    assert "key_hash" not in record
    caller = entrance.caller(bearer(key), now=NOW)
    assert caller.access.may_run("run_bills")
    assert not caller.access.may("account", "read")
    assert entrance.caller(bearer(whole), now=NOW).access.may("account", "read")
    assert refusal(entrance.caller, bearer(key), now=until).status == 401
    with database.transaction(now=NOW) as uow:
        revoke_key(uow, record["id"])
        assert revoke_key(uow, record["id"])["row_version"] == 2
    assert refusal(entrance.caller, bearer(key), now=NOW).status == 401


def test_a_key_does_not_last_for_ever(database: Database, entrance: Entrance) -> None:
    with database.transaction(now=NOW) as uow:
        (user,) = uow.list("access_user").records
        for until in (NOW, NOW + timedelta(days=1000)):
            refused = refusal(
                create_key, uow, user["id"], name="CRM", scopes=None, expires_at=until
            )
            assert refused.problems[0].field == "expires_at"


def test_a_changed_role_counts_at_once(database: Database, entrance: Entrance) -> None:
    token = entrance.sign_in("ada", PASSWORD, now=NOW).token
    assert entrance.caller(bearer(token), now=NOW).access is (
        entrance.caller(bearer(token), now=NOW).access
    ), "what is unchanged is not compiled again"
    with database.transaction(now=NOW) as uow:
        (grant,) = uow.list("access_grant").records
        uow.update("access_grant", grant["id"], {"may_update": True})
    assert entrance.caller(bearer(token), now=NOW).access.may("account", "update")
    with database.transaction(now=NOW) as uow:
        uow.delete_many("access_grant", [grant["id"]])
    assert not entrance.caller(bearer(token), now=NOW).access.may("account", "read")


def test_the_first_administrator_is_made_once(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        password = make_administrator(uow, None)
        assert password is not None
        assert make_administrator(uow, None) is None
    signed_in = Entrance(database).sign_in("admin", password, now=NOW)
    assert signed_in.caller.access.unrestricted


@pytest.mark.parametrize("password", [PASSWORD, "short"])
def test_the_first_password_may_be_given(database: Database, password: str) -> None:
    with database.transaction(now=NOW) as uow:
        assert make_administrator(uow, password) is None
    assert Entrance(database).sign_in("admin", password, now=NOW).caller.access.unrestricted


def test_no_secret_is_kept_in_the_clear(database: Database, entrance: Entrance) -> None:
    token = entrance.sign_in("ada", PASSWORD, now=NOW).token
    with database.transaction(now=NOW) as uow:
        secret, _ = enrol_totp(uow, "ada")
        (user,) = uow.list("access_user").records
        key, _ = create_key(uow, user["id"], name="CRM", scopes=None, expires_at=None)
        kept = repr(
            [
                uow.query("SELECT * FROM access_session"),
                uow.query("SELECT * FROM api_key"),
                uow.query("SELECT password_hash FROM access_user"),
                history := uow.query("SELECT * FROM record_change"),
            ]
        )
    assert all(one not in kept for one in (PASSWORD, token, key))
    assert secret not in repr(history)
    assert "$argon2id$" not in repr(history)


GRANT = {"entity": "account", "row_filter": None}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"entity": "nothing"}, "unknown_entity"),
        ({"entity": "access_user", "may_update": True}, "administrators_only"),
        ({"entity": "account", "may_read": False, "may_update": True}, "cannot_read"),
        ({"row_filter": {"name": "x"}}, "wrong_type"),
        ({"row_filter": [{"field": "colour", "op": "eq", "value": 1}]}, "unknown_field"),
        ({"row_filter": [{"field": "name", "op": "like", "value": 1}]}, "unknown_operator"),
        ({"row_filter": [{"field": "name.x", "op": "eq", "value": 1}]}, "unknown_field"),
        (
            {"entity": "*", "row_filter": [{"field": "name", "op": "eq", "value": "x"}]},
            "not_possible",
        ),
    ],
)
def test_a_grant_says_what_can_be_meant(
    database: Database, entrance: Entrance, values: dict[str, object], code: str
) -> None:
    with database.transaction(now=NOW) as uow:
        role = uow.create("access_role", {"external_id": "other"})
        row = {"access_role_id": role["id"], **GRANT, **values}
        refused = refusal(uow.create, "access_grant", row)
        assert [one.code for one in refused.problems] == [code]
