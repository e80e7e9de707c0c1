"""Files of records over HTTP, in and out."""

import io

import httpx
import openpyxl
import pytest
from tests.interfaces.rest.conftest import Served

CSV = {"Content-Type": "text/csv"}


def post(api: httpx.Client, text: str, into: str = "accounts", **params: str) -> httpx.Response:
    return api.post(f"/{into}/import", content=text.encode(), params=params, headers=CSV)


def test_a_file_goes_in_and_comes_out_and_in_again(served: Served, api: httpx.Client):
    text = "external_id;name\nF-1;=1+1\nF-2;Zwei\n"
    dry = post(api, text, dry_run="true")
    assert (dry.status_code, dry.json()["created"], served.count("account")) == (200, 2, 0)
    done = post(api, text, name="accounts.csv").json()
    assert (done["read"], done["created"], done["problems"]) == (2, 2, [])

    exported = api.get("/accounts/export", params={"external_id__contains": "F-"})
    assert exported.headers["content-type"] == "text/csv; charset=utf-8"
    assert exported.headers["content-disposition"] == 'attachment; filename="accounts.csv"'
    assert "\r\nF-1,'=1+1,," in exported.text
    again = post(api, exported.text).json()
    assert (again["unchanged"], again["refused"]) == (2, 0)

    sheet = api.get("/accounts/export", params={"as": "xlsx", "fields": "external_id,name"})
    rows = openpyxl.load_workbook(io.BytesIO(sheet.content)).active.values
    assert list(rows) == [("external_id", "name"), ("F-1", "=1+1"), ("F-2", "Zwei")]
    back = api.post("/accounts/import", content=sheet.content).json()
    assert (back["unchanged"], back["refused"]) == (2, 0)
    assert not [path for path in served.organisation.home.iterdir() if "port-" in path.name]


def test_wrong_rows_are_told_and_with_all_or_nothing_refuse_the_file(
    served: Served, api: httpx.Client
):
    text = "No,external_id,name,status\n1,G-1,Gut,active\n2,G-2,Schlecht,lost\n"
    before = served.count("account")
    given = {"name": "konten.csv", "map": "No:"}
    whole = post(api, text, mode="all_or_nothing", **given)
    assert whole.status_code == 422
    assert whole.json()["errors"] == [
        {
            "code": "unknown_choice",
            "message": "'lost' is not allowed",
            "field": "status",
            "allowed": ["active", "closed"],
            "file": "konten.csv",
            "line": 3,
        }
    ]
    assert served.count("account") == before
    each = post(api, text, **given).json()
    assert (each["created"], each["refused"], each["ignored_columns"]) == (1, 1, ["No"])
    assert each["problems"][0]["line"] == 3
    assert served.count("account") == before + 1


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({"mode": "maybe"}, 422, "mode"),
        ({"dry_run": "yes"}, 422, "dry_run"),
        ({"delimiter": "ab"}, 422, "delimiter"),
        ({"map": "x"}, 422, "map"),
        ({"by": "name"}, 422, "name"),
        ({"other": "1"}, 422, "other"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    api: httpx.Client, params: dict[str, str], status: int, field: str
):
    refused = post(api, "external_id,name\nX,Y\n", **params)
    assert refused.status_code == status
    assert refused.json()["errors"][0]["field"] == field


def test_what_is_no_file_is_refused(api: httpx.Client):
    assert post(api, "").status_code == 400
    assert post(api, "external_id,name\n", into="nothing").status_code == 404
    assert post(api, "external_id,name\n", into="invoices").status_code == 405
    assert api.get("/accounts/export", params={"as": "pdf"}).status_code == 422
    assert api.get("/accounts/export", params={"colour": "red"}).status_code == 422
