"""What the kinds of jobs do: the same as by hand, and twice the same as once."""

from datetime import date
from decimal import Decimal

import pytest
from tests.business.billing.conftest import Company

from counterfoil.bootstrap import Organisation, open_worker
from counterfoil.platform.jobs.deciding import retry_job
from counterfoil.platform.jobs.enqueuing import enqueue
from counterfoil.platform.metadata import Record

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)


class Office(Company):
    """A company whose work is done by jobs."""

    def done(self, kind: str, **payload: object) -> Record:
        """The job after it was run, and run once more: both times with the same state of things."""
        clock = self.organisation.clock
        with self.database.transaction(now=clock(), actor="ann") as uow:
            job = enqueue(uow, kind, payload)
        open_worker(self.organisation).run_due()
        with self.database.transaction(now=clock()) as uow:
            first = uow.get("job", job)
            before = self.made(uow)
            retry_job(uow, job)
        open_worker(self.organisation).run_due()
        with self.database.transaction(now=clock()) as uow:
            assert (uow.get("job", job)["state"], self.made(uow)) == (first["state"], before)
        return first

    def made(self, uow) -> list[Record]:  # type: ignore[no-untyped-def]
        return uow.query(
            "SELECT (SELECT count(*) FROM invoice) AS invoices, (SELECT count(*) FROM invoice_line)"
            " AS lines, (SELECT count(*) FROM stored_file) AS files,"
            " (SELECT count(*) FROM amendment) AS amendments"
        )


@pytest.fixture
def office(organisation: Organisation) -> Office:
    """ACME and BETA with a room each."""
    office = Office(organisation)
    office.load_prices()
    for name in ("ACME", "BETA"):
        office.open_account(name)
        office.subscribe(f"S-{name}", name, "rooms", JAN)
    return office


def test_the_kinds_of_jobs_do_what_is_done_by_hand(office: Office) -> None:
    billed = office.done("run_bills", billing_date="2024-01-01", account="ACME", finalize=False)
    assert (billed["state"], billed["error"]) == ("done", None)
    assert (billed["result"]["invoices"], billed["result"]["totals"]) == (1, {"USD": "249.95"})
    assert office.done("finalize_invoices")["result"]["finalized"] == 1
    everybody = office.done("run_bills", billing_date="2024-01-01")["result"]
    assert (everybody["invoices"], everybody["skipped_accounts"]) == (1, 0)
    assert office.done("refresh_drafts")["result"] == {"drafts": 0, "finalized": 0}
    assert office.done("renew_subscriptions", due="2024-02-01")["result"] == {
        "terms": 0,
        "problems": {},
    }

    printed = office.done("print_invoices", invoice_date="2024-01-01")["result"]
    assert printed["documents"] == 2
    folder = office.organisation.home / "printed" / "2024-01-01"
    assert {path.name for path in folder.iterdir()} == {"INV-000001.pdf", "INV-000002.pdf"}

    exported = office.done("export_records", entity="account")["result"]
    with office.database.transaction(now=office.now) as uow:
        kept = uow.get("stored_file", exported["stored_file"])
        total = uow.query("SELECT sum(total) AS total FROM invoice")[0]["total"]
        (run, *_) = uow.query(
            "SELECT actor, source, request_id FROM record_change WHERE entity = 'bill_run'"
        )
    content = office.organisation.files.read(kept["sha256"]).decode()
    assert [line.split(",")[0] for line in content.splitlines()][1:] == ["ACME", "BETA"]
    assert (exported["records"], kept["media_type"], total) == (2, "text/csv", Decimal("499.90"))
    assert run == {"actor": "ann", "source": "job", "request_id": f"jobs/{billed['id']}"}


def test_a_renewal_by_a_job_raises_the_prices(office: Office) -> None:
    with office.database.transaction(now=office.now) as uow:
        ids = uow.ids_by("subscription", "external_id", ["S-ACME", "S-BETA"])
        terms = {"term_end": FEB, "term_months": 1, "renewal": "renew"}
        raised = {**terms, "renewal_uplift_percent": 10}
        uow.update_many("subscription", [(ids["S-ACME"], raised), (ids["S-BETA"], terms)])
    done = office.done("renew_subscriptions", due="2024-02-01")
    assert (done["state"], done["result"]) == ("done", {"terms": 2, "problems": {}})
    with office.database.transaction(now=office.now) as uow:
        (price,) = uow.query(
            "SELECT t.unit_amount, p.valid_from FROM price p JOIN price_tier t ON t.price_id = p.id"
            " WHERE p.layer = 'subscription'"
        )
    assert price == {"unit_amount": Decimal("274.95"), "valid_from": FEB}


def test_what_cannot_be_done_is_given_up_with_the_reason(office: Office) -> None:
    unknown = office.done("run_bills", account="GAMMA")
    assert (unknown["state"], unknown["error"]) == (
        "failed",
        "account: there is no account 'GAMMA'",
    )
    entity = office.done("export_records", entity="accounts")
    assert entity["state"] == "failed"
    assert entity["error"].startswith("there is no entity 'accounts'")
