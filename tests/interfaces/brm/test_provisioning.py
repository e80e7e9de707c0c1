"""From account to a terminated product: the sequence that provisioning scripts go through."""

from datetime import date
from decimal import Decimal

import pytest
from billingplatform import BillingPlatform
from tests.interfaces.conftest import Place

from counterfoil.platform.model.applying import apply_change_set


def made(client: BillingPlatform, entity: str, *records: dict[str, object]) -> list[str]:
    """The Ids of records that have to be made."""
    elements = client.create(entity, list(records))["createResponse"]
    assert [one["ErrorText"] for one in elements] == [" "] * len(records)
    return [one["Id"] for one in elements]


@pytest.fixture
def product(client: BillingPlatform, place: Place) -> str:
    """A product that can be provisioned: alone in its package."""
    key = f"P{place.count('charge')}"
    (sold,) = made(client, "CF_PRODUCT", {"ExternalId": key, "Name": "Conferencing"})
    (package,) = made(client, "PACKAGE", {"ExternalKey": key, "Name": "Port", "ProductId": sold})
    (charge,) = made(
        client,
        "PRODUCT",
        {
            "ExternalKey": f"{key}-port",
            "Name": "HD port",
            "PackageId": package,
            "Kind": "recurring",
            "Unit": "port",
        },
    )
    return charge


def test_the_typical_sequence(client: BillingPlatform, place: Place, product: str) -> None:
    (account,) = made(
        client, "ACCOUNT", {"Name": "Northwind", "Status": "ACTIVE", "AccountTypeId": "2"}
    )
    made(
        client,
        "BILLING_PROFILE",
        {
            "AccountId": account,
            "BillTo": "Northwind Ltd.",
            "Address1": "1 Main Street",
            "City": "Austin",
            "State": "TX",
            "Zip": "78701",
            "Country": "US",
            "CurrencyCode": "USD",
            "TimeZoneId": "America/Chicago",
            "BillingCycle": "MONTHLY",
            "MonthlyBillingDate": "31",
            "PaymentTermDays": "30",
            "BillingMethod": "MAIL",
        },
    )
    (contract,) = made(
        client,
        "CONTRACT",
        {
            "AccountId": account,
            "ContractNumber": f"K-{account}",
            "ContractStatus": "ACTIVE",
            "StartDate": "2026-01-01",
            "EndDate": "",
            "OnEndDate": "Terminate",
            "RateClassId": "",
        },
    )
    made(client, "CONTRACT_CURRENCY", {"ContractId": contract, "CurrencyCode": "USD"})
    (rate,) = made(
        client,
        "CONTRACT_RATE",
        {
            "ContractId": contract,
            "ProductId": product,
            "StartDate": "2026-01-01",
            "ContractRateLabel": "Northwind ports",
            "RatingMethodId": "",
        },
    )
    common = {"ContractRateId": rate, "CurrencyCode": "USD", "RerateFlag": "0"}
    made(
        client,
        "PRICING",
        {**common, "Rate": "9.5", "LowerBand": "0", "UpperBand": "10", "RateOrder": "1"},
        {**common, "Rate": "8", "UpperBand": "-1", "RateOrder": "2"},
    )
    (provided,) = made(
        client,
        "ACCOUNT_PRODUCT",
        {
            "AccountId": account,
            "ProductId": product,
            "ContractId": contract,
            "Quantity": "12",
            "Status": "ACTIVE",
            "BillingCycleStartDate": "2026-01-01",
            "EndDate": "",
            "BillingIdentifier": f"bridge-{account}",
        },
    )
    sql = (
        "SELECT p.Quantity, p.ProductObj.Name, p.ContractObj.ContractNumber AS ContractNo,"
        " a.Name FROM ACCOUNT_PRODUCT p JOIN ACCOUNT a ON a.Id = p.AccountId"
        f" WHERE p.Id = {provided}"
    )
    assert client.query(sql)["queryResponse"] == [
        {
            "Quantity": "12",
            "ProductObj.Name": "HD port",
            "ContractNo": f"K-{account}",
            "Name": "Northwind",
        }
    ]
    tiers = client.query(
        "SELECT Rate, LowerBand, UpperBand, CurrencyCode,"
        " ContractRateObj.ContractObj.AccountObj.Name who"
        f" FROM PRICING WHERE ContractRateId = '{rate}' ORDER BY LowerBand"
    )["queryResponse"]
    assert [tuple(one.values()) for one in tiers] == [
        ("9.5", "0", "10", "USD", "Northwind"),
        ("8", "10", "-1", "USD", "Northwind"),
    ]
    (ended,) = client.update("ACCOUNT_PRODUCT", {"Id": provided, "EndDate": "2026-07-01"})[
        "updateResponse"
    ]
    assert ended["success"] is True
    check_subscription(place, account, f"bridge-{account}")


