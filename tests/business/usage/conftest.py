"""A small conferencing provider: two customers, two meters, one collector."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests.furnishing import Furnishings

from counterfoil.bootstrap import Organisation
from counterfoil.business.usage.collectors import save_collectors
from counterfoil.business.usage.commands import import_file
from counterfoil.business.usage.intake import BatchSummary
from counterfoil.business.usage.queries import list_rejected
from counterfoil.business.usage.store import usage_relation, visible_segments
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

CLOUD_EVENT = {
    "specversion": "1.0",
    "source": "/bridge/1",
    "type": "dial_out",
    "subject": "4711",
    "time": "2026-07-10T09:00:00Z",
    "data": {"quantity": 90},
}
"""A call of 90 seconds as it comes over HTTP; its id is missing."""

HEADER = "call_id,started,bridge_account,service,access,seconds,host\n"


class Bridge:
    """The provider's conference bridge: writes its files and imports them."""

    now = NOW
    header = HEADER

    def __init__(self, organisation: Organisation, folder: Path) -> None:
        self.organisation = organisation
        self.database = organisation.database
        self.store = organisation.usage_store
        self.folder = folder

    def call(self, number: int, **changes: str) -> str:
        """One row of the bridge's file: 90 seconds of ACME dialling out, unless changed."""
        values = {
            "call_id": f"C{number}",
            "started": "2026-07-10 09:00:00",
            "bridge_account": "4711",
            "service": "premier",
            "access": "dial_out",
            "seconds": "90",
            "host": "ann",
        }
        return ",".join({**values, **changes}.values()) + "\n"

    def collector(self, document: str) -> None:
        with self.database.transaction(now=NOW) as uow:
            save_collectors(uow, document)

    def file(self, *rows: str, name: str = "calls.csv", header: str = HEADER) -> Path:
        path = self.folder / name
        path.write_text(header + "".join(rows), encoding="utf-8")
        return path

    def load(self, path: Path, collector: str = "bridge") -> BatchSummary:
        return import_file(self.database, self.store, collector, path, now=NOW)

    def rejected(self, status: str = "open") -> list[dict[str, object]]:
        with self.database.transaction(now=NOW) as uow:
            return list_rejected(uow, status=status, limit=1000)

    def events(
        self,
        *columns: str,
        buckets: list[int] | None = None,
        from_time: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        to_time: datetime = datetime(2027, 1, 1, tzinfo=UTC),
        subscriptions: list[int] | None = None,
    ) -> list[tuple[object, ...]]:
        """The stored events as billing reads them, by source and event id."""
        with self.database.transaction(now=NOW) as uow:
            manifest = visible_segments(uow)
        sql = usage_relation(
            manifest,
            self.store,
            buckets=buckets,
            from_time=from_time,
            to_time=to_time,
            subscriptions=subscriptions,
        )
        listed = ", ".join(columns or ("event_id",))
        with open_engine() as engine:
            return engine.rows(f"SELECT {listed} FROM ({sql}) ORDER BY source, event_id")


@pytest.fixture
def bridge(provider: Organisation, tmp_path: Path) -> Bridge:
    """The bridge, whose collector is saved."""
    return Bridge(provider, tmp_path)


@pytest.fixture
def provider(furnishings: Furnishings) -> Iterator[Organisation]:
    with furnishings.copy(furnish) as organisation:
        yield organisation


def furnish(organisation: Organisation) -> None:
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
        charges: dict[str, list[int]] = {}
        for plan, names in plans.items():
            values = {"external_id": plan, "product_id": product, "name": plan}
            plan_ids[plan] = uow.create("rate_plan", values)["id"]
            charges[plan] = []
            for name in names:
                charge = {
                    "external_id": f"{plan}-{name}",
                    "rate_plan_id": plan_ids[plan],
                    "name": name,
                    "kind": "usage",
                    "meter_id": meters[name],
                }
                charges[plan].append(uow.create("charge", charge)["id"])
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
            for charge_id in charges[plan]:
                part = {"subscription_id": subscription, "charge_id": charge_id}
                dates = {"start_date": start, "end_date": end}
                uow.create("subscription_charge", {**part, **dates})
    Bridge(organisation, organisation.home).collector(CALLS)
