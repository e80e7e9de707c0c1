"""All scenarios are rated on a Spark cluster to what they are rated to here."""

from pathlib import Path

import pytest
from tests.conftest import SparkPlace
from tests.interfaces.scenarios.recordings import Recordings

from counterfoil.bootstrap import Settings
from counterfoil.business.billing.buckets import from_stream, rate_bucket
from counterfoil.business.billing.rating import RESULTS

FILES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.last,
    pytest.mark.xdist_group("recordings"),
    pytest.mark.timeout(900),
]


def rows(result: dict[str, bytes], name: str) -> list[str]:
    return sorted(str(row) for row in from_stream(result[name]).to_pylist())


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
            assert rows(got[key], name) == rows(expected, name), (key, name)
