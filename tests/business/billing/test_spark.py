"""Bills of a million events come to the same on Spark, also when a worker is killed midway."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from bench.company import BILLING_DATE, EVENTS_PER_ACCOUNT, NOW, add_usage, make_company
from tests.conftest import SparkPlace
from tests.platform.engine.kernels import lethal

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.billing.bills import Bills, compute_bills
from counterfoil.business.billing.loading import billed_accounts
from counterfoil.business.usage.store import BUCKETS
from counterfoil.platform.engine.runner import IN_THIS_PROCESS, Runner

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("Spark cluster")]

EVENTS = 1_000_000
ACCOUNTS = -(-EVENTS // EVENTS_PER_ACCOUNT)


class Deadly:
    """Another runner, whose first task kills the worker it runs in; counts the works."""

    splits = True

    def __init__(self, runner: Runner, mark: Path) -> None:
        self.runner = runner
        self.mark = mark
        self.works = 0

    def run(self, kernel: Callable[[Any], Any], works: Mapping[Any, Any]) -> Iterator[Any]:
        self.works = len(works)
        return self.runner.run(partial(lethal, kernel, str(self.mark)), works)

    def close(self) -> None:
        self.runner.close()


@pytest.fixture(scope="module")
def company(server: Settings) -> Iterator[Organisation]:
    """Account trees with prices in three layers, in two time zones, and a month of calls."""
    with scratch_organisation(server) as organisation:
        make_company(organisation, ACCOUNTS)
        assert add_usage(organisation, ACCOUNTS) >= EVENTS
        yield organisation


def bills_of(company: Organisation, runner: Runner) -> Bills:
    with company.database.transaction(now=NOW) as uow:
        accounts = billed_accounts(uow)
        store = company.usage_store
        return compute_bills(uow, store, accounts, BILLING_DATE, usage_seen=10**9, runner=runner)


@pytest.fixture(scope="module")
def local(company: Organisation) -> Bills:
    """What one piece in this process comes to."""
    bills = bills_of(company, IN_THIS_PROCESS)
    assert bills.rated_charges.num_rows > 5 * ACCOUNTS
    assert sum(bills.rated_charges.column("events").to_pylist()) >= EVENTS
    return bills


def same(one: Bills, other: Bills) -> bool:
    """Every column of every row, to the last decimal."""
    tables = ("invoices", "rated_charges", "lines", "billed_through", "problems")
    return all(rows(getattr(one, name)) == rows(getattr(other, name)) for name in tables)


def rows(table: pa.Table) -> pa.Table:
    return table.sort_by([(name, "ascending") for name in table.column_names[:4]])


def test_in_one_java_machine(company: Organisation, local: Bills, spark_place: SparkPlace) -> None:
    assert same(bills_of(company, spark_place.local()), local)


def test_on_a_cluster(company: Organisation, local: Bills, spark_place: SparkPlace) -> None:
    assert same(bills_of(company, spark_place.cluster_of_two()), local)


def test_on_a_cluster_whose_worker_is_killed_midway(
    company: Organisation, local: Bills, spark_place: SparkPlace, tmp_path: Path
) -> None:
    runner = Deadly(spark_place.cluster_of_two(), tmp_path / "killed")
    workers = {worker.pid: worker for worker in spark_place.cluster.workers}

    bills = bills_of(company, runner)

    # The task that killed it was running on it, and the other fifteen stood in line.
    killed = int(runner.mark.read_text())
    assert runner.works == BUCKETS
    assert workers[killed].wait() < 0 and not psutil.pid_exists(killed)
    assert [pid for pid in workers if psutil.pid_exists(pid)] == [p for p in workers if p != killed]
    assert os.getpid() not in workers
    assert same(bills, local)
