"""Shares by the second: of what begins or ends within a day, in the time of its zone."""

from collections.abc import Sequence

from counterfoil.core.rating.relations import Statement

_SHARE = """
SELECT e.item_id, e.epoch_no,
       (epoch_us(b.instant) - epoch_us(a.instant)) // 1000000
           - CASE WHEN e.epoch_start = i.start_date THEN i.start_offset ELSE 0 END
           + CASE WHEN e.epoch_end = i.end_date THEN i.end_offset ELSE 0 END AS seconds,
       (epoch_us(q.instant) - epoch_us(p.instant)) // 1000000 AS cycle_seconds
FROM price_epoch e
JOIN charge_item i USING (item_id)
JOIN midnight a ON a.time_zone = i.time_zone AND a.day = e.epoch_start
JOIN midnight b ON b.time_zone = i.time_zone AND b.day = e.epoch_end
JOIN midnight p ON p.time_zone = i.time_zone AND p.day = i.cycle_start
JOIN midnight q ON q.time_zone = i.time_zone AND q.day = i.cycle_end
WHERE i.by_second
"""


def second_shares(*, needed: bool) -> Sequence[Statement]:
    """Make ``second_share``: item_id, epoch_no, seconds served and seconds of the cycle, of items
    that are by_second; they have start_date, start_offset, end_date and end_offset besides."""
    return (Statement("second_share", _SHARE),) if needed else ()
