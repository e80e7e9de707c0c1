"""Rates what is due: the one computation behind bill run, preview, explanation and scenario.

Nothing here reads PostgreSQL: the relations are on the engine already, and the usage is a SELECT
over files. So the same step runs here, in another process or as a task on a cluster.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from counterfoil.business.billing.formula_levels import (
    FORMULA_RESULTS,
    rate_by_levels,
    read_formulas,
)
from counterfoil.business.billing.relations import make_relation, midnight_relation
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
SELECT coalesce(bool_or(by_event), false),
       coalesce(bool_or(by_event AND unit_rounding <> 'exact'), false),
       coalesce(bool_or(aggregation = 'max'), false), coalesce(bool_or(by_second), false),
       list(DISTINCT kind), list(DISTINCT property), list(DISTINCT quantity_attribute),
       list(DISTINCT aggregation) FILTER (kind = 'usage' AND NOT stood AND {anew}),
       list(DISTINCT aggregation) FILTER (kind = 'usage' AND stood AND {anew}),
       list(DISTINCT subscription_id) FILTER (meter_id IS NOT NULL),
       list(DISTINCT time_zone), min(counted_from) FILTER ({counted}),
       max(service_end) FILTER ({counted})
FROM charge_item
"""

_PRICES = "SELECT coalesce(bool_or(partial), false), list(DISTINCT layer) FROM price"

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


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What the items on the engine need: for their rating, and of usage.

    All usage they count lies between the first and the last of the days of ``span`` (zone, local
    day). ``subscriptions`` (ids) count it, or None: formulas read that of others too.
    """

    needs: Needs
    span: tuple[tuple[str, date], ...]
    subscriptions: tuple[int, ...] | None


def look_at_items(engine: Engine) -> ItemFacts:
    """Look once at ``charge_item`` and the prices."""
    cells, read = engine.has_rows("price_cell"), engine.has_rows("usage_reader")
    counted = "kind = 'usage'"
    if read:
        counted += " OR charge_id IN (SELECT charge_id FROM usage_reader)"
    row = engine.row(_ITEMS.format(anew=priced_anew(cells=cells), counted=counted))
    by_event, rounded, peaks, by_second, *found, first, end = row
    kinds, properties, quantities, anew, stood, subscriptions, zones = map(_known, found)
    partials, layers = engine.row(_PRICES)
    needs = Needs(
        by_event=by_event,
        allowance_ranks=_allowance_ranks(engine),
        rounded_events=rounded,
        attributes=_attributes(engine, {*properties, *quantities}),
        aggregations=tuple(anew),
        stood=tuple(stood),
        cells=cells,
        pieces=_pieces(engine, cells=cells),
        partials=partials,
        layers=frozenset(layers or ()),
        kinds=frozenset(kinds),
        late=engine.has_rows("billed_usage"),
        peaks=peaks,
        by_second=by_second,
    )
    span = [(zone, day) for zone in zones for day in (first, end) if day is not None]
    return ItemFacts(needs, tuple(span), None if read else tuple(subscriptions))


def find_needs(engine: Engine) -> Needs:
    """What the items and prices on the engine use."""
    return look_at_items(engine).needs


def _known(values: list[Any] | None) -> list[Any]:
    return sorted(value for value in values or () if value is not None)


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