def check_subscription(place: Place, account: str, identifier: str) -> None:
    """What stands in our own records behind it."""
    database = place.organisation.database
    with database.transaction(now=place.organisation.clock()) as uow:
        found = uow.find("subscription", account_id=int(account))
        assert found is not None
        assert (found["start_date"], found["end_date"]) == (date(2026, 1, 1), date(2026, 7, 1))
        charge = uow.find("subscription_charge", subscription_id=found["id"])
        assert charge is not None
        assert (charge["quantity"], charge["end_date"]) == (Decimal(12), date(2026, 7, 1))
        token = uow.find("usage_identifier", subscription_id=found["id"])
        assert token is not None and token["identifier"] == identifier
        profile = uow.find("billing_profile", account_id=int(account))
        assert profile is not None
        assert (profile["cycle_day"], profile["currency"], profile["region"]) == (31, "USD", "TX")


def test_what_stands_elsewhere_has_to_agree(client: BillingPlatform, product: str) -> None:
    (account,) = made(client, "ACCOUNT", {"Name": "Contoso"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "EUR"})
    (contract,) = made(
        client,
        "CONTRACT",
        {"AccountId": account, "ContractNumber": f"C-{account}", "StartDate": "2026-01-01"},
    )
    (refused,) = client.create(
        "CONTRACT_CURRENCY", {"ContractId": contract, "CurrencyCode": "USD"}
    )["createResponse"]
    assert (refused["ErrorCode"], refused["ErrorElementField"]) == ("NOT_KEPT_HERE", "CurrencyCode")
    assert refused["ErrorText"] == "CurrencyCode: is EUR there and cannot be set here"
    (unknown,) = client.create("CONTRACT_CURRENCY", {"ContractId": "99999"})["createResponse"]
    assert unknown["ErrorText"] == "Id: there is no CONTRACT_CURRENCY 99999"
    (deleted,) = client.delete("CONTRACT_CURRENCY", {"Id": contract})["deleteResponse"]
    assert deleted["ErrorCode"] == "ONLY_SHOWN"
    (status,) = client.update("CONTRACT", {"Id": contract, "ContractStatus": "DRAFT"})[
        "updateResponse"
    ]
    assert status["ErrorCode"] == "UNKNOWN_CHOICE"


def test_a_list_price_is_no_contract_rate(client: BillingPlatform, product: str) -> None:
    (tier,) = made(
        client,
        "PRICING",
        {"ProductId": product, "Rate": "3", "UpperBand": "-1", "CurrencyCode": "USD"},
    )
    (row,) = client.retrieve_by_id("PRICING", tier)["retrieveResponse"]
    assert (row["ProductId"], row["Rate"], row["UpperBand"]) == (product, "3", "-1")
    price = row["ContractRateId"]
    (refused,) = client.delete("CONTRACT_RATE", {"Id": price})["deleteResponse"]
    assert refused["ErrorCode"] == "UNKNOWN_RECORD"
    assert client.retrieve_by_id("PRICE", price)["retrieveResponse"][0]["Layer"] == "list"


