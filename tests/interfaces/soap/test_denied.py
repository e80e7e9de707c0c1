"""What a role may not see is not there over SOAP, and a denied write changes nothing."""

from collections.abc import Iterator

import pytest
import requests
import zeep
from tests.interfaces.conftest import PASSWORD_OF_OTHERS, Place, make_user
from tests.interfaces.soap.conftest import Refusal
from zeep.transports import Transport


@pytest.fixture(scope="module")
def clerk(place: Place) -> Iterator[zeep.Client]:
    """Sees accounts named Visible without their status, over the typed description."""
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        uow.create("account", {"external_id": "V", "name": "Visible", "status": "closed"})
        uow.create("account", {"external_id": "H", "name": "Hidden"})
    make_user(
        place,
        "clerk",
        {"account": ["read", "create", "update"]},
        unreadable={"account": ["status"]},
        rows={"account": [{"field": "name", "op": "eq", "value": "Visible"}]},
    )
    session = requests.Session()
    session.auth = ("clerk", PASSWORD_OF_OTHERS)
    yield zeep.Client(f"{place.url}/soap/typed.wsdl", transport=Transport(session=session))
    session.close()


def test_the_description_shows_what_the_role_sees(clerk: zeep.Client) -> None:
    names = {kind.name for kind in clerk.wsdl.types.types if kind.name}
    assert "account" in names and not {"site", "invoice", "access_user"} & names
    fields = [name for name, _ in clerk.get_type("ns0:account").elements]
    assert "name" in fields and "status" not in fields
    (entity,) = clerk.service.describe()
    assert entity.name == "account"
    assert "status" not in [field.name for field in entity.field]


def test_an_unreadable_field_is_as_one_that_is_not_there(
    clerk: zeep.Client, refusal: Refusal
) -> None:
    for name in ("status", "ghost"):
        by = {"field": name, "operator": "eq", "value": ["closed"]}
        asked = (
            lambda by=by: clerk.service.query(entity="account", filter=[by]),
            lambda name=name: clerk.service.query(entity="account", sort=[name]),
            lambda name=name: clerk.service.upsert(
                key=name, record=[clerk.get_type("ns0:account")(name="Visible")]
            ),
        )
        for act in asked:
            assert refusal(act)[0][0] in ("unknown_field", "not_a_key")
    records = clerk.service.query(entity="account").record
    assert records
    for record in records:
        assert record.name == "Visible" and "status" not in record


def test_denied_writes_change_nothing(clerk: zeep.Client, place: Place, refusal: Refusal) -> None:
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        before = uow.list("account").records
    hidden = before[1]["id"]
    account = clerk.get_type("ns0:account")
    for act in (
        lambda: clerk.service.retrieve(entity="account", id=[hidden]),
        lambda: clerk.service.update(record=[account(id=hidden, name="Visible")]),
        lambda: clerk.service.create(record=[account(external_id="x", name="Out of my rows")]),
        lambda: clerk.service.delete(entity="account", id=[before[0]["id"]]),
        lambda: clerk.service.upsert(
            key="external_id", record=[account(external_id="H", name="Visible")]
        ),
        lambda: clerk.service.query(entity="invoice"),
    ):
        assert refusal(act)
    with database.transaction(now=place.organisation.clock()) as uow:
        assert uow.list("account").records == before


def test_the_history_says_who_and_from_where(clerk: zeep.Client, place: Place) -> None:
    (made,) = clerk.service.create(
        record=[clerk.get_type("ns0:account")(external_id="mine", name="Visible")]
    )
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        (change,) = uow.query(
            "SELECT actor, source, action FROM record_change"
            " WHERE entity = 'account' AND record_id = :id",
            id=made,
        )
    assert change == {"actor": "clerk", "source": "soap", "action": "create"}
