"""Rates what is due: the one computation behind bill run, preview, explanation and scenario.

Nothing here reads PostgreSQL: the relations are on the engine already, and the usage is a SELECT
over files. So the same step runs here, in another process or as a task on a cluster.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import date
from typing import NamedTuple

from counterfoil.business.billing.formula_levels import (
    FORMULA_RESULTS,
    rate_by_levels,
    read_formulas,
)
from counterfoil.business.billing.price_uses import PriceUses, price_uses
from counterfoil.business.billing.relations import make_relation, make_statement, midnight_relation
from counterfoil.core.rating.attributes import NOTHING_UNREADABLE, PIECES
from counterfoil.core.rating.cells import UNMATCHED
from counterfoil.core.rating.formula_prices import Formulas
from counterfoil.core.rating.formula_values import FORMULA_INPUTS
from counterfoil.core.rating.meters import anew_items, priced_anew
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

_ITEMS = """
SELECT kind, time_zone, property, quantity_attribute, aggregation, stood,
       kind = 'usage' AND {anew} AS anew, by_event, by_second,
       by_event AND unit_rounding <> 'exact' AS rounded, {counted} AS counted,
       min(counted_from) AS first_day, max(service_end) AS end_day,
       min(service_start) AS served_from, max(pricing_end) AS priced_to
FROM charge_item GROUP BY ALL ORDER BY ALL
"""


class _Sort(NamedTuple):
    """Items of one sort: a row of ``_ITEMS``."""

    kind: str
    time_zone: str
    property: str | None
    quantity_attribute: str | None
    aggregation: str
    stood: bool
    anew: bool
    by_event: bool
    by_second: bool
    rounded: bool
    counted: bool
    first_day: date
    end_day: date
    served_from: date
    priced_to: date


_ANEW = """
SELECT DISTINCT i.aggregation, i.stood
FROM charge_item i JOIN ({anew_items}) USING (item_id)
"""


def rate_items(engine: Engine, usage: str | None, needs: Needs) -> None:
    """From ``INPUTS`` and the usage events of a SELECT make ``RESULTS``; see ``find_needs``."""
    make_relation(engine, "usage", USAGE, usage)
    formulas = read_formulas(engine)
    if formulas.placed and engine.has_rows("charge_item"):

        def rate(level: Formulas) -> None:
            _rate(engine, replace(_with_anew(engine, needs, level.pricing), formulas=level))

        rate_by_levels(engine, formulas, RESULTS, rate)
        return
    _rate(engine, needs)


def _rate(engine: Engine, needs: Needs) -> None:
    for statement in price_statements(needs):
        make_statement(engine, statement)
    days = _EPOCH_DAYS.format(further=" OR i.by_second" if needs.by_second else "")
    engine.register("midnight", midnight_relation(engine.rows(days)))
    for statement in rating_statements(needs):
        make_statement(engine, statement)
    unused: tuple[Relation, ...] = () if needs.formulas.placed else FORMULA_RESULTS
    unused += () if needs.cells else (UNMATCHED,)
    unused += () if needs.attributes else (NOTHING_UNREADABLE,)
    for shape in unused:
        make_relation(engine, shape.name, shape, None)


def look_at_items(engine: Engine, *, readers: bool = True) -> tuple[Needs, list[tuple[str, date]]]:
    """What the items and prices on the engine use; and zones and local days between whose midnights
    all usage lies that the items count, with what ``readers`` read for their formulas."""
    cells, counted = engine.has_rows("price_cell"), "kind = 'usage'"
    if readers and engine.has_rows("usage_reader"):
        counted += " OR charge_id IN (SELECT charge_id FROM usage_reader)"
    asked = _ITEMS.format(anew=priced_anew(cells=cells), counted=counted)
    sorts = [_Sort(*row) for row in engine.rows(asked)]
    prices = _look_at_prices(engine, sorts)
    named = {name for sort in sorts for name in (sort.property, sort.quantity_attribute) if name}
    anew = [sort for sort in sorts if sort.anew]
    late = engine.has_rows("billed_usage")
    needs = Needs(
        by_event=any(sort.by_event for sort in sorts),
        allowance_ranks=_allowance_ranks(engine),
        rounded_events=any(sort.rounded for sort in sorts),
        attributes=_attributes(engine, named),
        aggregations=tuple(sorted({sort.aggregation for sort in anew if not sort.stood})),
        stood=tuple(sorted({sort.aggregation for sort in anew if sort.stood})),
        cells=cells,
        pieces=_pieces(engine, cells=cells),
        partials=prices.partials,
        layers=prices.layers,
        kinds=frozenset(sort.kind for sort in sorts),
        late=late,
        peaks=any(sort.aggregation == "max" for sort in sorts),
        by_second=any(sort.by_second for sort in sorts),
        packages=prices.packages,
        bands=prices.bands,
        included=prices.included,
        bounds=prices.bounds,
        steady=prices.steady and not late,
        covered=prices.covered and not cells,
        few=engine.small,
    )
    days = {(s.time_zone, day) for s in sorts if s.counted for day in (s.first_day, s.end_day)}
    return needs, sorted(days)


def _look_at_prices(engine: Engine, sorts: Sequence[_Sort]) -> PriceUses:
    return price_uses(
        engine.table("price"),
        engine.table("price_tier"),
        engine.table("price_layer"),
        min((sort.served_from for sort in sorts), default=None),
        max((sort.priced_to for sort in sorts), default=None),
    )


def find_needs(engine: Engine) -> Needs:
    """What the items and prices on the engine use, where ``INPUTS`` is all there is."""
    return look_at_items(engine, readers=False)[0]


def _attributes(engine: Engine, named: set[str]) -> tuple[str, ...]:
    """The names of the attributes that the items look at: ``named`` ones, and those of filters and
    cells."""
    for relation in ("meter_filter", "cell_condition"):
        if engine.has_rows(relation):
            named |= {name for (name,) in engine.rows(f"SELECT attribute FROM {relation}")}
    return tuple(sorted(named))


def _allowance_ranks(engine: Engine) -> int:
    if not engine.has_rows("allowance"):
        return 0
    return int(engine.row("SELECT max(draw_rank) FROM allowance")[0])


def _pieces(engine: Engine, *, cells: bool) -> tuple[int, ...]:
    return tuple(int(minute) for (minute,) in engine.rows(PIECES)) if cells else ()


def _with_anew(engine: Engine, needs: Needs, charges: Collection[int]) -> Needs:
    """With what is priced anew as a whole, all of ``charges`` among it."""
    anew = sorted(engine.rows(_ANEW.format(anew_items=anew_items(charges).sql)))
    return replace(
        needs,
        aggregations=tuple(name for name, stood in anew if not stood),
        stood=tuple(name for name, stood in anew if stood),
    )
