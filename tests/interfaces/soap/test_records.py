"""Records over SOAP with zeep: made, found, changed and deleted, in both descriptions."""

import itertools
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import requests
import zeep
from tests.interfaces.conftest import Place
from tests.interfaces.soap.conftest import Refusal, connect

from counterfoil.platform.model.applying import apply_change_set

NUMBERS = itertools.count(1)


def account(**fields: object) -> dict[str, object]:
    """A record of the generic description; None is nil."""
    values = {"external_id": f"S-{next(NUMBERS)}", "name": "Acme", **fields}
    return {
        "entity": "account",
        "field": [{"name": name, "value": value} for name, value in values.items()],
    }


def fields_of(record: Any) -> dict[str, str | None]:
    """The names and values of a generic record."""
    return {pair.name: pair.value for pair in record.field}


def test_create_and_retrieve(generic: zeep.Client) -> None:
    ids = generic.service.create(record=[account(name="One"), account(name="Two", status="closed")])
    records = generic.service.retrieve(entity="account", id=[ids[1], ids[0]])
    assert [record.id for record in records] == [ids[1], ids[0]]
    found = fields_of(records[0])
    assert (found["name"], found["status"], found["pool_node"], found["parent_id"]) == (
        "Two",
        "closed",
        "false",
        None,
    )
    made_at = datetime.fromisoformat(str(found["created_at"]))
    assert str(found["created_at"]).endswith("Z") and made_at.tzinfo is not None


def test_update_leaves_what_is_absent_and_empties_what_is_nil(generic: zeep.Client) -> None:
    parent, child = generic.service.create(record=[account(), account()])
    change = {"entity": "account", "id": child, "field": [{"name": "parent_id", "value": parent}]}
    assert generic.service.update(record=[change]) == [child]
    change["field"] = [{"name": "parent_id", "value": None}]
    generic.service.update(record=[change])
    (record,) = generic.service.retrieve(entity="account", id=child)
    found = fields_of(record)
    assert (found["parent_id"], found["name"], found["row_version"]) == (None, "Acme", "3")


def test_an_update_of_an_old_version_is_refused(generic: zeep.Client, refusal: Refusal) -> None:
    (one,) = generic.service.create(record=[account()])
    change = {
        "entity": "account",
        "id": one,
        "field": [{"name": "row_version", "value": "1"}, {"name": "name", "value": "Newer"}],
    }
    generic.service.update(record=[change])
    assert refusal(lambda: generic.service.update(record=[change])) == [
        ("version_conflict", "row_version", 1)
    ]


def test_upsert_by_any_unique_field(generic: zeep.Client, refusal: Refusal) -> None:
    key = f"UP-{next(NUMBERS)}"
    first = generic.service.upsert(key="external_id", record=[account(external_id=key)])
    again = generic.service.upsert(
        key="external_id", record=[account(external_id=key, name="B"), account()]
    )
    assert [first[0].action, *(one.action for one in again)] == ["created", "updated", "created"]
    assert again[0].id == first[0].id
    assert refusal(lambda: generic.service.upsert(key="name", record=[account()]))[0][0] == (
        "not_a_key"
    )


def test_query_with_filters_sort_and_pages(generic: zeep.Client) -> None:
    mark = f"q{next(NUMBERS)}"
    generic.service.create(
        record=[account(name=f"{mark} {n}", external_id=f"{mark}-{n}") for n in range(5)]
    )
    asked: dict[str, Any] = {
        "entity": "account",
        "filter": [
            {"field": "name", "operator": "contains", "value": [mark.upper()]},
            {"field": "external_id", "operator": "ne", "value": [f"{mark}-3"]},
        ],
        "sort": ["-name"],
        "limit": 3,
    }
    page = generic.service.query(**asked)
    assert [fields_of(one)["name"] for one in page.record] == [f"{mark} {n}" for n in (4, 2, 1)]
    rest = generic.service.query(**asked, cursor=page.nextCursor)
    assert [fields_of(one)["name"] for one in rest.record] == [f"{mark} 0"]
    assert rest.nextCursor is None
    among = generic.service.query(
        entity="account",
        filter=[
            {"field": "external_id", "operator": "in", "value": [f"{mark}-0", f"{mark}-1"]},
            {"field": "parent_id", "operator": "is_null", "value": ["true"]},
        ],
    )
    assert len(among.record) == 2


