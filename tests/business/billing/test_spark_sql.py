"""What is due, written for Spark, is rated there to what a bill run comes to."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.business.billing.conftest import NOW, Company
from tests.conftest import SparkPlace

from counterfoil.business.billing.bills import compute_bills
from counterfoil.business.billing.loading import billed_accounts
from counterfoil.business.billing.spark_sql import SCRIPT, export_rating

JAN, FEB = date(2024, 1, 1), date(2024, 2, 1)


@pytest.fixture
def due(company: Company) -> Company:
    for number in range(3):
        company.open_account(f"A{number}", time_zone="America/New_York")
        company.subscribe(f"R{number}", f"A{number}", "rooms", date(2024, 1, 1 + 9 * number))
        minutes = company.subscribe(f"M{number}", f"A{number}", "minutes", JAN)
        company.use(
            minutes,
            *(
                (f"{number}-{n}", datetime(2024, 1, 2 + n, tzinfo=UTC), str(61 * n))
                for n in range(9)
            ),
        )
    return company


def export(company: Company, folder: Path) -> list[Path]:
    with company.database.transaction(now=NOW) as uow:
        accounts = billed_accounts(uow)
        return export_rating(uow, company.store, folder, accounts, FEB, usage_seen=0)


def test_the_folder_has_what_the_script_reads(due: Company, tmp_path: Path) -> None:
    files = export(due, tmp_path / "spark")
    script = (tmp_path / "spark" / SCRIPT).read_text()
    assert script.startswith("-- Needs a table or view usage (source VARCHAR, event_id VARCHAR, ")
    for file in files[:-1]:
        assert f"AS SELECT * FROM parquet.`{file}`" in script
    assert pq.read_table(tmp_path / "spark/charge_item.parquet").num_rows == 9
    midnights = pq.read_table(tmp_path / "spark/midnight.parquet").to_pylist()
    assert len(midnights) == 32
    assert midnights[0]["instant"] == datetime(2024, 1, 1, 5)  # noqa: DTZ001 - UTC by convention
    assert "SET spark.sql.decimalOperations.allowPrecisionLoss = false" in script


@pytest.mark.slow
@pytest.mark.xdist_group("spark")
def test_the_script_comes_to_what_a_bill_run_comes_to(
    due: Company, spark_place: SparkPlace, tmp_path: Path
) -> None:
    export(due, tmp_path / "spark")
    session = spark_place.session()
    segments = [str(path) for path in (due.store.folder / "fresh").glob("*.parquet")]
    session.read.parquet(*segments).createOrReplaceTempView("usage")
    for statement in (tmp_path / "spark" / SCRIPT).read_text().split(";\n"):
        if statement.strip():
            session.sql(statement)
    got = session.sql("SELECT amount FROM rated ORDER BY amount").collect()

    with due.database.transaction(now=NOW) as uow:
        bills = compute_bills(uow, due.store, billed_accounts(uow), FEB, usage_seen=0)
    expected = sorted(bills.rated_charges.column("amount").to_pylist())
    assert [row["amount"] for row in got] == expected
    assert sum(expected) == sum(bills.invoices.column("total").to_pylist(), Decimal(0))
