"""Which statements a rating consists of, in order: what no charge uses is not computed."""

from dataclasses import dataclass

from counterfoil.core.rating.charges import rated_charges
from counterfoil.core.rating.events import drawn, event_positions
from counterfoil.core.rating.formula_prices import (
    NO_FORMULAS,
    PRICE_CONDITION,
    Formulas,
    formula_steps,
    formula_trace,
    unmet_prices,
)
from counterfoil.core.rating.prices import PRICE_EPOCHS, price_epochs
from counterfoil.core.rating.quantities import METERED, position
from counterfoil.core.rating.relations import Statement
from counterfoil.core.rating.tiers import UNCOVERED, tier_steps

__all__ = ["PRICE_EPOCHS", "Needs", "price_statements", "rating_statements"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What the items and prices at hand use.

    ``by_event``: some items are rated event by event. ``allowance_ranks``: how many allowances at
    most are drawn one after the other by the items of one account tree. ``formulas`` are those of
    the charges and their prices: their values are in ``formula_input``.
    """

    by_event: bool = False
    allowance_ranks: int = 0
    formulas: Formulas = NO_FORMULAS


def price_statements(formulas: Formulas) -> tuple[Statement, ...]:
    """Make ``price_epoch`` and ``terms_tier``, see core.rating.prices."""
    if not formulas.at(PRICE_CONDITION):
        return PRICE_EPOCHS
    return unmet_prices(formulas), *price_epochs(conditional=True)


def rating_statements(needs: Needs) -> tuple[Statement, ...]:
    """Run after ``PRICE_EPOCHS`` and once ``midnight`` holds the days the usage epochs need.

    Make ``rated`` and ``priced_epoch`` (see core.rating.charges), and ``uncovered`` (see
    core.rating.tiers), whose items are missing or wrong in ``rated``.
    """
    formulas = needs.formulas
    asked = bool(formulas.placed)
    return (
        *METERED,
        *(event_positions(needs.allowance_ranks) if needs.by_event else ()),
        drawn(needs.allowance_ranks),
        position(by_event=needs.by_event),
        *(formula_steps(formulas, by_event=needs.by_event) if asked else ()),
        *tier_steps(by_event=needs.by_event, formulas=asked),
        UNCOVERED,
        *rated_charges(by_event=needs.by_event),
        *((formula_trace(formulas),) if asked else ()),
    )
