"""The SQL subset: what scripts write, and the rows they get."""

import itertools
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from billingplatform import BillingPlatform, exceptions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.interfaces.conftest import Place

from counterfoil.interfaces.brm import children
from counterfoil.platform.model.applying import apply_change_set


@pytest.fixture(scope="module", autouse=True)
def records(place: Place) -> None:
    """Three accounts in a tree, two profiles, two contracts."""
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        top = uow.create("account", {"external_id": "N", "name": "Northwind", "pool_node": True})
        sub = {"parent_id": top["id"], "status": "closed"}
        uow.create("account", {"external_id": "N1", "name": "North's East", **sub})
        uow.create("account", {"external_id": "N2", "name": "100% West", "parent_id": top["id"]})
        profile = {"currency": "USD", "cycle_day": 31}
        uow.create("billing_profile", {"account_id": top["id"], "bill_to_name": "NW", **profile})
        ended = {"start_date": "2025-01-01", "end_date": "2025-12-31", "months": 12}
        agreed = {"account_id": top["id"], "name": "c"}
        uow.create("contract", {"external_id": "K1", **agreed, **ended})
        uow.create("contract", {"external_id": "K2", **agreed, "start_date": "2026-01-31"})


def rows(client: BillingPlatform, sql: str) -> list[tuple[str, ...]]:
    """The values of the rows, all texts."""
    found = client.query(sql)["queryResponse"]
    assert all(isinstance(value, str) for row in found for value in row.values())
    return [tuple(row.values()) for row in found]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select name from account where 1=1", ["Northwind", "North's East", "100% West"]),
        ("SELECT NAME FROM ACCOUNT WHERE NAME = 'North''s East'", ["North's East"]),
        ("SELECT Name FROM ACCOUNT WHERE Name LIKE '100%%'", ["100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE Name NOT LIKE 'N%'", ["100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE Status = 'CLOSED'", ["North's East"]),
        ("SELECT Name FROM ACCOUNT WHERE Status IN ('CLOSED', 'GONE')", ["North's East"]),
        ("SELECT Name FROM ACCOUNT WHERE Id = '3' OR Id = 1", ["Northwind", "100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE Id IN ('3', 1)", ["Northwind", "100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE Id BETWEEN '2' AND 3", ["North's East", "100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE PoolNode = 1", ["Northwind"]),
        ("SELECT Name FROM ACCOUNT WHERE PoolNode <> '1'", ["North's East", "100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE ParentAccountId IS NULL", ["Northwind"]),
        ("SELECT Name FROM ACCOUNT WHERE ParentAccountId = ''", []),
        ("SELECT Name FROM ACCOUNT WHERE NOT (Id = 1 OR Id = 2)", ["100% West"]),
        ("SELECT Name FROM ACCOUNT WHERE rownum < 3", ["Northwind", "North's East"]),
        ("SELECT Name FROM ACCOUNT WHERE Id > 1 AND ROWNUM <= 1", ["North's East"]),
        ("SELECT Name FROM ACCOUNT WHERE rownum < 1", []),
        ("SELECT Name FROM ACCOUNT FETCH NEXT 1 ROWS ONLY", ["Northwind"]),
        ("SELECT Name FROM ACCOUNT OFFSET 2 ROWS", ["100% West"]),
        ("SELECT Name FROM ACCOUNT OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY", ["North's East"]),
        ("SELECT Name FROM ACCOUNT LIMIT 1", ["Northwind"]),
        ("SELECT Name FROM ACCOUNT ORDER BY Name", ["100% West", "North's East", "Northwind"]),
        ("SELECT Name n FROM ACCOUNT ORDER BY n DESC", ["Northwind", "North's East", "100% West"]),
        ("SELECT ParentAccountObj.Name FROM ACCOUNT WHERE Id > 2", ["Northwind"]),
        ("SELECT AccountObj.Name FROM CONTRACT WHERE Id = 1", ["Northwind"]),
        ("SELECT b.AccountObj.Status FROM BILLING_PROFILE b", ["ACTIVE"]),
        ("SELECT AccountIdObj.Name FROM BILLING_PROFILE", ["Northwind"]),
        ("SELECT MonthlyBillingDate FROM BILLING_PROFILE", ["31"]),
        ("SELECT COUNT(*) FROM ACCOUNT", ["3"]),
        ("SELECT COUNT(DISTINCT Status) FROM ACCOUNT", ["2"]),
        ("SELECT DISTINCT Status FROM ACCOUNT", ["ACTIVE", "CLOSED"]),
        ("SELECT SUM(Months) FROM CONTRACT", ["12"]),
        ("SELECT MAX(StartDate) FROM CONTRACT", ["2026-01-31"]),
        ("SELECT ContractNumber FROM CONTRACT WHERE StartDate > '2025-06-30'", ["K2"]),
        ("SELECT ContractNumber FROM CONTRACT WHERE StartDate = '01/31/2026'", ["K2"]),
        ("SELECT ContractNumber FROM CONTRACT WHERE StartDate = DATE '2026-01-31'", ["K2"]),
        ("SELECT Id FROM CONTRACT WHERE StartDate = TO_DATE('31.01.2026', 'DD.MM.YYYY')", ["2"]),
        ("SELECT TO_CHAR(StartDate, 'YYYY/MM') FROM CONTRACT", ["2025/01", "2026/01"]),
        ("SELECT TO_CHAR(Months) FROM CONTRACT WHERE Id = 1", ["12"]),
        ("SELECT EndDate - StartDate FROM CONTRACT WHERE Id = 1", ["364"]),
        ("SELECT Months / 5 FROM CONTRACT WHERE Id = 1", ["2.4"]),
        ("SELECT Months * 2 + 1 FROM CONTRACT WHERE Id = 1", ["25"]),
        ("SELECT NVL(EndDate, '2099-12-31') FROM CONTRACT", ["2025-12-31", "2099-12-31"]),
        ("SELECT NVL(Months, 0) FROM CONTRACT", ["12", "0"]),
        ("SELECT ADD_MONTHS(StartDate, 1) FROM CONTRACT", ["2025-02-01", "2026-02-28"]),
        ("SELECT TRUNC(StartDate, 'MM') FROM CONTRACT", ["2025-01-01", "2026-01-01"]),
        ("SELECT DECODE(Status, 'CLOSED', 'x', 'y') FROM ACCOUNT", ["y", "x", "y"]),
        ("SELECT CASE WHEN Id > 1 THEN 'sub' ELSE 'top' END FROM ACCOUNT", ["top", "sub", "sub"]),
        ("SELECT Name || '/' || ParentAccountId FROM ACCOUNT WHERE Id < 3", None),
        ("SELECT UPPER(SUBSTR(Name, 1, 5)) FROM ACCOUNT WHERE Id = 1", ["NORTH"]),
        ("SELECT LENGTH(TRIM(BillTo)) FROM BILLING_PROFILE", ["2"]),
        ("SELECT ROUND(AVG(Id), 1) FROM ACCOUNT", ["2"]),
        ("SELECT NVL2(Months, 'fixed', 'open') FROM CONTRACT", ["fixed", "open"]),
        ("SELECT COALESCE(Months, 1) + MOD(7, 4) FROM CONTRACT", ["15", "4"]),
        ("SELECT GREATEST(Id, 2) * SIGN(-3) + ABS(-1) FROM CONTRACT", ["-1", "-1"]),
        ("SELECT LEAST(CEIL(1.2), FLOOR(2.8), ROUND(2.5)) FROM CONTRACT WHERE Id = 1", ["2"]),
        ("SELECT INSTR(Name, 'wind') FROM ACCOUNT WHERE Id = 1", ["6"]),
        ("SELECT LOWER(LTRIM(RTRIM(' A '))) FROM ACCOUNT WHERE Id = 1", ["a"]),
        ("SELECT LTRIM('xxA', 'x') || TRIM(LEADING '0' FROM '007') FROM BILLING_PROFILE", ["A7"]),
        ("SELECT TO_NUMBER('12.5') * 2 FROM BILLING_PROFILE", ["25"]),
        ("SELECT CONCAT(BillTo, Attention) FROM BILLING_PROFILE", ["NW"]),
        ("SELECT NULLIF(CurrencyCode, 'EUR') FROM BILLING_PROFILE", ["USD"]),
        ("SELECT TRUNC(12.57, 1) FROM BILLING_PROFILE", ["12.5"]),
        (
            "SELECT Id FROM ACCOUNT WHERE Created > TO_TIMESTAMP('2020-01-01', 'YYYY-MM-DD')",
            ["1", "2", "3"],
        ),
        ("SELECT MIN(Status) FROM ACCOUNT WHERE Created > TIMESTAMP '2020-01-01 00:00:00'", None),
        (
            "SELECT Name FROM ACCOUNT WHERE systimestamp BETWEEN Created AND Created + 1",
            ["Northwind", "North's East", "100% West"],
        ),
        ("SELECT Name FROM ACCOUNT WHERE Created > SYSDATE + 1", []),
        ("SELECT TRUNC(SYSDATE - Created) FROM ACCOUNT WHERE Id = 1", ["0"]),
        ("SELECT Name FROM ACCOUNT WHERE SYSDATE - Created > 30", []),
        ("SELECT Name FROM ACCOUNT WHERE Id = 1 AND SYSDATE - Created < 0.5", ["Northwind"]),
        ("SELECT Name FROM ACCOUNT WHERE Id = 1 AND Created > SYSDATE - 12/24", ["Northwind"]),
        ("SELECT Name FROM ACCOUNT WHERE Created > SYSDATE + 1/24", []),
        ("SELECT StartDate + Months FROM CONTRACT WHERE Id = 1", ["2025-01-13"]),
        ("SELECT 31 + StartDate FROM CONTRACT WHERE Id = 1", ["2025-02-01"]),
        ("SELECT StartDate + 0.5 FROM CONTRACT WHERE Id = 1", ["2025-01-01T12:00:00+00:00"]),
        (
            (
                "SELECT TO_TIMESTAMP('2025-01-03 06:00:00', 'YYYY-MM-DD HH24:MI:SS') - StartDate"
                " FROM CONTRACT WHERE Id = 1"
            ),
            ["2.25"],
        ),
        (
            "SELECT TO_DATE('2025-01-31 10:30', 'YYYY-MM-DD HH24:MI') FROM CONTRACT WHERE Id = 1",
            ["2025-01-31T10:30:00+00:00"],
        ),
        (
            (
                "SELECT EXTRACT(YEAR FROM StartDate) * 100 + EXTRACT(MONTH FROM StartDate)"
                " FROM CONTRACT"
            ),
            ["202501", "202601"],
        ),
        ("SELECT SUBSTR('Northwind', -4) FROM BILLING_PROFILE", ["wind"]),
        ("SELECT TO_CHAR(TO_NUMBER('12.500')) FROM BILLING_PROFILE", ["12.5"]),
        ("SELECT 'x' || TO_NUMBER('12.00') || Id FROM CONTRACT WHERE Id = 1", ["x121"]),
        ("SELECT Id FROM CONTRACT WHERE TO_NUMBER('12.00') LIKE '12' AND Id = 1", ["1"]),
        ("SELECT NVL(GREATEST(Months, 1), 0) FROM CONTRACT", ["12", "0"]),
        ("SELECT LEAST(StartDate, EndDate) FROM CONTRACT", ["2025-01-01", ""]),
        ("SELECT SUBSTR('Northwind', -4, 2) FROM BILLING_PROFILE", ["wi"]),
        ("SELECT SUBSTR('Northwind', 0, 2) FROM BILLING_PROFILE", ["No"]),
        ("SELECT TO_NUMBER('1,234.50', '9,999.99') FROM BILLING_PROFILE", ["1234.5"]),
        ("SELECT DECODE(ParentAccountId, NULL, 'top', 'sub') FROM ACCOUNT", ["top", "sub", "sub"]),
        ("SELECT Name FROM ACCOUNT WHERE Created > TRUNC(SYSDATE) - 1 AND Id = 1", ["Northwind"]),
    ],
)
def test_one_column(client: BillingPlatform, sql: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["ACTIVE"] if "MIN" in sql else ["Northwind/", "North's East/1"]
    if not expected:
        with pytest.raises(exceptions.BillingPlatform404Exception):
            client.query(sql)
    else:
        assert [value for (value,) in rows(client, sql)] == expected


def test_joins_and_groups(client: BillingPlatform) -> None:
    sql = (
        "SELECT p.Name, COUNT(c.Id) n, MIN(c.Name) FROM Account p LEFT JOIN account c"
        " ON c.ParentAccountId = p.Id GROUP BY p.Name HAVING COUNT(c.Id) >= 0 ORDER BY 2 DESC"
    )
    assert rows(client, sql) == [
        ("Northwind", "2", "100% West"),
        ("100% West", "0", ""),
        ("North's East", "0", ""),
    ]
    sql = "SELECT c.Name FROM ACCOUNT c, ACCOUNT p WHERE c.ParentAccountId = p.Id AND p.Name = 'x'"
    with pytest.raises(exceptions.BillingPlatform404Exception):
        client.query(sql)


def test_rows_among_those_of_another_query(client: BillingPlatform) -> None:
    sql = (
        "SELECT Name FROM ACCOUNT WHERE Id IN (SELECT AccountId FROM CONTRACT WHERE"
        " ContractNumber LIKE 'K%') AND Id NOT IN (SELECT Id FROM ACCOUNT WHERE Status = 'CLOSED')"
    )
    assert rows(client, sql) == [("Northwind",)]
    sql = "SELECT Name FROM ACCOUNT WHERE Id IN (SELECT Id FROM ACCOUNT ORDER BY Id DESC LIMIT 1)"
    assert rows(client, sql) == [("100% West",)]


def test_collections_in_the_select_list(client: BillingPlatform) -> None:
    sql = (
        "select Name, (select ContractNumber, AccountObj.Name from Contract.AccountObj"
        " where StartDate < '2030-01-01' order by StartDate desc), (select Id from"
        " Account.ParentAccountObj) subs from ACCOUNT where Id < 3"
    )
    assert client.query(sql)["queryResponse"] == [
        {
            "Name": "Northwind",
            "Contract": [
                {"ContractNumber": "K2", "AccountObj.Name": "Northwind"},
                {"ContractNumber": "K1", "AccountObj.Name": "Northwind"},
            ],
            "subs": [{"Id": "2"}, {"Id": "3"}],
        },
        {"Name": "North's East", "Contract": [], "subs": []},
    ]


def test_the_keys_of_a_row_are_as_written(client: BillingPlatform) -> None:
    sql = (
        "SELECT a.Id, a.name AS AccountName, a.ParentAccountObj.Name, COUNT( * ) , b.Id"
        " FROM ACCOUNT a JOIN ACCOUNT b ON b.Id = a.Id GROUP BY a.Id, a.Name,"
        " a.ParentAccountObj.Name, b.Id"
    )
    first = client.query(sql)["queryResponse"][0]
    assert list(first) == ["Id", "AccountName", "ParentAccountObj.Name", "COUNT( * )", "b.Id"]


def test_a_name_in_quotes_is_its_key_without_them(client: BillingPlatform) -> None:
    sql = 'SELECT a."Name", "ParentAccountObj"."Name" FROM ACCOUNT a WHERE Id = 2'
    (found,) = client.query(sql)["queryResponse"]
    assert found == {"Name": "North's East", "ParentAccountObj.Name": "Northwind"}


def test_collections_that_would_be_cut_off_are_refused(
    client: BillingPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT Name, (SELECT ContractNumber FROM Contract.AccountObj) FROM ACCOUNT WHERE Id = 1"
    assert len(client.query(sql)["queryResponse"][0]["Contract"]) == 2
    monkeypatch.setattr(children, "MOST_ROWS", 2)
    with pytest.raises(exceptions.BillingPlatform400Exception):
        client.query(sql)


def test_post_is_the_same_as_get(client: BillingPlatform) -> None:
    sql = "SELECT Id FROM ACCOUNT WHERE Name LIKE 'North%'"
    answer = client.session.post(f"{client.rest_base_url}/query", json={"sql": sql}, timeout=60)
    assert answer.json() == client.query(sql)


def test_ten_thousand_rows_at_most(client: BillingPlatform) -> None:
    tables = ", ".join(f"ACCOUNT a{n}" for n in range(9))
    found = client.query(f"SELECT a0.Id FROM {tables}")["queryResponse"]
    assert len(found) == 10_000


def test_a_custom_entity_added_a_moment_before(client: BillingPlatform, place: Place) -> None:
    content = """
change_set: Surveys
entities:
  x_site_survey: {plural: x_site_surveys, label: Survey}
fields:
  account:
    x_region: {kind: choice, choices: [emea, apac]}
    x_vip: {kind: boolean}
  x_site_survey:
    x_account: {kind: master_detail, target: account}
    x_score: {kind: decimal, digits: 12, places: 3}
    x_double: {kind: formula, returns: number, formula: x_score * 2}
"""
    now = place.organisation.clock()
    apply_change_set(place.organisation.database, content, now=now, source="cli")
    client.update("ACCOUNT", {"Id": "3", "x_region": "emea", "x_vip": "1"})
    made = client.create("X_SITE_SURVEY", {"x_account": "3", "x_score": "9.125"})
    assert made["createResponse"][0]["ErrorText"] == " "
    sql = (
        "SELECT x_score, x_double, x_accountObj.Name, x_accountObj.x_region, x_accountObj.x_vip"
        " FROM x_site_survey WHERE x_accountObj.x_region = 'emea' AND x_double > 18"
    )
    assert rows(client, sql) == [("9.125", "18.25", "100% West", "emea", "1")]
    (record,) = client.retrieve_by_query("X_SITE_SURVEY", "x_score = 9.125")["retrieveResponse"]
    assert (record["x_account"], record["x_score"], record["x_double"]) == ("3", "9.125", "18.25")


REFUSED = [
    "",
    "SELECT",
    "SELECT FROM ACCOUNT",
    "SELECT Id FROM GHOST",
    "SELECT Ghost FROM ACCOUNT",
    "SELECT GhostObj.Name FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT a JOIN CONTRACT c ON 1=1",
    "SELECT a.Id FROM ACCOUNT a JOIN ACCOUNT a ON 1=1",
    "SELECT x.Id FROM ACCOUNT a",
    "SELECT Id FROM pg_catalog.pg_class",
    "SELECT Id FROM pg_class",
    "SELECT Id FROM record_change",
    "SELECT pg_sleep(10) FROM ACCOUNT",
    "SELECT pg_read_file('/etc/passwd') FROM ACCOUNT",
    "SELECT current_setting('is_superuser') FROM ACCOUNT",
    "SELECT query_to_xml('select 1', true, true, '') FROM ACCOUNT",
    "SELECT version() FROM ACCOUNT",
    "SELECT current_user FROM ACCOUNT",
    "SELECT Name::regclass FROM ACCOUNT",
    "SELECT CAST(Name AS regclass) FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT; DROP TABLE account",
    "SELECT Id FROM ACCOUNT UNION SELECT Id FROM CONTRACT",
    "WITH x AS (SELECT 1) SELECT Id FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT WHERE Id = (SELECT MAX(Id) FROM ACCOUNT)",
    "SELECT Id FROM ACCOUNT WHERE EXISTS (SELECT 1 FROM ACCOUNT)",
    "SELECT Id FROM ACCOUNT a WHERE Id IN (SELECT AccountId FROM CONTRACT WHERE Id = a.Id)",
    "SELECT Id FROM ACCOUNT WHERE Id IN (SELECT Id, Name FROM ACCOUNT)",
    "SELECT Id FROM ACCOUNT WHERE Id IN (SELECT Id FROM GHOST)",
    "SELECT Id FROM ACCOUNT WHERE Id IN (SELECT Id FROM ACCOUNT UNION SELECT 1 FROM ACCOUNT)",
    "SELECT (SELECT Id FROM CONTRACT) FROM ACCOUNT",
    "SELECT (SELECT Id FROM CONTRACT.GhostObj) FROM ACCOUNT",
    "SELECT (SELECT COUNT(*) FROM CONTRACT.AccountObj GROUP BY Id) FROM ACCOUNT",
    "SELECT (SELECT COUNT(*) FROM CONTRACT.AccountObj) FROM ACCOUNT",
    "SELECT (SELECT Id FROM CONTRACT.AccountObj WHERE rownum <= 1) FROM ACCOUNT",
    "SELECT INSTR(Name, 'o', 3) FROM ACCOUNT",
    "SELECT TO_CHAR(Created, 'Month', 'NLS_DATE_LANGUAGE=German') FROM ACCOUNT",
    "SELECT EXTRACT(TIMEZONE FROM Created) FROM ACCOUNT",
    "SELECT EXTRACT(MILLENNIUM FROM Created) FROM ACCOUNT",
    "SELECT (SELECT Id FROM CONTRACT.AccountObj) FROM ACCOUNT GROUP BY Name",
    "SELECT (DELETE FROM CONTRACT) FROM ACCOUNT",
    "SELECT Id FROM (SELECT Id FROM ACCOUNT)",
    "SELECT Id INTO x FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT FOR UPDATE",
    "SELECT /*+ FULL(a) */ Id FROM ACCOUNT a FOR UPDATE",
    "SELECT Id FROM ACCOUNT, LATERAL (SELECT 1) x",
    "SELECT ROW_NUMBER() OVER (ORDER BY Id) FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT START WITH Id = 1 CONNECT BY PRIOR Id = ParentAccountId",
    "SELECT Id FROM ACCOUNT SAMPLE (10)",
    "SELECT Id FROM ACCOUNT WHERE Id = :id",
    "SELECT Id FROM ACCOUNT WHERE Id = ?",
    "SELECT Id FROM ACCOUNT WHERE Id = 'one'",
    "SELECT Id FROM ACCOUNT WHERE Created > 'yesterday'",
    "SELECT Id FROM ACCOUNT WHERE Created > '2026-99-99'",
    "SELECT Id + Name FROM ACCOUNT",
    "SELECT SUM(Name) FROM ACCOUNT",
    "SELECT Name, COUNT(*) FROM ACCOUNT",
    "SELECT 1 / 0 FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT FETCH NEXT 10 PERCENT ROWS ONLY",
    "SELECT Id FROM ACCOUNT OFFSET -1 ROWS",
    "SELECT rownum FROM ACCOUNT",
    "SELECT COUNT(*) FROM ACCOUNT WHERE rownum < 10",
    "SELECT *, Id FROM ACCOUNT",
    "SELECT TRUNC() FROM ACCOUNT",
    "SELECT NVL() FROM ACCOUNT",
    "SELECT DECODE() FROM ACCOUNT",
    "SELECT DECODE(Id) FROM ACCOUNT",
    "SELECT TO_DATE() FROM ACCOUNT",
    "SELECT CONCAT() FROM ACCOUNT",
    "SELECT ADD_MONTHS(Id) FROM ACCOUNT",
    "SELECT TRUNC(Created, 'CC') FROM ACCOUNT",
    "INSERT INTO ACCOUNT (Name) VALUES ('x')",
    "UPDATE ACCOUNT SET Name = 'x'",
    "DELETE FROM ACCOUNT",
    "DROP TABLE account",
    "BEGIN NULL; END;",
    "CALL x()",
    "SET ROLE postgres",
    "COPY account TO '/tmp/x'",
    "SELECT 'open FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT WHERE " + "(" * 200 + "1=1" + ")" * 200,
    "SELECT Id FROM ACCOUNT WHERE " + " AND ".join(["Id > 0"] * 2000),
    "SELECT Id FROM ACCOUNT WHERE Id = " + "-" * 500 + "1",
    "SELECT " + ", ".join(["Id"] * 3000) + " FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT " + "x" * 40_000,
    "SELECT Id FROM " + ", ".join(f"ACCOUNT a{n}" for n in range(30)),
    "SELECT " + "ParentAccountObj." * 10 + "Name FROM ACCOUNT",
    "SELECT Id FROM ACCOUNT WHERE Name = 'a\x01b'",
]


WORDS = (
    *("SELECT", "FROM", "WHERE", "ACCOUNT", "CONTRACT", "Id", "Name", "AccountObj.Name", ",", "("),
    *(")", "*", "=", "<>", "AND", "OR", "NOT", "NULL", "IS", "IN", "'x'", "1", "0", "/", "-", "||"),
    *("COUNT(*)", "SUM(", "CASE", "WHEN", "THEN", "END", "ORDER BY", "GROUP BY", "HAVING"),
    *("OFFSET 1 ROWS", "FETCH NEXT 2 ROWS ONLY", "rownum < 3", "JOIN", "ON", "TO_CHAR(", "SYSDATE"),
    *("StartDate", "Created", "DISTINCT", "NVL(", "DECODE(", "TRUNC(", "LIKE", "BETWEEN", "a", "."),
)


@pytest.mark.parametrize("sql", REFUSED, ids=itertools.count())
def test_what_is_not_possible_is_told(place: Place, sql: str) -> None:
    before = place.count("account")
    with place.client(sessionid=place.token) as client:
        answer = client.post("/rest/2.0/query", json={"sql": sql})
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert body["error"] == "Bad request" and body["errors"][0]["error_code"]
    assert place.count("account") == before


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(max_size=80), st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)))
def test_garbage_is_refused_or_answered(place: Place, text: str) -> None:
    with place.client(sessionid=place.token) as client:
        for sql in (text, f"SELECT {text} FROM ACCOUNT", f"SELECT Id FROM ACCOUNT WHERE {text}"):
            answer = client.post("/rest/2.0/query", json={"sql": sql})
            assert answer.status_code in (200, 400, 404), (sql, answer.text)


def test_a_slow_query_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterfoil.platform.records.selecting.SECONDS", 1)
    tables = ", ".join(f"ACCOUNT a{n}" for n in range(20))
    started = datetime.now(UTC)
    with place.client(sessionid=place.token) as client:
        answer = client.post("/rest/2.0/query", json={"sql": f"SELECT COUNT(*) FROM {tables}"})
    assert answer.json()["errors"][0]["error_code"] == "QUERY_TOO_SLOW"
    assert datetime.now(UTC) - started < timedelta(seconds=20)


def test_a_result_that_would_fill_the_memory_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterfoil.platform.records.selecting.MOST_CHARACTERS", 100_000)
    tables = ", ".join(f"ACCOUNT a{n}" for n in range(8))
    wide = ", ".join(["a0.Name"] * 300)
    with place.client(sessionid=place.token) as client:
        answer = client.post("/rest/2.0/query", json={"sql": f"SELECT {wide} FROM {tables}"})
    assert answer.json()["errors"][0]["error_code"] == "QUERY_TOO_LARGE"


def test_the_connection_can_write_again_afterwards(place: Place) -> None:
    headers = {"Authorization": f"Bearer {place.token}"}
    for number in range(6):
        httpx.post(f"{place.url}/rest/2.0/query", json={"sql": "SELECT 1/0 x"}, headers=headers)
        made = httpx.post(
            f"{place.url}/rest/2.0/SITE",
            json={"brmObjects": {"AccountId": 1, "Name": "s", "Country": "US"}},
            headers=headers,
        )
        assert made.json()["createResponse"][0]["success"] is True, number
