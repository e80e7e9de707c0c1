"""What a webhook and a mail rule must be to be saved."""

import pytest
from tests.business.automation.conftest import NOW, SECRET

from counterfoil.bootstrap import EVENT_TYPES, Organisation
from counterfoil.business.automation.rules import subscriber_checks
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.records.database import Database

GOOD: dict[str, object] = {
    "external_id": "CRM",
    "url": "https://crm.example/hooks?team=1",
    "event_types": ["invoice.finalized", "bill_run.finished"],
    "secret": SECRET,
}


def problems_of(database: Database, entity: str, values: dict[str, object]) -> tuple[Problem, ...]:
    try:
        with database.transaction(now=NOW) as uow:
            uow.create(entity, values)
    except Refused as refused:
        return refused.problems
    return ()


def test_a_good_webhook_is_saved_and_does_not_show_its_secret(database: Database) -> None:
    with database.transaction(now=NOW) as uow:
        made = uow.create("webhook", GOOD)
        assert "secret" not in made
        assert made["active"] is True


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example/hooks",
        "ftp://crm.example/",
        "crm.example/hooks",
        "https://",
        "https://crm.example:port/",
        "https://crm.example:99999/",
        "https://me:secret@crm.example/",
        "https://crm.example/a b",
        "https://crm.example/\x7f",
        "https://crm.exämple/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data",
    ],
)
def test_a_url_that_may_not_be_posted_to_is_refused(database: Database, url: str) -> None:
    found = problems_of(database, "webhook", GOOD | {"url": url})
    assert {problem.field for problem in found} == {"url"}


@pytest.mark.parametrize("url", ["http://crm.internal/", "http://127.0.0.1:8080/hooks"])
def test_a_setting_allows_private_addresses_and_http(organisation: Organisation, url: str) -> None:
    checks = subscriber_checks(EVENT_TYPES, private=True)
    database = Database(organisation.database.url, organisation.database.catalogue, checks)
    assert problems_of(database, "webhook", GOOD | {"url": url}) == ()
    assert problems_of(database, "webhook", GOOD | {"url": "ftp://crm.example/"}) != ()
    database.close()


@pytest.mark.parametrize("types", [[], {}, ["invoice.finalised"], [1], ["*", "all"], [["*"]]])
def test_event_types_have_to_exist(database: Database, types: object) -> None:
    for entity, values in (
        ("webhook", GOOD),
        ("mail_rule", {"external_id": "CLERK", "email": "clerk@seller.example"}),
    ):
        found = problems_of(database, entity, values | {"event_types": types})
        assert {problem.field for problem in found} == {"event_types"}
        assert found[0].allowed == ("*", *(one.name for one in EVENT_TYPES))


@pytest.mark.parametrize(
    "email", ["clerk", "a@b@c", "a b@c", "a@b\nBcc: all@c", "<a@b>", "a@b,c@d"]
)
def test_a_mail_goes_to_one_address(database: Database, email: str) -> None:
    values: dict[str, object] = {"external_id": "C", "email": email, "event_types": ["*"]}
    assert {problem.field for problem in problems_of(database, "mail_rule", values)} == {"email"}


def test_a_secret_that_is_none_is_not_repeated_to_who_sent_it(database: Database) -> None:
    (problem,) = problems_of(database, "webhook", GOOD | {"secret": "hunter2"})
    assert (problem.field, "hunter2" in str(problem)) == ("secret", False)
