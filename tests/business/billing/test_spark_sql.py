"""What is due, written for Spark. That it is rated there to the same is tested by scenarios."""

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.business.billing.conftest import NOW, Company

from counterfoil.business.billing.loading import billed_accounts
from counterfoil.business.billing.spark_sql import SCRIPT, export_rating
from counterfoil.core.problems import Refused

FILTERED = """
meters: [{id: toll, name: Toll, unit: minute, filter: {"caller's": [toll]}}]
rate_plans:
  - id: filtered
    product: conferencing
    name: Filtered
    charges:
      - id: toll
        name: Toll
        kind: usage
        meter: toll
        unit: minute
        prices: [{currency: USD, model: per_unit, amount: 1}]
"""
BY_FORMULA = """
rate_plans:
  - id: by_formula
    product: conferencing
    name: By formula
    charges:
      - id: fee
        name: Fee
        kind: recurring
        prices: [{currency: USD, model: formula, formula: quantity * 2}]
"""
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


def test_what_spark_sql_cannot_say_is_refused(due: Company, tmp_path: Path) -> None:
    due.load_prices(FILTERED)
    due.subscribe("F", "A0", "filtered", JAN)
    with pytest.raises(Refused, match="attributes named caller's are not"):
        export(due, tmp_path / "spark")


def test_formulas_are_refused(due: Company, tmp_path: Path) -> None:
    due.load_prices(BY_FORMULA)
    due.subscribe("F", "A0", "by_formula", JAN)
    with pytest.raises(Refused, match="formulas are not put into Spark SQL"):
        export(due, tmp_path / "spark")
    assert not (tmp_path / "spark" / SCRIPT).exists()
