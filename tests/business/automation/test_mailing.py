"""The mail server of an organisation."""

from datetime import UTC, datetime

import pytest

from counterfoil.business.automation.mailing import MailServer, SmtpMailer
from counterfoil.business.automation.messages import Message
from counterfoil.core.problems import Refused

NOW = datetime(2026, 2, 1, tzinfo=UTC)
MESSAGE = Message("evt_1", "invoice.finalized", "invoices/1", NOW, {})


def test_a_url_names_server_sender_and_user() -> None:
    server = MailServer.from_url("smtp://bill%40x:p%2Fw@mail.example:587?from=billing@x.example")
    assert server == MailServer("smtp", "mail.example", 587, "billing@x.example", "bill@x", "p/w")
    assert "p/w" not in repr(server)
    assert MailServer.from_url("smtps://mail.example?from=a@b").port == 465


@pytest.mark.parametrize(
    "url",
    [
        "mail.example",
        "http://mail.example?from=a@b",
        "smtp://mail.example",
        "smtp://?from=a@b",
        "smtp://u:hunter2@mail.example:port?from=a@b",
        "smtp://u:hunter2@mail.example?from=nobody",
    ],
)
def test_another_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(Refused, match="COUNTERFOIL_SMTP_URL") as refused:
        MailServer.from_url(url)
    assert "hunter2" not in str(refused.value)


def test_without_a_server_an_attempt_says_what_is_missing() -> None:
    outcome = SmtpMailer(None).mail("clerk@seller.example", MESSAGE, NOW)
    assert outcome.error == "there is no mail server; COUNTERFOIL_SMTP_URL names one"


def test_a_server_that_is_away_is_an_error_of_the_attempt() -> None:
    mailer = SmtpMailer(MailServer("smtp", "127.0.0.1", 1, "billing@seller.example"))
    outcome = mailer.mail("clerk@seller.example", MESSAGE, NOW)
    assert outcome.error.startswith("the mail server could not be used: ")
