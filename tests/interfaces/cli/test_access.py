"""``counterfoil users``, ``roles``, ``access`` and ``history`` on a scratch organisation."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.bootstrap import Organisation
from counterfoil.interfaces.cli.main import app
from counterfoil.platform.access.callers import Entrance

Run = Callable[..., Result]


@pytest.fixture
def run(organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", organisation.database.url)
    return lambda *arguments, **named: CliRunner().invoke(app, list(arguments), **named)


def done(result: Result) -> object:
    assert result.exit_code == 0, result.output + result.stderr
    return json.loads(result.stdout) if result.stdout.strip() else None


def test_a_clerk_from_role_to_sign_in(run: Run, organisation: Organisation) -> None:
    done(run("roles", "add", "clerk", "--command", "run_bills"))
    done(run("roles", "grant", "clerk", "invoice", "--may", "read"))
    where = ("--where", "country=FR")
    done(run("roles", "grant", "clerk", "site", "--may", "read,update", *where))
    done(run("roles", "deny", "clerk", "invoice", "total"))
    made = done(run("users", "add", "ada", "--name", "Ada", "--role", "clerk", "--json"))
    assert isinstance(made, dict)
    assert done(run("users", "list", "--json")) == [
        {
            "user": "ada",
            "name": "Ada",
            "email": None,
            "active": True,
            "roles": "clerk",
            "second_factor": False,
        }
    ]
    (role,) = done(run("roles", "list", "--json"))  # type: ignore[misc]
    assert role["grants"] == "invoice read; site read update"
    assert role["denied_fields"] == "read invoice.total"

    entrance, now = Entrance(organisation.database), organisation.clock()
    access = entrance.sign_in("ada", made["password"], now=now).caller.access
    assert access.may_run("run_bills")
    assert access.may("site", "update")
    explained = done(run("access", "explain", "ada", "invoice", "--field", "total", "--json"))
    assert isinstance(explained, dict)
    assert explained["allowed"] is False
    assert explained["roles"][0]["says"] == ("grants read on invoice, but a rule denies read total")
    table = run("access", "explain", "ada", "site", "update")
    assert "country eq FR" in table.stdout

    done(run("users", "take", "ada", "clerk"))
    assert not entrance.sign_in("ada", made["password"], now=now).caller.access.may("site", "read")
    done(run("users", "block", "ada"))
    assert "refused" in run("users", "take", "ada", "clerk").stderr


def test_a_password_and_a_second_factor(run: Run, organisation: Organisation) -> None:
    first = done(run("users", "add", "ada", "--json"))
    second = done(run("users", "password", "ada", "--json"))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["password"] != second["password"]
    typed = "a horse in the rain\n" * 2
    asked = run("users", "password", "ada", "--ask", "--json", input=typed)
    assert "horse" not in asked.output
    entrance, now = Entrance(organisation.database), organisation.clock()
    assert entrance.sign_in("ada", "a horse in the rain", now=now)
    totp = done(run("users", "totp", "ada", "--json"))
    assert isinstance(totp, dict)
    assert totp["url"].startswith("otpauth://")
    done(run("users", "totp", "ada", "--remove", "--json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("users", "add", "ada", "--role", "nothing"),
        ("users", "password", "nobody"),
        ("roles", "grant", "nothing", "invoice"),
        ("roles", "add", "clerk", "--command", "a", "--administrator", "--nonsense"),
        ("access", "explain", "nobody", "invoice"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    run: Run, organisation: Organisation, arguments: tuple[str, ...]
) -> None:
    assert run(*arguments).exit_code == 2
    with organisation.database.transaction(now=organisation.clock()) as uow:
        assert uow.query("SELECT * FROM record_change") == []


def test_the_history_is_listed_and_verified(run: Run, organisation: Organisation) -> None:
    done(run("users", "add", "ada", "--json"))
    changes = done(run("history", "list", "access_user", "--json"))
    assert isinstance(changes, list)
    assert [(one["action"], one["source"]) for one in changes] == [
        ("update", "cli"),
        ("create", "cli"),
    ]
    assert changes[0]["changes"] == {"password_hash": ["secret", "secret"]}
    found = done(run("history", "verify", "--json"))
    assert isinstance(found, dict)
    assert found["changes"] == 2
    done(run("history", "verify", "--head", found["head"], "--json"))
    with organisation.database.transaction(now=organisation.clock()) as uow:
        uow.execute("DELETE FROM record_change WHERE id = 1")
    broken = run("history", "verify")
    assert broken.exit_code == 2
    assert "change 1: it was deleted" in broken.stderr