def test_delete(generic: zeep.Client, refusal: Refusal) -> None:
    (parent,) = generic.service.create(record=[account()])
    (child,) = generic.service.create(record=[account(parent_id=str(parent))])
    assert refusal(lambda: generic.service.delete(entity="account", id=[parent]))[0][0] == (
        "still_referenced"
    )
    assert generic.service.delete(entity="account", id=[child]) == [child]
    assert refusal(lambda: generic.service.retrieve(entity="account", id=[child])) == [
        ("unknown_record", "id", 1)
    ]


def test_all_records_of_a_call_or_none(
    generic: zeep.Client, place: Place, refusal: Refusal
) -> None:
    before = place.count("account")
    records = [account(), account(status="asleep"), account(parent_id="x"), account(colour="red")]
    assert refusal(lambda: generic.service.create(record=records)) == [
        ("wrong_type", "parent_id", 3)
    ]
    del records[2]
    assert refusal(lambda: generic.service.create(record=records)) == [
        ("unknown_choice", "status", 2),
        ("unknown_field", "colour", 3),
    ]
    assert place.count("account") == before


def test_every_record_that_is_malformed_is_told_by_its_place(place: Place) -> None:
    account = "<entity>account</entity><field><name>name</name><value>{0}</value></field>"
    wrong = account.format("<b/>")
    records = "".join(f"<record>{one}</record>" for one in (account.format("x"), wrong, wrong))
    message = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns="urn:counterfoil:soap:generic:1">'
        f"<s:Body><create>{records}</create></s:Body></s:Envelope>"
    )
    with place.client(Authorization=f"Bearer {place.token}") as client:
        answer = client.post("/soap", content=message.encode()).text
    assert re.findall(r"<line>(\d)</line>", answer) == ["2", "3"]


def test_a_record_goes_back_as_it_was_read(typed: zeep.Client, refusal: Refusal) -> None:
    types = typed.type_factory("ns0")
    top, sub = typed.service.create(
        record=[types.account(external_id=f"S-{next(NUMBERS)}", name=name) for name in ("T", "U")]
    )
    (read,) = typed.service.retrieve(entity="account", id=[sub])
    read.name, read.parent_id = "Below", top
    assert typed.service.update(record=[read]) == [sub]
    (now,) = typed.service.retrieve(entity="account", id=[sub])
    assert (now.name, now.root_id, now.row_version) == ("Below", top, 2)
    read.name = "Of an old version"
    assert refusal(lambda: typed.service.update(record=[read])) == [
        ("version_conflict", "row_version", 1)
    ]
    now.root_id = sub
    assert refusal(lambda: typed.service.update(record=[now])) == [("computed_field", "root_id", 1)]


def test_what_commands_make_is_not_written(generic: zeep.Client, refusal: Refusal) -> None:
    record = {"entity": "invoice", "field": [{"name": "currency", "value": "USD"}]}
    assert refusal(lambda: generic.service.create(record=[record]))[0][0] == "made_by_command"


def test_a_session_stands_in_the_header(place: Place) -> None:
    client = zeep.Client(f"{place.url}/soap/generic.wsdl")
    begun = client.service.login(username="admin", password=place.password)
    assert begun.expiresAt.tzinfo is not None
    header = {"SessionHeader": {"SessionID": begun.sessionId}}
    (entity,) = client.service.describe(entity="site", _soapheaders=header)
    assert (entity.name, entity.plural, entity.createdByCommand) == ("site", "sites", False)
    by_name = {field.name: field for field in entity.field}
    assert (by_name["account_id"].type, by_name["account_id"].target) == ("reference", "account")
    assert by_name["country"].required is True
    client.service.logout(_soapheaders=header)
    for wrong in ({}, {"_soapheaders": {"SessionHeader": {"SessionID": "guess"}}}):
        with pytest.raises(zeep.exceptions.Fault):
            client.service.describe(**wrong)


