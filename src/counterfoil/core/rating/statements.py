"""Which statements a rating consists of, in order: what no charge uses is not computed."""

from counterfoil.core.rating.charges import RATED_CHARGES
from counterfoil.core.rating.prices import PRICE_EPOCHS
from counterfoil.core.rating.quantities import PRICED_QUANTITIES
from counterfoil.core.rating.relations import Statement
from counterfoil.core.rating.tiers import TIER_STEPS, UNCOVERED

__all__ = ["PRICE_EPOCHS", "RATING"]

RATING: tuple[Statement, ...] = (
    *PRICED_QUANTITIES,
    *TIER_STEPS,
    UNCOVERED,
    *RATED_CHARGES,
)
"""Run after ``PRICE_EPOCHS`` and once ``midnight`` holds the days the usage epochs need.

Makes ``rated`` and ``priced_epoch`` (see core.rating.charges), and ``uncovered`` (see
core.rating.tiers), whose items are missing or wrong in ``rated``."""
