"""All scenarios are rated by Spark to what they are rated to here, in both ways."""

from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from tests.conftest import SparkPlace
from tests.interfaces.scenarios.merging import apart, merged
from tests.interfaces.scenarios.recordings import Recordings

from counterfoil.bootstrap import Settings
from counterfoil.business.billing.buckets import BucketWork, from_stream, rate_bucket
from counterfoil.business.billing.rating import RESULTS
from counterfoil.business.billing.spark_sql import (
    MADE,
    every_midnight,
    not_in_spark_sql,
    rating_in_spark_sql,
)
from counterfoil.platform.engine.duck import open_engine

FILES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.last,
    pytest.mark.xdist_group("recordings"),
    pytest.mark.timeout(900),
]


def test_every_bucket_of_every_scenario_on_a_cluster(
    spark_place: SparkPlace, recordings: Recordings, server: Settings
) -> None:
    rated = {
        (path.stem, number): one
        for path in FILES
        for number, one in enumerate(recordings.of(path, server))
    }
    works = {key: work for key, (work, _) in rated.items()}
    got = dict(spark_place.cluster_of_two().run(rate_bucket, works))

    assert len({name for name, _ in got}) > 9 * len(FILES) // 10
    for key, (_, expected) in rated.items():
        for name in RESULTS:
            rows = [from_stream(result[name]).to_pylist() for result in (got[key], expected)]
            assert plain(rows[0]) == plain(rows[1]), (key, name)


def test_spark_sql_rates_every_scenario_to_the_same(
    spark_place: SparkPlace, recordings: Recordings, server: Settings, tmp_path: Path
) -> None:
    """All scenarios at once, as one set of relations."""
    recorded = [one for path in FILES for one in recordings.of(path, server)]
    rated = [one for one in recorded if is_put_into_spark_sql(one[0])]
    assert len(rated) > len(recorded) // 2
    relations = merged([work for work, _ in rated])
    usage = relations.pop("usage")
    with open_engine() as engine:
        for name, table in relations.items():
            engine.register(name, table)
        relations |= {"usage": usage, "midnight": every_midnight(engine)}
        statements = list(rating_in_spark_sql(engine))

    session = spark_place.session()
    for name, table in relations.items():
        parquet.write_table(table, tmp_path / f"{name}.parquet")
        session.read.parquet(str(tmp_path / f"{name}.parquet")).createOrReplaceTempView(name)
    for statement in statements:
        session.sql(statement)

    for name in MADE:
        tables = [apart(from_stream(result[name]), n) for n, (_, result) in enumerate(rated)]
        expected = [row for table in tables for row in table.to_pylist()]
        columns = ", ".join(f"`{column}`" for column in tables[0].column_names)
        got = session.sql(f"SELECT {columns} FROM {name}").collect()
        assert plain([row.asDict(recursive=True) for row in got]) == plain(expected), name


def is_put_into_spark_sql(work: BucketWork) -> bool:
    with open_engine(threads=1) as engine:
        for name, stream in work.relations.items():
            engine.register(name, from_stream(stream))
        return not_in_spark_sql(engine) is None


def plain(rows: list[dict[str, object]]) -> list[str]:
    """Rows in an order of their own; a whole number is one, whatever its type."""
    return sorted(str({name: whole(value) for name, value in row.items()}) for row in rows)


def whole(value: object) -> object:
    return int(value) if isinstance(value, Decimal) and value.as_tuple().exponent == 0 else value
