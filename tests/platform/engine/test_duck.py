"""The engine keeps decimals exact, instants in UTC and touches no network."""

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pyarrow as pa
import pytest

from counterfoil.platform.engine import duck
from counterfoil.platform.engine.duck import (
    EngineFault,
    open_engine,
    small_engine,
    sql_literal,
    sql_name,
)


def test_decimals_go_in_and_out_unchanged():
    quantity = pa.array([Decimal("2.000000000000001")], pa.decimal128(38, 15))
    with open_engine(threads=1) as engine:
        engine.register("usage", pa.table({"quantity": quantity}))
        table = engine.arrow("SELECT quantity FROM usage")
    assert table.schema.field("quantity").type == pa.decimal128(38, 15)
    assert table["quantity"].to_pylist() == [Decimal("2.000000000000001")]


def test_local_time_becomes_utc():
    local = "timezone('America/New_York', TIMESTAMP '2026-07-01 00:00')"
    with open_engine() as engine:
        assert engine.row(f"SELECT ({local})::TIMESTAMP::VARCHAR") == ("2026-07-01 04:00:00",)


def test_parameters_and_batches():
    with open_engine() as engine:
        batches = list(
            engine.arrow_batches(
                "SELECT range AS n FROM range($count)", rows=2048, parameters={"count": 5000}
            )
        )
    assert sum(batch.num_rows for batch in batches) == 5000
    assert len(batches) > 1


def test_parquet_is_read_and_nothing_is_installed(tmp_path):
    path = tmp_path / "it's.parquet"
    with open_engine() as engine:
        engine.run(f"COPY (SELECT 1 AS {sql_name('a b')}) TO {sql_literal(str(path))}")
        assert engine.rows(f"SELECT * FROM read_parquet({sql_literal(str(path))})") == [(1,)]
        with pytest.raises(EngineFault):
            engine.run("LOAD httpfs")


def test_statement_beyond_the_memory_limit_fails_without_a_spill_folder():
    with open_engine(memory_limit="20MB", threads=1) as engine, pytest.raises(EngineFault):
        engine.rows("SELECT count(DISTINCT sha256(range::VARCHAR)) FROM range(2000000)")


def test_nothing_is_written_to_standard_output():
    with open_engine() as engine:
        assert engine.row("SELECT current_setting('enable_progress_bar')") == (False,)


def test_small_engines_know_nothing_of_each_other():
    with small_engine() as first, small_engine() as second:
        first.register("usage", pa.table({"n": [1, 2]}))
        first.run("CREATE TABLE kept AS SELECT sum(n) AS n FROM usage")
        second.run("CREATE TABLE kept AS SELECT 5 AS n")
        assert (first.row("SELECT n FROM kept"), second.row("SELECT n FROM kept")) == ((3,), (5,))
    for _ in range(2):
        with small_engine() as again:
            for name in ("kept", "usage"):
                with pytest.raises(EngineFault, match=name):
                    again.rows(f"SELECT * FROM {name}")
            assert again.row("SELECT current_setting('TimeZone')") == ("UTC",)


def test_a_text_is_parsed_once_and_run_in_any_engine():
    for start in (1, 10):
        with small_engine() as small, open_engine(threads=1) as engine:
            for one in (small, engine):
                one.run(f"CREATE TABLE n AS SELECT {start} AS n; INSERT INTO n VALUES (2)")
                assert one.row("SELECT sum(n) + $more FROM n", {"more": 3}) == (start + 5,)
                assert one.arrow("SELECT count(*) AS c FROM n").to_pylist() == [{"c": 2}]


def test_small_engines_are_used_by_many_threads():
    def ask(number: int) -> int:
        with small_engine() as engine:
            engine.run(f"CREATE TABLE n AS SELECT range AS n FROM range({number})")
            return int(engine.row("SELECT count(*) FROM n")[0])

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(1, 60))) == list(range(1, 60))


def test_an_instance_is_renewed_behind_its_last_user(monkeypatch):
    opened = []
    plain = duck._small_instance
    monkeypatch.setattr(duck, "_small_instance", lambda: opened.append(plain()) or opened[-1])
    monkeypatch.setattr(duck, "_idle", [])
    monkeypatch.setattr(duck, "_MOST_USES", 3)
    for number in range(7):
        with small_engine() as engine:
            engine.run(f"CREATE TABLE n AS SELECT {number} AS n")
            assert engine.row("SELECT n FROM n") == (number,)
        for thread in threading.enumerate():
            if thread.name.startswith("renewing"):
                thread.join()
    assert [instance.uses for instance in opened] == [3, 3, 1]
    with pytest.raises(EngineFault, match="closed"):
        opened[0].connection.execute("SELECT 1")


def test_without_threads_an_instance_is_not_renewed(monkeypatch):
    def none_left(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(duck, "_idle", [])
    monkeypatch.setattr(duck, "_MOST_USES", 1)
    monkeypatch.setattr(threading.Thread, "start", none_left)
    for _ in range(2):
        with small_engine() as engine:
            assert engine.row("SELECT 1") == (1,)
    assert duck._idle == []


def test_a_relation_is_made_when_it_is_named_and_what_it_is_made_of_before_it():
    with small_engine() as engine:
        engine.define("doubled", "SELECT 2 * n AS n FROM plain")
        engine.define("plain", "SELECT 21 AS n")
        assert engine.row("SELECT n FROM doubled") == (42,)


def test_a_registered_table_is_given_back_as_it_is():
    with small_engine() as engine:
        table = pa.table({"n": [1, 2]})
        engine.register("registered", table)
        engine.run("CREATE TABLE made AS SELECT * FROM registered")
        assert engine.table("registered") is table
        assert engine.table("made").to_pylist() == table.to_pylist()
        engine.register("registered", table.slice(0, 0))
        assert engine.table("registered").num_rows == 0


def test_what_is_left_empty_is_there_when_it_is_named_and_can_be_filled_and_emptied_again():
    nothing = "SELECT CAST(NULL AS BIGINT) AS n WHERE false"
    for make in (small_engine, open_engine):
        with make() as engine:
            engine.leave_empty("part", nothing)
            assert (engine.has_rows("part"), engine.rows("SELECT n FROM part")) == (False, [])
            engine.register("part", pa.table({"n": [1]}))
            assert (engine.has_rows("part"), engine.rows("SELECT n FROM part")) == (True, [(1,)])
            engine.register("part", pa.table({"amount": pa.array([], pa.decimal128(20, 4))}))
            assert engine.has_rows("part") is False
            assert engine.rows("SELECT typeof(amount) FROM part UNION ALL SELECT 'none'") == [
                ("none",)
            ]
            engine.run("CREATE TABLE made AS SELECT 1 AS n")
            assert engine.has_rows("made")
            with pytest.raises(EngineFault, match="never_left"):
                engine.rows("SELECT * FROM never_left")


def test_what_is_left_empty_in_a_schema_is_empty_there_only():
    with small_engine() as engine:
        engine.leave_empty("shared", "SELECT 1 AS n WHERE false")
        engine.run("CREATE TABLE own AS SELECT 1 AS n")
        for schema in ("one", "two"):
            engine.run(f"CREATE SCHEMA {schema}")
            engine.look_into(schema)
            assert engine.rows("SELECT * FROM own, shared") == []
            engine.leave_empty("own", "SELECT 1 AS n WHERE false")
            assert engine.rows("SELECT * FROM own") == []
        engine.look_into()
        assert engine.rows("SELECT n FROM own") == [(1,)]
