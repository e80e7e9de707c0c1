"""What the prices at hand use, looked up in their Arrow tables: what none uses is not computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

_BANDS = pa.array(["volume", "stairstep"])
_CELL = ["price_id", "cell_no"]


@dataclass(frozen=True, slots=True)
class PriceUses:
    """Each is a need of core.rating.statements, of the prices alone."""

    partials: bool
    packages: bool
    bands: bool
    included: bool
    bounds: bool
    layers: frozenset[str]
    steady: bool
    covered: bool


def price_uses(
    prices: pa.Table, tiers: pa.Table, layers: pa.Table, first: date | None, end: date | None
) -> PriceUses:
    """What these use (``price``, ``price_tier`` and ``price_layer``, see core.rating.relations);
    they are steady where none begins or ends between the days ``first`` and ``end``."""
    partials = _any(prices["partial"])
    return PriceUses(
        partials=partials,
        packages=_some(prices["package_size"]),
        bands=_any(pc.is_in(prices["model"], _BANDS)),
        included=_any(pc.greater(prices["included_quantity"], 0)),
        bounds=_some(prices["minimum_amount"]) or _some(prices["maximum_amount"]),
        layers=frozenset(prices["layer"].unique().to_pylist()),
        steady=first is None or not _changes([prices, layers], first, end),
        covered=not partials and _covered(prices, tiers),
    )


def _any(marked: pa.ChunkedArray) -> bool:
    return bool(pc.any(marked).as_py())


def _some(values: pa.ChunkedArray) -> bool:
    return bool(values.null_count < len(values))


def _changes(tables: Sequence[pa.Table], first: date, end: date | None) -> bool:
    """Whether a day on which something becomes valid, or no longer is, lies between these."""
    return any(
        _any(pc.and_(pc.greater(days, pa.scalar(first)), pc.less(days, pa.scalar(end))))
        for table in tables
        for days in (table["valid_from"], table["valid_to"])
    )


def _covered(prices: pa.Table, tiers: pa.Table) -> bool:
    """Whether all prices have tiers, and those of each begin at nothing, leave nothing out and have
    no end."""
    ends = pc.coalesce(tiers["up_to"], tiers["from_quantity"])
    cells = (
        tiers.select(_CELL)
        .append_column("start", tiers["from_quantity"])
        .append_column("reach", ends)
        .append_column("width", pc.subtract(ends, tiers["from_quantity"]))
        .append_column("open", tiers["up_to"].is_null())
        .group_by(_CELL, use_threads=False)
        .aggregate([("start", "min"), ("reach", "max"), ("width", "sum"), ("open", "any")])
    )
    gapless = pc.and_(
        pc.equal(cells["start_min"], 0), pc.equal(cells["width_sum"], cells["reach_max"])
    )
    plain = cells.filter(pc.equal(cells["cell_no"], 0))["price_id"]
    tiered = pc.is_in(prices["price_id"], plain)
    return bool(pc.all(tiered).as_py() and pc.all(pc.and_(gapless, cells["open_any"])).as_py())
