"""Many callers at the same time, by SOAP and by the dialect, while the data model grows."""

from concurrent.futures import ThreadPoolExecutor

import zeep
from tests.interfaces.conftest import Place

from counterfoil.platform.model.applying import apply_change_set

THREADS = 8


def test_an_upsert_of_the_same_record_makes_it_once(place: Place) -> None:
    def upsert(number: int) -> dict[str, object]:
        record = {"ExternalKey": "SAME", "Name": f"Caller {number}"}
        body = {"brmObjects": [record], "externalIDFieldName": "ExternalKey"}
        with place.client(sessionid=place.token) as client:
            answer = client.patch("/rest/2.0/ACCOUNT", json=body)
        (element,) = answer.json()["upsertResponse"]
        return dict(element)

    with ThreadPoolExecutor(THREADS) as pool:
        elements = list(pool.map(upsert, range(2 * THREADS)))
    assert [one["ErrorText"] for one in elements] == [" "] * len(elements)
    assert sum(one["created"] is True for one in elements) == 1
    assert len({one["Id"] for one in elements}) == 1


def test_no_change_is_lost_and_no_one_fails_while_fields_are_added(place: Place) -> None:
    database, clock = place.organisation.database, place.organisation.clock
    with database.transaction(now=clock()) as uow:
        rows = [{"external_id": f"T{n}", "name": "0"} for n in range(THREADS)]
        ids = uow.create_many("account", rows)
    client = zeep.Client(f"{place.url}/soap/generic.wsdl")
    header = {"SessionHeader": {"SessionID": place.token}}

    def write(account: int) -> None:
        for number in range(1, 6):
            change = {
                "entity": "account",
                "id": account,
                "field": [
                    {"name": "row_version", "value": str(number)},
                    {"name": "name", "value": str(number)},
                ],
            }
            client.service.update(record=[change], _soapheaders=header)
            with place.client(sessionid=place.token) as http:
                sql = f"SELECT Name FROM ACCOUNT WHERE Id = {account}"
                answer = http.post("/rest/2.0/query", json={"sql": sql}).json()
            assert answer == {"queryResponse": [{"Name": str(number)}]}

    def grow(number: int) -> None:
        change = f"change_set: C\nfields: {{account: {{x_grown_{number}: {{kind: number}}}}}}\n"
        apply_change_set(database, change, now=clock(), source="cli")

    with ThreadPoolExecutor(THREADS + 1) as pool:
        growing = [pool.submit(grow, number) for number in range(4)]
        list(pool.map(write, ids))
        for one in growing:
            one.result()
    with place.client(sessionid=place.token) as http:
        for number in range(4):
            record = {"Id": str(ids[0]), f"x_grown_{number}": str(number)}
            answer = http.put("/rest/2.0/ACCOUNT", json={"brmObjects": record}).json()
            assert answer["updateResponse"][0]["ErrorText"] == " "
