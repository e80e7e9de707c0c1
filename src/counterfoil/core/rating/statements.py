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
from counterfoil.core.rating.relations import Statement
from counterfoil.core.rating.seconds import second_shares
from counterfoil.core.rating.tiers import UNCOVERED, Tiers, tier_steps

__all__ = ["Needs", "price_statements", "rating_statements"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the items and prices at hand use.

    ``by_event``: some items are rated event by event. ``allowance_ranks``: how many allowances at
    most are drawn one after the other by the items of one account tree. ``rounded_events``: some of
    the items by event round their units. ``attributes``: names of the attributes of usage events
    that filters and properties look at. ``aggregations`` and ``stood``: those of the items that are
    priced anew as a whole, in full and by the days that units stood. ``cells``: some prices have
    cells; ``pieces`` are the minutes of the day at which their hours begin or end. ``formulas`` are
    those of the charges and their prices: their values are in ``formula_input``. ``partials``: some
    prices are partial. ``layers`` have prices; the items are of these ``kinds``; ``late``: some of
    them were billed before; ``peaks``: of some the highest quantity counts; ``by_second``: some
    begin or end within a day; ``packages``, ``bands``, ``included``: some prices count in packages,
    price all by one tier, include something. ``steady``: nothing was billed before, and no price
    begins or ends within an item. ``few``: there are few items. ``millionths``: usage events have
    their quantity in these beside. ``used``: ``metered`` is to tell what came in as it is, and when
    last.
    """

    by_event: bool = False
    allowance_ranks: int = 0
    rounded_events: bool = False
    attributes: tuple[str, ...] = ()
    aggregations: tuple[str, ...] = ()
    stood: tuple[str, ...] = ()
    cells: bool = False
    pieces: tuple[int, ...] = ()
    formulas: Formulas = NO_FORMULAS
    partials: bool = False
    layers: frozenset[str] = frozenset(LAYER_NAMES)
    kinds: frozenset[str] = frozenset(KINDS)
    late: bool = True
    peaks: bool = True
    by_second: bool = False
    millionths: bool = True
    used: bool = False
    packages: bool = True
    bands: bool = True
    included: bool = True
    steady: bool = False
    few: bool = False

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
    anew, stood = needs.anew, bool(needs.stood)
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
    events: tuple[Statement, ...] = ()
    if needs.by_event:
        events = event_positions(needs.allowance_ranks, source, rounding=needs.rounded_events)
    formulas = needs.formulas
    asked = bool(formulas.placed)
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
        *_positions(needs, further),
        *(formula_steps(formulas, detailed=detailed, stood=stood) if asked else ()),
        *tier_steps(_tiers(needs, detailed=detailed)),
        UNCOVERED,
        *((EVENT_AMOUNTS,) if needs.by_event else ()),
        *second_shares(needed=needs.by_second),
        *rated_charges(
            detailed=detailed,
            anew=anew,
            stood=stood,
            by_event=needs.by_event,
            cells=needs.cells,
            kinds=needs.kinds,
            late=needs.late,
            by_second=needs.by_second,
            few=needs.few,
        ),
        *((formula_trace(formulas),) if asked else ()),
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
