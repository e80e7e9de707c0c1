"""Rates what is due: the one computation behind bill run, preview, explanation and scenario.

Nothing here reads PostgreSQL: the relations are on the engine already, and the usage is a SELECT
over files. So the same step runs here, in another process or as a task on a cluster.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import date

from counterfoil.business.billing.formula_levels import (
    FORMULA_RESULTS,
    rate_by_levels,
    read_formulas,
)
from counterfoil.business.billing.relations import make_relation, midnight_relation
from counterfoil.core.rating.attributes import ATTRIBUTES, NOTHING_UNREADABLE, PIECES
from counterfoil.core.rating.cells import UNMATCHED
from counterfoil.core.rating.formula_prices import Formulas
from counterfoil.core.rating.formula_values import FORMULA_INPUTS
from counterfoil.core.rating.meters import anew_items
from counterfoil.core.rating.relations import USAGE, Relation
from counterfoil.core.rating.statements import Needs, price_statements, rating_statements
from counterfoil.platform.engine.duck import Engine

INPUTS = (
    *("charge_item", "meter_filter", "price_cell", "cell_condition", "cell_window"),
    *("price", "price_tier", "price_layer", "billed_usage"),
    *("allowance", "allowance_item"),
    *(shape.name for shape in FORMULA_INPUTS),
)
"""The relations that must be on the engine; core.rating.relations says their columns."""

RESULTS = (
    *(
        "price_epoch",
        "rated",
        "priced_epoch",
        "uncovered",
        "unmatched",
        "unreadable",
        "conflicting",
        "drawn",
    ),
    *(shape.name for shape in FORMULA_RESULTS),
)
"""The relations that are made and that somebody reads."""

# Every zone and day at which an epoch of a usage charge begins or ends, or a meter is read; and of
# what is divided by the second.
_EPOCH_DAYS = """
SELECT DISTINCT i.time_zone, unnest([e.epoch_start, e.epoch_end, i.counted_from, i.service_start,
                                     i.cycle_start, i.cycle_end])
FROM price_epoch e JOIN charge_item i USING (item_id) WHERE i.kind = 'usage'{further}
"""

_NEEDS = """
SELECT (SELECT coalesce(bool_or(by_event), false) FROM charge_item),
       (SELECT coalesce(max(draw_rank), 0) FROM allowance),
       (SELECT coalesce(bool_or(by_event AND unit_rounding <> 'exact'), false) FROM charge_item),
       (SELECT coalesce(bool_or(partial), false) FROM price),
       (SELECT list(DISTINCT layer) FROM price),
       (SELECT list(DISTINCT kind) FROM charge_item),
       EXISTS (SELECT 1 FROM billed_usage),
       (SELECT coalesce(bool_or(aggregation = 'max'), false) FROM charge_item)
"""

_ANEW = """
SELECT DISTINCT i.aggregation, i.stood
FROM charge_item i JOIN ({anew_items}) USING (item_id)
"""

_USAGE_SPAN = """
SELECT time_zone, min(counted_from), max(service_end)
FROM charge_item
WHERE kind = 'usage' OR charge_id IN (SELECT charge_id FROM usage_reader)
GROUP BY time_zone
"""


def usage_span(engine: Engine) -> list[tuple[str, date]]:
    """Zones and local days between whose midnights all usage lies that ``charge_item`` needs."""
    rows = engine.rows(_USAGE_SPAN)
    return [(zone, day) for zone, first, end in rows for day in (first, end)]


def rate_items(engine: Engine, usage: str | None, needs: Needs) -> None:
    """From ``INPUTS`` and the usage events of a SELECT make ``RESULTS``; see ``find_needs``."""
    make_relation(engine, "usage", USAGE, usage)
    formulas = read_formulas(engine)
    if formulas.placed and engine.rows("SELECT 1 FROM charge_item LIMIT 1"):

        def rate(level: Formulas) -> None:
            _rate(engine, replace(_with_anew(engine, needs, level.pricing), formulas=level))

        rate_by_levels(engine, formulas, RESULTS, rate)
        return
    _rate(engine, needs)


def _rate(engine: Engine, needs: Needs) -> None:
    for statement in price_statements(needs):
        engine.run(statement.create)
    days = _EPOCH_DAYS.format(further=" OR i.by_second" if needs.by_second else "")
    engine.register("midnight", midnight_relation(engine.rows(days)))
    for statement in rating_statements(needs):
        engine.run(statement.create)
    unused: tuple[Relation, ...] = () if needs.formulas.placed else FORMULA_RESULTS
    unused += () if needs.cells else (UNMATCHED,)
    unused += () if needs.attributes else (NOTHING_UNREADABLE,)
    for shape in unused:
        make_relation(engine, shape.name, shape, None)


def find_needs(engine: Engine) -> Needs:
    """What the items and prices on the engine use."""
    row = engine.row(_NEEDS)
    needs = Needs(
        by_event=bool(row[0]),
        allowance_ranks=int(row[1]),
        rounded_events=bool(row[2]),
        attributes=tuple(name for (name,) in engine.rows(ATTRIBUTES)),
        partials=bool(row[3]),
        layers=frozenset(row[4] or ()),
        kinds=frozenset(row[5] or ()),
        late=bool(row[6]),
        peaks=bool(row[7]),
        by_second=_is_by_second(engine),
    )
    return _with_anew(engine, needs)


def _is_by_second(engine: Engine) -> bool:
    """Whether some items begin or end within a day: those of bills say so, others never do."""
    columns = {str(row[0]) for row in engine.rows("DESCRIBE charge_item")}
    if "by_second" not in columns:
        return False
    return bool(engine.rows("SELECT 1 FROM charge_item WHERE by_second LIMIT 1"))


def _with_anew(engine: Engine, needs: Needs, charges: Collection[int] = ()) -> Needs:
    """With what is priced anew as a whole, all of ``charges`` among it."""
    anew = sorted(engine.rows(_ANEW.format(anew_items=anew_items(charges).sql)))
    cells = bool(engine.rows("SELECT 1 FROM price_cell LIMIT 1"))
    return replace(
        needs,
        aggregations=tuple(name for name, stood in anew if not stood),
        stood=tuple(name for name, stood in anew if stood),
        cells=cells,
        pieces=tuple(int(minute) for (minute,) in engine.rows(PIECES)) if cells else (),
    )