def test_typed_values_come_as_their_types(typed: zeep.Client) -> None:
    made = typed.type_factory("ns0")
    (product,) = typed.service.create(
        record=[made.product(external_id=f"P{next(NUMBERS)}", name="P")]
    )
    (plan,) = typed.service.create(
        record=[made.rate_plan(external_id=f"R{next(NUMBERS)}", name="R", product_id=product)]
    )
    (charge,) = typed.service.create(
        record=[
            made.charge(
                external_id=f"C{next(NUMBERS)}", name="Port", rate_plan_id=plan, kind="recurring"
            )
        ]
    )
    (price,) = typed.service.create(
        record=[
            made.price(
                charge_id=charge,
                layer="list",
                currency="USD",
                model="per_unit",
                valid_from=date(2026, 1, 31),
                minimum_amount=Decimal("12345678901234.5678"),
            )
        ]
    )
    (record,) = typed.service.retrieve(entity="price", id=[price])
    (tier,) = typed.service.create(
        record=[made.price_tier(price_id=price, unit_amount=Decimal("0.0000000001"))]
    )
    (band,) = typed.service.retrieve(entity="price_tier", id=[tier])
    assert (band.unit_amount, band.up_to) == (Decimal("0.0000000001"), None)
    assert record.minimum_amount == Decimal("12345678901234.5678")
    assert (record.valid_from, record.valid_to, record.partial) == (
        date(2026, 1, 31),
        None,
        False,
    )
    assert record.created_at.tzinfo is not None
    typed.service.update(record=[made.price(id=price, valid_from=zeep.xsd.Nil)])
    (record,) = typed.service.retrieve(entity="price", id=[price])
    assert (record.valid_from, record.model) == (None, "per_unit")


SURVEYS = """
change_set: Surveys
entities:
  x_survey: {plural: x_surveys, label: Survey}
fields:
  account:
    x_region: {kind: choice, choices: [emea, apac]}
  x_survey:
    x_account: {kind: master_detail, target: account}
    x_score: {kind: decimal, digits: 12, places: 3}
    x_seen: {kind: datetime}
    x_double: {kind: formula, returns: number, formula: x_score * 2}
    x_tags: {kind: multi_choice, choices: [vip, late]}
"""


def test_a_custom_entity_added_a_moment_before(place: Place, generic: zeep.Client) -> None:
    now = place.organisation.clock()
    apply_change_set(place.organisation.database, SURVEYS, now=now, source="cli")
    typed = connect(place, "typed")
    made = typed.type_factory("ns0")
    (one,) = typed.service.create(
        record=[made.account(external_id="SV", name="Surveyed", x_region="emea")]
    )
    seen = datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC)
    typed.service.create(
        record=[
            made.x_survey(x_account=one, x_score=Decimal("9.125"), x_seen=seen, x_tags="late,vip")
        ]
    )
    page = typed.service.query(
        entity="x_survey",
        filter=[{"field": "x_double", "operator": "gt", "value": ["18"]}],
        sort=["-x_double"],
    )
    (survey,) = page.record
    assert (survey.x_account, survey.x_score, survey.x_seen) == (one, Decimal("9.125"), seen)
    assert (survey.x_double, survey.x_tags) == (Decimal("18.25"), "vip,late")
    found = generic.service.query(
        entity="account", filter=[{"field": "x_region", "operator": "eq", "value": ["emea"]}]
    )
    assert [record.id for record in found.record] == [one]


def test_the_generic_description_stays_the_same(place: Place) -> None:
    first = requests.get(f"{place.url}/soap/generic.wsdl", timeout=30)
    assert first.headers["content-type"] == "text/xml; charset=utf-8"
    assert first.content == requests.get(f"{place.url}/soap?wsdl", timeout=30).content
    assert b"x_region" not in first.content and b"billing_profile" not in first.content
    stranger = requests.get(f"{place.url}/soap/typed.wsdl", timeout=30)
    assert stranger.status_code == 401 and b"unauthorized" in stranger.content
    assert stranger.headers["www-authenticate"].startswith("Basic")
