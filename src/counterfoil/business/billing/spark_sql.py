"""The rating of what is due as Spark SQL, for usage that already lies in Spark tables.

A folder gets the relations of everything that is due, as Parquet files, and a script that reads
them and a table or view ``usage``. It makes the tables ``MADE``, to the same digits as a
bill run would; it stores no invoice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.business.billing.allowances import make_allowances
from counterfoil.business.billing.charging import make_items, price_items
from counterfoil.business.billing.formula_levels import FORMULA_RESULTS
from counterfoil.business.billing.rating import INPUTS, RESULTS, find_needs
from counterfoil.business.billing.relations import midnight_relation
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.problems import Problem, Refused
from counterfoil.core.rating.attributes import NOTHING_UNREADABLE, json_paths
from counterfoil.core.rating.cells import UNMATCHED
from counterfoil.core.rating.relations import MIDNIGHT, USAGE, Statement
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine, open_engine
from counterfoil.platform.engine.spark_lists import is_path_of_spark
from counterfoil.platform.engine.spark_sql import SETTINGS, spark_statements
from counterfoil.platform.records.unit_of_work import UnitOfWork

SCRIPT = "rating.sql"

_NEVER_MADE = {shape.name for shape in FORMULA_RESULTS}
MADE = tuple(name for name in RESULTS if name not in _NEVER_MADE)
"""The tables that the script makes and that somebody reads."""

USAGE_IN_SPARK = {name: kind for name, kind in USAGE.columns.items() if name != "millionths"}
"""The columns that the script asks of ``usage``: tables of others have the quantity once."""

_VIEWS = ("counted_usage",)
"""What is as long as the usage itself, and only puts two relations together."""

_DAYS = """
SELECT time_zone, CAST(unnest(generate_series(min(least(counted_from, cycle_start)),
                                              max(greatest(service_end, cycle_end)),
                                              INTERVAL 1 DAY)) AS DATE)
FROM charge_item WHERE kind = 'usage' {further}GROUP BY time_zone
"""


def export_rating(
    uow: UnitOfWork,
    store: UsageStore,
    folder: Path,
    accounts: Sequence[int],
    billing_date: date,
    *,
    usage_seen: int,
) -> list[Path]:
    """Write relations and script of what is due by ``billing_date`` of these billed accounts (ids)
    into the folder, which is made; the files."""
    with open_engine(temp_directory=folder) as engine:
        items = make_items(uow, engine, store, accounts, billing_date, usage_seen=usage_seen)
        price_items(uow, engine, items)
        make_allowances(uow, engine)
        return write_rating(engine, folder)


def write_rating(engine: Engine, folder: Path) -> list[Path]:
    """Write the relations on the engine and the script into the folder; the files."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    statements = list(rating_in_spark_sql(engine))
    relations = {name: engine.arrow(f"SELECT * FROM {name}") for name in INPUTS}
    relations[MIDNIGHT.name] = every_midnight(engine)
    files = [folder / f"{name}.parquet" for name in relations]
    views = []
    for file, (name, table) in zip(files, relations.items(), strict=True):
        pq.write_table(table, file)
        views.append(f"CREATE OR REPLACE TEMPORARY VIEW {name} AS SELECT * FROM parquet.`{file}`")
    columns = ", ".join(f"{name} {kind}" for name, kind in USAGE_IN_SPARK.items())
    script = f"-- Needs a table or view {USAGE.name} ({columns}); time is UTC, without a zone.\n"
    script += ";\n\n".join((*views, *statements)) + ";\n"
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    return [*files, folder / SCRIPT]


def every_midnight(engine: Engine) -> pa.Table:
    """``midnight`` of all days on which an epoch of ``charge_item`` could begin or end."""
    further = "OR by_second " if find_needs(engine).by_second else ""
    return midnight_relation(engine.rows(_DAYS.format(further=further)))


def not_in_spark_sql(engine: Engine) -> Problem | None:
    """What the items on the engine use that is rated by a bill run only; None when nothing."""
    unspeakable = [
        name
        for name in find_needs(engine).attributes
        if not all(is_path_of_spark(path) for path in json_paths(name))
    ]
    found = f"attributes named {', '.join(unspeakable)}" if unspeakable else ""
    if engine.rows("SELECT 1 FROM formula WHERE charge_id <> 0 LIMIT 1"):
        found = "formulas"
    if not found:
        return None
    message = f"{found} are not put into Spark SQL: rate what is due by a bill run"
    return Problem("not_in_spark_sql", message)


def rating_in_spark_sql(engine: Engine) -> Iterator[str]:
    """Spark's statements that make ``MADE`` as tables, from what is on the engine, ``midnight``
    and ``usage``. Refuses what ``not_in_spark_sql`` tells."""
    problem = not_in_spark_sql(engine)
    if problem is not None:
        raise Refused(problem)
    inputs = {
        name: {str(row[0]): str(row[1]) for row in engine.rows(f"DESCRIBE {name}")}
        for name in INPUTS
    }
    inputs |= {USAGE.name: USAGE_IN_SPARK, MIDNIGHT.name: MIDNIGHT.columns}
    needs = replace(find_needs(engine), millionths=False)
    statements = (*price_statements(needs), *rating_statements(needs), *_unused(needs))
    for name, value in SETTINGS.items():
        yield f"SET {name} = {value}"
    for name, sql in spark_statements([(one.name, one.sql) for one in statements], inputs):
        if name in _VIEWS:
            yield f"CREATE OR REPLACE TEMPORARY VIEW {name} AS\n{sql}"
            continue
        yield f"DROP TABLE IF EXISTS {name}"
        yield f"CREATE TABLE {name} USING parquet AS\n{sql}"


def _unused(needs: Needs) -> Iterator[Statement]:
    """Results that nothing at hand is in."""
    if not needs.cells:
        yield Statement(UNMATCHED.name, UNMATCHED.nothing)
    if not needs.attributes:
        yield Statement(NOTHING_UNREADABLE.name, NOTHING_UNREADABLE.nothing)
