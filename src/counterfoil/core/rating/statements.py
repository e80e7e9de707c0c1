"""Which statements a rating consists of, in order: what no charge uses is not computed."""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.rating.attributes import UNREADABLE, attribute_statements
from counterfoil.core.rating.cells import MATRIX_TERMS, cell_statements
from counterfoil.core.rating.charges import KINDS, rated_charges
from counterfoil.core.rating.event_amounts import EVENT_AMOUNTS
from counterfoil.core.rating.events import drawn, event_positions
from counterfoil.core.rating.formula_prices import (
    NO_FORMULAS,
    PRICE_CONDITION,
    QUANTITY_FORMULA,
    Formulas,
    formula_quantities,
    formula_steps,
    formula_trace,
    unmet_prices,
)
from counterfoil.core.rating.layers import LAYER_NAMES
from counterfoil.core.rating.meters import anew_items, anew_positions
from counterfoil.core.rating.prices import price_epochs
from counterfoil.core.rating.quantities import EventSource, metered, position, usage_epoch
from counterfoil.core.rating.relations import Statement, in_one
from counterfoil.core.rating.seconds import second_shares
from counterfoil.core.rating.tiers import NOTHING_UNCOVERED, UNCOVERED, Tiers, tier_steps

__all__ = ["Needs", "price_statements", "rating_statements"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the items and prices at hand use; by default all that takes no statement of its own."""

    kinds: frozenset[str] = frozenset(KINDS)
    """The kinds of charges among the items."""
    late: bool = True
    """Some items were billed before."""
    steady: bool = False
    """Nothing was billed before, and no price begins or ends within an item."""
    covered: bool = False
    """All prices have tiers for whatever there may be to price."""
    few: bool = False
    """There are few items."""
    used: bool = False
    """``metered`` is to tell what came in as it is, and when last."""

    by_event: bool = False
    """Some items are rated event by event."""
    rounded_events: bool = False
    """Some of the items by event round their units."""
    allowance_ranks: int = 0
    """How many allowances at most are drawn one after the other by the items of an account tree."""
    aggregations: tuple[str, ...] = ()
    """Those of the items that are priced anew as a whole, in full."""
    stood: tuple[str, ...] = ()
    """Those of the items that are priced anew as a whole, by the days that units stood."""
    peaks: bool = True
    """Of some items the highest quantity counts."""
    by_second: bool = False
    """Some items begin or end within a day."""
    millionths: bool = True
    """Usage events have their quantity in these beside."""
    attributes: tuple[str, ...] = ()
    """Names of the attributes of usage events that filters and properties look at."""

    formulas: Formulas = NO_FORMULAS
    """Those of the charges and their prices: their values are in ``formula_input``."""
    layers: frozenset[str] = frozenset(LAYER_NAMES)
    """The layers that have prices."""
    partials: bool = False
    """Some prices are partial."""
    cells: bool = False
    """Some prices have cells."""
    pieces: tuple[int, ...] = ()
    """The minutes of the day at which the hours of cells begin or end."""
    packages: bool = True
    """Some prices count in packages."""
    bands: bool = True
    """Some prices price all by one tier."""
    included: bool = True
    """Some prices include something."""
    bounds: bool = True
    """Some prices have a minimum or maximum."""

    @property
    def anew(self) -> bool:
        """Whether some items are priced anew as a whole."""
        return bool(self.aggregations or self.stood)


def price_statements(needs: Needs) -> tuple[Statement, ...]:
    """Make ``price_epoch``, ``terms_tier`` and ``conflicting``, see core.rating.prices."""
    conditional = needs.formulas.at(PRICE_CONDITION)
    epochs = price_epochs(
        partials=needs.partials,
        conditional=bool(conditional),
        layers=needs.layers,
        late=needs.late,
        steady=needs.steady,
    )
    return (unmet_prices(needs.formulas), *epochs) if conditional else epochs


def rating_statements(needs: Needs) -> tuple[Statement, ...]:
    """Run after ``price_statements`` and once ``midnight`` holds the days the usage epochs need.

    Make ``rated`` and ``priced_epoch`` (see core.rating.charges), and ``uncovered`` (see
    core.rating.tiers), whose items are missing or wrong in ``rated``.
    """
    source = EventSource(attributes=bool(needs.attributes or needs.pieces), cells=needs.cells)
    anew = needs.anew
    events: tuple[Statement, ...] = ()
    if needs.by_event:
        events = event_positions(needs.allowance_ranks, source, rounding=needs.rounded_events)
    return (
        *((anew_items(needs.formulas.pricing),) if anew else ()),
        *((MATRIX_TERMS,) if needs.cells else ()),
        usage_epoch(anew=anew, cells=needs.cells, millionths=needs.millionths),
        *attribute_statements(needs.attributes, needs.pieces, millionths=needs.millionths),
        *((UNREADABLE,) if needs.attributes else ()),
        *(cell_statements(needs.pieces) if needs.cells else ()),
        *metered(
            source,
            anew=anew,
            late=needs.late,
            peaks=needs.peaks,
            millionths=needs.millionths,
            used=needs.used,
        ),
        *events,
        drawn(needs.allowance_ranks if needs.by_event else 0),
        *anew_positions(needs.aggregations, needs.stood, source),
        *second_shares(needed=needs.by_second),
        *_pricing(needs),
        *((formula_trace(needs.formulas),) if needs.formulas.placed else ()),
    )


def _pricing(needs: Needs) -> tuple[Statement, ...]:
    """From what is metered to what is rated."""
    stood, asked = bool(needs.stood), bool(needs.formulas.placed)
    further = [
        name
        for name, needed in (
            ("event_position", needs.by_event),
            ("anew_position", bool(needs.aggregations)),
            ("stood_position", stood),
        )
        if needed
    ]
    detailed = bool(further)
    positions = _positions(needs, further)
    tiers = tier_steps(_tiers(needs, detailed=detailed))
    priced_epoch, rated = rated_charges(
        detailed=detailed,
        anew=needs.anew,
        stood=stood,
        by_event=needs.by_event,
        cells=needs.cells,
        kinds=needs.kinds,
        late=needs.late,
        by_second=needs.by_second,
        few=needs.few,
    )
    if needs.few and needs.covered and not (detailed or asked):
        return in_one((*positions, *tiers, priced_epoch)), NOTHING_UNCOVERED, rated
    return (
        *positions,
        *(formula_steps(needs.formulas, detailed=detailed, stood=stood) if asked else ()),
        *tiers,
        NOTHING_UNCOVERED if needs.covered else UNCOVERED,
        *((EVENT_AMOUNTS,) if needs.by_event else ()),
        priced_epoch,
        rated,
    )


def _tiers(needs: Needs, *, detailed: bool) -> Tiers:
    return Tiers(
        detailed=detailed,
        stood=bool(needs.stood),
        formulas=bool(needs.formulas.placed),
        packages=needs.packages,
        bands=needs.bands,
        included=needs.included,
        begun=not needs.steady,
    )


def _positions(needs: Needs, further: Sequence[str]) -> tuple[Statement, ...]:
    """Make ``position``; where a formula says how much is priced, of what is counted."""
    stood = bool(needs.stood)
    counted = position(
        further,
        anew=needs.anew,
        stood=stood,
        late=needs.late,
        peaks=needs.peaks,
        steady=needs.steady,
    )
    if not needs.formulas.at(QUANTITY_FORMULA):
        return (counted,)
    return (
        Statement("counted_position", counted.sql),
        *formula_quantities(needs.formulas, detailed=bool(further), stood=stood),
    )
