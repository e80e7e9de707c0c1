"""Works come to the same wherever they are done, also when what does them is killed."""

import os
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from tests.conftest import SparkPlace
from tests.platform.engine.kernels import (
    beyond_38_digits,
    lethal,
    never_there,
    not_there_yet,
    price,
)

from counterfoil.core.problems import Refused
from counterfoil.platform.engine import spark
from counterfoil.platform.engine.choice import open_runner, read_runner
from counterfoil.platform.engine.duck import NotComputable
from counterfoil.platform.engine.runner import Runner

MINUTES = {f"call {n}": n for n in range(12)}
AMOUNTS = {f"call {n}": Decimal(n) * Decimal("0.005") for n in range(12)}


def test_one_work_after_the_other_in_this_process():
    with open_runner(None) as runner:
        got = dict(runner.run(price, MINUTES))
        assert not runner.splits
    assert {key: amount for key, (amount, _) in got.items()} == AMOUNTS
    assert {pid for _, pid in got.values()} == {os.getpid()}


class Contract:
    """What every runner with processes of its own keeps to."""

    def test_results_are_those_of_this_process_from_others(self, runner: Runner) -> None:
        got = dict(runner.run(price, MINUTES))
        assert runner.splits and dict(runner.run(price, {})) == {}
        assert {key: amount for key, (amount, _) in got.items()} == AMOUNTS
        assert os.getpid() not in {pid for _, pid in got.values()}

    def test_what_cannot_be_computed_is_told_as_here(self, runner: Runner) -> None:
        with pytest.raises(NotComputable):
            dict(runner.run(beyond_38_digits, MINUTES))

    def test_what_is_not_there_is_looked_for_again(self, runner: Runner, tmp_path: Path) -> None:
        few = dict(list(MINUTES.items())[:2])
        got = dict(runner.run(partial(not_there_yet, str(tmp_path)), few))
        assert got == {key: AMOUNTS[key] for key in few}
        with pytest.raises(Refused, match="segment 7") as refused:
            dict(runner.run(never_there, {"call": 7}))
        assert refused.value.status == 503

    def test_a_lost_task_is_done_again(self, runner: Runner, tmp_path: Path) -> None:
        mark = tmp_path / "killed"
        got = dict(runner.run(partial(lethal, price, str(mark)), MINUTES))
        assert {key: amount for key, (amount, _) in got.items()} == AMOUNTS
        killed = int(mark.read_text())
        assert killed != os.getpid() and killed not in {pid for _, pid in got.values()}


class TestLocalProcesses(Contract):
    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls) -> Iterator[Runner]:
        with open_runner("processes[2]") as runner:
            yield runner


@pytest.mark.slow
@pytest.mark.xdist_group("Spark cluster")
class TestSparkCluster(Contract):
    @pytest.fixture
    def runner(self, spark_place: SparkPlace) -> Runner:
        return spark_place.cluster_of_two()


@pytest.mark.slow
@pytest.mark.xdist_group("Spark in one Java machine")
class TestSparkInOneJavaMachine(Contract):
    @pytest.fixture
    def runner(self, spark_place: SparkPlace) -> Runner:
        return spark_place.local()


@pytest.mark.parametrize("words", ["in-process", "processes[3]", "local[2]", "local[*]"])
def test_the_words_of_a_runner(words: str) -> None:
    assert read_runner(f" {words} ", "COUNTERFOIL_RUNNER") == words


@pytest.mark.parametrize("words", ["spark://db1.example.com:7077", "spark://a:7077,[::1]:7077"])
def test_the_words_of_a_cluster(words: str) -> None:
    assert read_runner(words, "COUNTERFOIL_RUNNER") == words


@pytest.mark.parametrize(
    "words", ["", "threads", "local", "local[0]", "processes[]", "spark://", "spark://a", "yarn"]
)
def test_other_words_are_refused_with_those_that_are_allowed(words: str) -> None:
    with pytest.raises(Refused) as refused:
        read_runner(words, "COUNTERFOIL_RUNNER")
    assert str(refused.value) == (
        f"COUNTERFOIL_RUNNER: {words!r} is not a runner (allowed: in-process, processes[N], "
        "local[N], local[*], spark://HOST:PORT[,HOST:PORT…])"
    )


def test_without_java_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_pyspark_is_there", lambda: True)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with open_runner("local[2]") as runner, pytest.raises(Refused) as refused:
        dict(runner.run(price, MINUTES))
    assert refused.value.status == 503
    assert "there is none: install Java 17 or newer" in str(refused.value)


def test_without_pyspark_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "_pyspark_is_there", lambda: False)
    with open_runner("local[2]") as runner, pytest.raises(Refused, match="make spark"):
        dict(runner.run(price, MINUTES))


@pytest.mark.skipif(spark.spark_missing() is not None, reason=str(spark.spark_missing()))
def test_without_a_master_it_is_told_at_once() -> None:
    with (
        open_runner("spark://127.0.0.1:1") as runner,
        pytest.raises(Refused, match=r"there is no Spark master: .* refused"),
    ):
        dict(runner.run(price, MINUTES))