def test_one_product_of_several_is_provisioned_as_a_package(
    client: BillingPlatform, product: str
) -> None:
    (first,) = client.retrieve_by_id("PRODUCT", product)["retrieveResponse"]
    package = first["PackageId"]
    made(
        client,
        "PRODUCT",
        {"ExternalKey": f"{package}-2", "Name": "Setup", "PackageId": package, "Kind": "one_time"},
    )
    (account,) = made(client, "ACCOUNT", {"Name": "Fabrikam"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    (refused,) = client.create(
        "ACCOUNT_PRODUCT", {"AccountId": account, "ProductId": product, "StartDate": "2026-01-01"}
    )["createResponse"]
    assert (refused["ErrorCode"], refused["ErrorElementField"]) == (
        "PART_OF_A_PACKAGE",
        "ProductId",
    )
    (provided,) = made(
        client,
        "ACCOUNT_PACKAGE",
        {"AccountId": account, "PackageId": package, "StartDate": "2026-01-01"},
    )
    parts = client.query(
        f"SELECT Name, Quantity FROM ACCOUNT_PRODUCT WHERE AccountPackageId = {provided}"
    )["queryResponse"]
    assert [tuple(one.values()) for one in parts] == [("HD port", "1"), ("Setup", "1")]
    client.update("ACCOUNT_PACKAGE", {"Id": provided, "EndDate": "2026-03-01"})
    ends = client.query(f"SELECT EndDate FROM ACCOUNT_PRODUCT WHERE AccountPackageId = {provided}")[
        "queryResponse"
    ]
    assert [one["EndDate"] for one in ends] == ["2026-03-01", "2026-03-01"]


BRIDGE = {
    "format": "jsonl",
    "fields": {
        "event_id": "RecordNumber",
        "time": "ACTIVITY_DATE",
        "identifier": "BillingIdentifier",
        "meter": {"constant": "minutes"},
        "quantity": "Quantity",
    },
}


def test_usage_of_what_was_provisioned(client: BillingPlatform, place: Place) -> None:
    made(client, "METER", {"ExternalId": "minutes", "Name": "Minutes", "Unit": "minute"})
    (meter,) = client.query("SELECT Id FROM METER WHERE ExternalId = 'minutes'")["queryResponse"]
    (sold,) = made(client, "CF_PRODUCT", {"ExternalId": "calls", "Name": "Calls"})
    (package,) = made(client, "PACKAGE", {"ExternalKey": "calls", "Name": "C", "ProductId": sold})
    charge = {"ExternalKey": "calls", "Name": "Calls", "PackageId": package, "Kind": "usage"}
    (product,) = made(client, "PRODUCT", {**charge, "MeterId": meter["Id"], "Unit": "minute"})
    (account,) = made(client, "ACCOUNT", {"Name": "Caller"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    provided = {"AccountId": account, "ProductId": product, "StartDate": "2026-01-01"}
    made(client, "ACCOUNT_PRODUCT", {**provided, "BillingIdentifier": "b-1, b-2"})
    (collector,) = made(
        client,
        "ACTIVITY_COLLECTOR",
        {"ActivityCollectorName": "bridge", "Name": "Bridge", "Definition": BRIDGE},
    )
    record = {
        "ACTIVITY_COLLECTOR_ID": collector,
        "RecordNumber": "1",
        "ACTIVITY_DATE": "2026-01-31T10:00:00Z",
        "BillingIdentifier": "b-2",
        "Quantity": "12.5",
    }
    answer = client.create(
        "COLLECTOR_FIELDS",
        [
            record,
            {**record, "RecordNumber": "2", "BillingIdentifier": "nobody"},
            {**record, "ACTIVITY_COLLECTOR_ID": "999"},
        ],
    )["createResponse"]
    assert [one["ErrorCode"] for one in answer] == ["0", "UNKNOWN_SUBSCRIBER", "UNKNOWN_REFERENCE"]
    batches = client.query("SELECT Accepted, Rejected FROM USAGE_BATCH")["queryResponse"]
    assert batches == [{"Accepted": "1", "Rejected": "1"}]
    url = f"{client.rest_base_url}/COLLECTOR_FIELDS"
    assert client.session.put(url, json={"brmObjects": record}, timeout=60).status_code == 400
    assert place.count("rejected_usage") == 1


def test_custom_fields_of_what_is_provisioned(
    client: BillingPlatform, place: Place, product: str
) -> None:
    content = "change_set: Orders\nfields: {subscription: {x_order: {kind: text}}}\n"
    now = place.organisation.clock()
    apply_change_set(place.organisation.database, content, now=now, source="cli")
    (account,) = made(client, "ACCOUNT", {"Name": "Ordered"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    (record,) = client.retrieve_by_id("PRODUCT", product)["retrieveResponse"]
    package = {"AccountId": account, "PackageId": record["PackageId"], "StartDate": "2026-01-01"}
    (provided,) = made(client, "ACCOUNT_PACKAGE", {**package, "x_order": "PO-1"})
    client.update("ACCOUNT_PACKAGE", {"Id": provided, "x_order": "PO-2"})
    sql = f"SELECT AccountPackageObj.x_order o FROM ACCOUNT_PRODUCT WHERE AccountId = {account}"
    assert client.query(sql)["queryResponse"] == [{"o": "PO-2"}]


def test_an_upsert_may_say_what_only_a_new_record_takes(
    client: BillingPlatform, product: str
) -> None:
    (account,) = made(client, "ACCOUNT", {"Name": "Upserted"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    (record,) = client.retrieve_by_id("PRODUCT", product)["retrieveResponse"]
    package: dict[str, object] = {
        "ExternalKey": f"S-{account}",
        "AccountId": account,
        "PackageId": record["PackageId"],
        "StartDate": "2026-01-01",
        "BillingIdentifier": f"token-{account}",
    }
    payment = {"ExternalReferenceId": f"P-{account}", "AccountId": account, "Amount": "5"}
    for fresh in (True, False):
        (one,) = client.upsert("ACCOUNT_PACKAGE", package, "ExternalKey")["upsertResponse"]
        assert (one["ErrorText"], one["created"]) == (" ", fresh)
        (one,) = client.upsert("PAYMENT", {**payment, "Autoallocate": "0"}, "ExternalReferenceId")[
            "upsertResponse"
        ]
        assert (one["ErrorText"], one["created"]) == (" ", fresh)
    package["BillingIdentifier"] = "another"
    (refused,) = client.upsert("ACCOUNT_PACKAGE", package, "ExternalKey")["upsertResponse"]
    assert refused["ErrorElementField"] == "BillingIdentifier"
    (refused,) = client.upsert("PAYMENT", {**payment, "Amount": "6"}, "ExternalReferenceId")[
        "upsertResponse"
    ]
    assert refused["ErrorCode"] == "MADE_BY_COMMAND"


def test_tiers_may_come_one_by_one(client: BillingPlatform, product: str) -> None:
    (account,) = made(client, "ACCOUNT", {"Name": "Tiered"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    key = f"T-{account}"
    contract = {"AccountId": account, "ContractNumber": key, "StartDate": "2026-01-01"}
    (agreed,) = made(client, "CONTRACT", contract)
    (rate,) = made(client, "CONTRACT_RATE", {"ContractId": agreed, "ProductId": product})
    made(client, "PRICING", {"ContractRateId": rate, "Rate": "9", "UpperBand": "10"})
    (last,) = made(client, "PRICING", {"ContractRateId": rate, "Rate": "8", "UpperBand": "-1"})
    (tier,) = client.retrieve_by_id("PRICING", last)["retrieveResponse"]
    assert (tier["LowerBand"], tier["UpperBand"]) == ("10", "-1")
    (back,) = client.update("PRICING", tier)["updateResponse"]
    assert back["ErrorText"] == " "


def test_a_day_that_is_none_is_no_payment_date(client: BillingPlatform, place: Place) -> None:
    (account,) = made(client, "ACCOUNT", {"Name": "Dated"})
    made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    payment = {"AccountId": account, "Amount": "5"}
    before = place.count("payment")
    for day in ("2026-01-31Tnonsense", "2026-01-31 x", "2026-02-30", "13/01/2026"):
        (one,) = client.create("PAYMENT", {**payment, "PaymentDate": day})["createResponse"]
        assert one["ErrorElementField"] == "PaymentDate", one
    assert place.count("payment") == before
    days = ("2026-01-31T23:30:00-08:00", "2026-01-31 10:00:00", "01/31/2026", "2026-01-31")
    ids = made(client, "PAYMENT", *({**payment, "PaymentDate": day} for day in days))
    found = client.query(f"SELECT PaymentDate FROM PAYMENT WHERE Id IN ({', '.join(ids)})")
    assert [one["PaymentDate"] for one in found["queryResponse"]] == ["2026-01-31"] * 4


def test_a_payment_is_recorded_once(client: BillingPlatform, place: Place) -> None:
    (account,) = made(client, "ACCOUNT", {"Name": "Payer"})
    (profile,) = made(client, "BILLING_PROFILE", {"AccountId": account, "CurrencyCode": "USD"})
    payment = {
        "BillingProfileId": profile,
        "Amount": "120.50",
        "PaymentDate": "2026-01-31",
        "PaymentType": "CHECK",
        "Autoallocate": "1",
        "ExternalReferenceId": f"bank-{account}",
    }
    first = made(client, "PAYMENT", payment)
    assert made(client, "PAYMENT", payment) == first
    sql = "SELECT Amount, PaymentType, CurrencyCode, BillingProfileObj.AccountObj.Name FROM PAYMENT"
    (row,) = client.query(f"{sql} WHERE Id = {first[0]}")["queryResponse"]
    assert list(row.values()) == ["120.5", "CHECK", "USD", "Payer"]
    before = place.count("payment")
    answer = client.create(
        "PAYMENT",
        [
            {**payment, "ExternalReferenceId": "", "BillingProfileId": "99999"},
            {**payment, "ExternalReferenceId": "", "Amount": "much"},
            {**payment, "ExternalReferenceId": "", "CurrencyCode": "EUR"},
        ],
    )["createResponse"]
    assert [one["success"] for one in answer] == [False, False, False]
    (refused,) = client.update("PAYMENT", {"Id": first[0], "PaymentNote": "x"})["updateResponse"]
    assert refused["ErrorCode"] == "MADE_BY_COMMAND"
    assert place.count("payment") == before
