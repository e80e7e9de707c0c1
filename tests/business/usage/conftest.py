"""A small conferencing provider: two customers, two meters, one collector."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from counterfoil.bootstrap import Organisation
from counterfoil.platform.engine.duck import open_engine

NOW = datetime(2026, 8, 5, 12, 0, tzinfo=UTC)

CALLS = """
id: bridge
name: Bridge call records
format: csv
time_zone: America/New_York
fields:
  event_id: call_id
  time: started
  identifier: bridge_account
  meter: {template: "{service}/{access}", map: {premier/dial_out: dial_out, premier/toll: toll}}
  quantity: seconds
maximum_quantity: 86400
"""

HEADER = "call_id,started,bridge_account,service,access,seconds,host\n"


def call(
    number: int,
    *,
    started: str = "2026-07-10 09:00:00",
    account: str = "4711",
    service: str = "premier",
    access: str = "dial_out",
    seconds: str = "90",
) -> str:
    """One row of the bridge's file."""
    return f"C{number},{started},{account},{service},{access},{seconds},ann\n"


@pytest.fixture
def provider(organisation: Organisation) -> Organisation:
    """ACME (New York, identifier 4711) has both meters, Bolt (below ACME, 0815) tolls only.

    ACME's service begins on 1 July 2026, Bolt's ended on 15 July.
    """
    with organisation.database.transaction(now=NOW) as uow:
        acme = uow.create("account", {"external_id": "ACME", "name": "Acme"})["id"]
        bolt = {"external_id": "BOLT", "name": "Bolt", "parent_id": acme}
        accounts = {"ACME": acme, "BOLT": uow.create("account", bolt)["id"]}
        uow.execute("UPDATE account SET root_id = coalesce(parent_id, id)")
        profile = {"account_id": acme, "currency": "USD", "time_zone": "America/New_York"}
        uow.create("billing_profile", profile)
        product = uow.create("product", {"external_id": "conf", "name": "Conferencing"})["id"]
        meters = {
            name: uow.create("meter", {"external_id": name, "name": name, "unit": "second"})["id"]
            for name in ("dial_out", "toll", "recording")
        }
        plans = {"full": ("dial_out", "toll"), "tolls": ("toll",)}
        plan_ids = {}
        for plan, names in plans.items():
            values = {"external_id": plan, "product_id": product, "name": plan}
            plan_ids[plan] = uow.create("rate_plan", values)["id"]
            for name in names:
                charge = {
                    "external_id": f"{plan}-{name}",
                    "rate_plan_id": plan_ids[plan],
                    "name": name,
                    "kind": "usage",
                    "meter_id": meters[name],
                }
                uow.create("charge", charge)
        for number, account, plan, identifier, start, end in (
            (1, "ACME", "full", "4711", date(2026, 7, 1), None),
            (2, "BOLT", "tolls", "0815", date(2026, 7, 1), date(2026, 7, 15)),
        ):
            values = {
                "external_id": f"S-{number}",
                "account_id": accounts[account],
                "rate_plan_id": plan_ids[plan],
                "start_date": start,
                "end_date": end,
            }
            subscription = uow.create("subscription", values)["id"]
            row = {"identifier": identifier, "subscription_id": subscription}
            uow.create("usage_identifier", row)
    return organisation


@pytest.fixture
def events(provider: Organisation) -> Callable[..., list[dict[str, object]]]:
    """Reads the stored events as billing would."""
    from counterfoil.business.usage.store import usage_relation

    def read(
        buckets: list[int] | None = None,
        from_time: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        to_time: datetime = datetime(2027, 1, 1, tzinfo=UTC),
    ) -> list[dict[str, object]]:
        with provider.database.transaction(now=NOW) as uow:
            sql = usage_relation(
                uow,
                provider.usage_store,
                buckets=buckets,
                from_time=from_time,
                to_time=to_time,
            )
        with open_engine() as engine:
            return engine.arrow(f"SELECT * FROM ({sql}) ORDER BY source, event_id").to_pylist()

    return read


@pytest.fixture
def usage_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a usage file below the test's folder."""

    def write(text: str | bytes, name: str = "calls.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write
