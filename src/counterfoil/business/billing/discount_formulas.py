"""Evaluates the formulas of discounts for the lines in ``charged``, before any is applied."""

from counterfoil.business.billing.formula_levels import read_formulas, with_filtered_usage
from counterfoil.business.billing.relations import (
    make_relation,
    midnight_relation,
    usage_between,
)
from counterfoil.business.usage.store import BUCKETS, UsageStore, visible_segments
from counterfoil.core.rating.discounts import DISCOUNTABLE
from counterfoil.core.rating.formula_discounts import DISCOUNT_FORMULA_RESULTS, discount_formulas
from counterfoil.core.rating.relations import USAGE
from counterfoil.platform.engine.duck import Engine
from counterfoil.platform.records.unit_of_work import UnitOfWork

_LINE = f"""
SELECT c.row_no AS item_id, c.subscription_id, c.charge_id, c.currency, c.cycle_start, c.cycle_end,
       c.service_start, c.service_end, p.time_zone
FROM charged c JOIN (SELECT DISTINCT billed_account_id, time_zone FROM every_charge) p
  USING (billed_account_id)
WHERE {DISCOUNTABLE} AND c.subscription_id IS NOT NULL
"""

_EDGES = "SELECT DISTINCT time_zone, unnest([service_start, service_end]) FROM formula_item"

_RATED_AMOUNT = """
SELECT i.subscription_id, i.charge_id, i.currency, r.service_start, r.exact_amount
FROM rated r JOIN charge_item i USING (item_id)
"""


def make_discount_formulas(uow: UnitOfWork, engine: Engine, store: UsageStore) -> None:
    """Make ``DISCOUNT_FORMULA_RESULTS`` (core.rating.formula_discounts) of ``charged``."""
    formulas = read_formulas(engine, of_discounts=True)
    if not formulas.placed:
        for shape in DISCOUNT_FORMULA_RESULTS:
            make_relation(engine, shape.name, shape, None)
        return
    engine.run("CREATE SCHEMA of_discounts")
    engine.look_into("of_discounts")
    engine.run(f"CREATE TABLE formula_item AS {_LINE}")
    midnights = midnight_relation(engine.rows(_EDGES))
    engine.register("known_midnight", midnights)
    buckets = engine.rows(f"SELECT DISTINCT root_id % {BUCKETS} FROM charged")
    select = usage_between(
        visible_segments(uow), store, midnights, buckets=[int(row[0]) for row in buckets]
    )
    make_relation(engine, "usage", USAGE, select)
    engine.run(f"CREATE TABLE rated_amount AS {_RATED_AMOUNT}")
    for statement in discount_formulas(with_filtered_usage(engine, formulas)):
        engine.run(statement.create)
    engine.look_into()
    for shape in DISCOUNT_FORMULA_RESULTS:
        engine.run(f"CREATE VIEW {shape.name} AS SELECT * FROM of_discounts.{shape.name}")
