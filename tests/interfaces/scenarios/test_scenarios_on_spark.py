"""All scenarios are rated by Spark to what they are rated to here, in both ways.

Several scenarios make one batch, as the accounts of a real one: what one of them needs must not
change another.
"""

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from tests.conftest import SparkPlace
from tests.interfaces.scenarios.merging import Merged, has_formulas, merge
from tests.interfaces.scenarios.recordings import Rated, Recordings

from counterfoil.bootstrap import Settings
from counterfoil.business.billing.buckets import BucketWork, from_stream, rate_bucket
from counterfoil.business.billing.spark_sql import MADE, SCRIPT, not_in_spark_sql, write_rating
from counterfoil.platform.engine.duck import open_engine, small_engine

FILES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
BATCHES = 8

pytestmark = [
    pytest.mark.slow,
    pytest.mark.last,
    pytest.mark.timeout(900),
]


@pytest.fixture
def recorded(recordings: Recordings, server: Settings) -> list[Rated]:
    return [one for path in FILES for one in recordings.of(path, server)]


# The two end the suite beside each other, each on the worker that has used such a Spark before.
@pytest.mark.xdist_group("Spark cluster")
def test_every_scenario_on_a_cluster(recorded: list[Rated], spark_place: SparkPlace) -> None:
    plain = [one for one in recorded if not has_formulas(one[0])]
    alone = [one for one in recorded if has_formulas(one[0])]
    batches = [merge(plain[number::BATCHES]) for number in range(BATCHES)]
    batches += [merge([one]) for one in alone]

    works = {number: batch.work for number, batch in enumerate(batches)}
    got = dict(spark_place.cluster_of_two().run(rate_bucket, works))

    assert len(recorded) > len(FILES)
    for number, batch in enumerate(batches):
        check(
            batch, {name: from_stream(stream).to_pylist() for name, stream in got[number].items()}
        )


@pytest.mark.xdist_group("Spark in one Java machine")
def test_spark_sql_rates_every_scenario_to_the_same(
    recorded: list[Rated], spark_place: SparkPlace, tmp_path: Path
) -> None:
    told = [one for one in recorded if not charges_have_formulas(one[0])]
    refused = [one for one in recorded if charges_have_formulas(one[0])]
    assert all(is_refused(work) for work, _ in refused)
    assert len(told) > 20 * len(refused)
    batch = merge(told)
    with open_engine() as engine:
        for name, stream in batch.work.relations.items():
            engine.register(name, from_stream(stream))
        write_rating(engine, tmp_path)
        engine.run(f"COPY ({batch.work.usage}) TO '{tmp_path}/usage.parquet'")

    session = spark_place.session()
    session.read.parquet(str(tmp_path / "usage.parquet")).createOrReplaceTempView("usage")
    for statement in (tmp_path / SCRIPT).read_text().split(";\n"):
        if statement.strip():
            session.sql(statement)

    got = {name: session.sql(f"SELECT * FROM {name}").collect() for name in MADE}
    check(batch, {name: [row.asDict(recursive=True) for row in rows] for name, rows in got.items()})


def charges_have_formulas(work: BucketWork) -> bool:
    """Formulas of discounts, which no charge has, are none of rating."""
    return any(from_stream(work.relations["formula"]).column("charge_id").to_pylist())


def is_refused(work: BucketWork) -> bool:
    with small_engine() as engine:
        for name, stream in work.relations.items():
            engine.register(name, from_stream(stream))
        return not_in_spark_sql(engine) is not None


def check(batch: Merged, got: dict[str, list[dict[str, object]]]) -> None:
    for name, rows in got.items():
        made, expected = Counter(comparable(rows)), Counter(comparable(batch.expected[name]))
        assert (name, made - expected, expected - made) == (name, Counter(), Counter())


def comparable(rows: list[dict[str, object]]) -> list[str]:
    """Rows in an order of their own; terms laid over others have a number that is nobody's."""
    return sorted(
        str({name: plain(row[name]) for name in sorted(row) if name != "terms_id"}) for row in rows
    )


def plain(value: object) -> object:
    """A whole number is one, whatever its type; a step names its cell only beside prices that have
    cells."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {
            name: plain(each) for name, each in value.items() if name != "cell" or each is not None
        }
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value
