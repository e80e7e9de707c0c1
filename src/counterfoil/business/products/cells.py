"""The cells of a matrix price: what each asks of an event, in words and as a key, and their faults.

A cell number stands for the same conditions in all prices of a charge, so that cells go on counting
through a price change and a more specific layer can set one of them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from counterfoil.business.products.tiers import Tier, TierFault
from counterfoil.platform.metadata import Record

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_END_OF_DAY = 24 * 60
_NO_DAYS: tuple[str, ...] = ()

Piece = tuple[int, int, int]
"""Weekday from 1, and minutes of its day: from the one, before the other."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell asks for, and its tiers.

    ``conditions`` are attributes and lists of values, or ``{"prefix": [...]}``; ``days`` are some
    of ``DAYS``, ``from_time`` and ``to_time`` hours such as 08:00.
    """

    conditions: dict[str, Any] = field(default_factory=dict)
    days: tuple[str, ...] = _NO_DAYS
    from_time: str | None = None
    to_time: str | None = None
    name: str | None = None
    tiers: tuple[Tier, ...] = ()

    @property
    def key(self) -> str:
        """Equal for cells that ask for the same."""
        return json.dumps(
            [self.conditions, sorted(self.days), self.from_time, self.to_time], sort_keys=True
        )

    @property
    def label(self) -> str:
        """The cell in words, as it stands in explanations."""
        if self.name is not None:
            return self.name
        words = [
            f"{attribute} {'/'.join(_texts(asked))}{'…' if isinstance(asked, dict) else ''}"
            for attribute, asked in self.conditions.items()
        ]
        words += ["/".join(self.days)] if self.days else []
        words += [f"{self.from_time}–{self.to_time}"] if self.from_time else []
        return ", ".join(words)

    @property
    def record(self) -> Record:
        """The fields of a price_cell record that say what the cell asks for."""
        return {
            "name": self.name,
            "label": self.label,
            "conditions": self.conditions,
            "days": ",".join(self.days) or None,
            "from_time": self.from_time,
            "to_time": self.to_time,
        }

    @property
    def pieces(self) -> list[Piece]:
        """The hours of the week the cell asks for."""
        begin, end = minute_of(self.from_time or "00:00"), minute_of(self.to_time or "24:00")
        assert begin is not None and end is not None  # noqa: S101 - checked before
        hours = [(begin, end)] if begin < end else [(0, end), (begin, _END_OF_DAY)]
        days = [DAYS.index(day) + 1 for day in self.days or DAYS]
        return [(day, *piece) for day in days for piece in hours if piece[0] < piece[1]]

    @property
    def timed(self) -> bool:
        """Whether the cell asks for hours at all."""
        return bool(self.days or self.from_time)


def cell_of(row: Record, tiers: Sequence[Tier] = ()) -> Cell:
    """The cell a price_cell record holds."""
    days = str(row["days"] or "")
    return Cell(
        conditions=row["conditions"],
        days=tuple(days.split(",")) if days else (),
        from_time=row["from_time"],
        to_time=row["to_time"],
        name=row["name"],
        tiers=tuple(tiers),
    )


def minute_of(time: str) -> int | None:
    """The minute of the day of a text such as 08:00; None when it is none."""
    hours, _, minutes = time.partition(":")
    if not (len(hours) == len(minutes) == 2 and hours.isdecimal() and minutes.isdecimal()):
        return None
    minute = int(hours) * 60 + int(minutes)
    return minute if int(minutes) < 60 and minute <= _END_OF_DAY else None


def spread_days(texts: Sequence[str]) -> tuple[str, ...]:
    """Days with ranges such as ``mon..fri`` written out; what is no day stays as it is."""
    found: list[str] = []
    for text in texts:
        first, dots, last = text.partition("..")
        if dots and first in DAYS and last in DAYS:
            start, length = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % 7
            found += [DAYS[(start + n) % 7] for n in range(length + 1)]
        else:
            found.append(text)
    return tuple(sorted(set(found), key=lambda day: (DAYS.index(day) if day in DAYS else 7, day)))


def find_cell_faults(cell: Cell) -> list[TierFault]:
    """What is wrong with the conditions of one cell."""
    faults = [
        TierFault("bad_condition", message, "conditions")
        for message in _condition_faults(cell.conditions)
    ]
    if not cell.conditions and not cell.timed:
        message = "asks for nothing; everything else is a cell without when, days, from and to"
        faults.append(TierFault("no_condition", message, "conditions"))
    wrong = [day for day in cell.days if day not in DAYS]
    if wrong:
        message = f"{', '.join(wrong)}: days are {', '.join(DAYS)}, or mon..fri"
        faults.append(TierFault("unknown_day", message, "days"))
    times = {"from_time": cell.from_time, "to_time": cell.to_time}
    for name, time in times.items():
        if time is not None and minute_of(time) is None:
            faults.append(TierFault("no_time", f"{time!r} is no time such as 08:00", name))
    if (cell.from_time is None) != (cell.to_time is None):
        faults.append(TierFault("half_window", "from and to belong together", "from_time"))
    elif cell.from_time is not None and cell.from_time == cell.to_time:
        faults.append(TierFault("empty_window", "is the same as from", "to_time"))
    return faults


def find_matrix_faults(price: Record) -> list[TierFault]:
    """What a price that has cells cannot have."""
    faults = []
    if price["model"] == "formula":
        message = "a formula has no cells: write case when"
        faults.append(TierFault("unexpected_cells", message, "model"))
    if price["included_quantity"]:
        message = "belongs to no cell; use an entitlement"
        faults.append(TierFault("unexpected_included_quantity", message, "included_quantity"))
    return faults


def find_overlapping_cells(cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """Pairs of cells (places) of which neither is more specific for something both hold; of cells
    without faults."""
    sound = [not find_cell_faults(cell) for cell in cells]
    return [
        (earlier, later)
        for later in range(len(cells))
        for earlier in range(later)
        if sound[earlier] and sound[later] and _meet(cells[earlier], cells[later])
    ]


def _meet(one: Cell, other: Cell) -> bool:
    if set(one.conditions) != set(other.conditions) or one.timed != other.timed:
        return False
    if not all(_share(asked, other.conditions[name]) for name, asked in one.conditions.items()):
        return False
    return any(
        day == other_day and begin < other_end and other_begin < end
        for day, begin, end in one.pieces
        for other_day, other_begin, other_end in other.pieces
    )


def _share(one: object, other: object) -> bool:
    """Whether two conditions on an attribute hold the same with the same weight."""
    if isinstance(one, dict) != isinstance(other, dict):
        return False
    return bool(set(_texts(one)) & set(_texts(other)))


def _texts(asked: object) -> list[str]:
    values = asked.get("prefix") if isinstance(asked, dict) else asked
    return [str(value) for value in values] if isinstance(values, list) else []


def _condition_faults(conditions: object) -> Iterator[str]:
    if not isinstance(conditions, dict):
        yield "must be an object of attributes and lists of values"
        return
    for name, asked in conditions.items():
        values = asked
        if isinstance(asked, dict):
            values = asked.get("prefix") if set(asked) == {"prefix"} else None
        good = isinstance(values, list) and values and all(isinstance(v, str) and v for v in values)
        if not name or not good:
            yield f"{name!r} needs a list of texts, or one of prefixes: {{prefix: [44, 4420]}}"
