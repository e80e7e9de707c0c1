"""``counterfoil outbox``, and a server that delivers while it serves."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from standardwebhooks import Webhook
from tests.business.automation.conftest import Receiver, receiver  # noqa: F401
from tests.interfaces.cli.test_serve import environment, serving
from typer.testing import CliRunner

from counterfoil.bootstrap import Organisation, Settings
from counterfoil.business.billing.events import INVOICE_FINALIZED
from counterfoil.interfaces.cli.main import app
from counterfoil.platform.outbox.emitting import emit

Run = Callable[..., Result]


@pytest.fixture
def run(organisation: Organisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on the scratch organisation; webhooks may go to this machine."""
    monkeypatch.setenv("COUNTERFOIL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", organisation.database.url)
    monkeypatch.setenv("COUNTERFOIL_PRIVATE_WEBHOOKS", "yes")
    return lambda *arguments: CliRunner().invoke(app, ["outbox", *arguments, "--json"])


def tell(organisation: Organisation, key: str) -> None:
    with organisation.database.transaction(now=organisation.clock()) as uow:
        emit(uow, INVOICE_FINALIZED, key=key, subject=f"invoices/{key}", data={"number": key})


def test_subscribe_deliver_list_and_replay(
    run: Run,
    organisation: Organisation,
    receiver: Receiver,  # noqa: F811
) -> None:
    made = run("subscribe", "CRM", receiver.url, "--event", "invoice.finalized")
    assert made.exit_code == 0, made.output
    secret = json.loads(made.stdout)["secret"]
    tell(organisation, "17")
    receiver.answers = [(503, b"closed")]
    assert json.loads(run("deliver").stdout) == {
        "delivered": 0,
        "failed": 1,
        "old_events_deleted": 0,
    }
    (failed,) = json.loads(run("list", "--state", "pending").stdout)
    assert (failed["type"], failed["subscriber"]) == ("invoice.finalized", "CRM")
    assert failed["error"] == "answered 503 Service Unavailable"
    assert run("replay", str(failed["id"])).exit_code == 0
    assert json.loads(run("deliver").stdout)["delivered"] == 1
    assert json.loads(run("list", "--state", "delivered").stdout)[0]["attempts"] == 2
    for one in receiver.received:
        assert Webhook(secret).verify(one.body, one.headers)["data"] == {"number": "17"}
    for shown in (run("list"), CliRunner().invoke(app, ["records", "list", "webhook", "--json"])):
        assert shown.exit_code == 0
        assert secret not in shown.output


def test_what_cannot_be_is_refused(run: Run, receiver: Receiver) -> None:  # noqa: F811
    for arguments, refusal in (
        (("subscribe", "CRM", receiver.url, "--event", "invoice.paid"), "is not an event type"),
        (("subscribe", "CRM", "ftp://crm.example", "--event", "*"), "must begin with https://"),
        (("replay", "4711"), "there is no delivery 4711"),
        (("list", "--state", "lost"), "pending, delivered, failed"),
    ):
        answer = run(*arguments)
        assert (answer.exit_code, refusal in answer.stderr) == (2, True), answer.output


def test_a_server_delivers_and_stops_in_order(
    server: Settings,
    run: Run,
    organisation: Organisation,
    receiver: Receiver,  # noqa: F811
) -> None:
    run("subscribe", "CRM", receiver.url, "--event", "*")
    served = Settings(server.home, organisation.database.url)
    with serving(
        environment(served, "correct horse battery staple")
        | {"COUNTERFOIL_PRIVATE_WEBHOOKS": "yes"}
    ):
        tell(organisation, "17")
        assert receiver.arrived.wait(30)
    assert [one.path for one in receiver.received] == ["/hooks"]
    (delivered,) = json.loads(run("list").stdout)
    assert delivered["state"] == "delivered"
