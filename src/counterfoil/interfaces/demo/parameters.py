"""What a demo is made of: size, seed and months. The same parameters give the same bytes."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from counterfoil.core.problems import Problem, Refused

DEFAULT_SEED = 20261001
"""The seed of ``make demo``."""


@dataclass(frozen=True, slots=True)
class DemoParameters:
    """Number of accounts, seed, the month the rooms start in and the month to bill (first days)."""

    accounts: int
    seed: int
    first_month: date
    month: date

    @property
    def billing_date(self) -> date:
        """First day after the month that is billed."""
        return month_after(self.month)

    @property
    def now(self) -> datetime:
        """The demo's clock: noon UTC of the day after, when the month has ended everywhere."""
        return datetime.combine(self.billing_date + timedelta(days=1), time(12), UTC)


def month_after(month: date) -> date:
    """First day of the month after the given first day."""
    return (month + timedelta(days=31)).replace(day=1)


def month_before(month: date) -> date:
    """First day of the month before the given first day."""
    return (month - timedelta(days=1)).replace(day=1)


def parse_month(text: str) -> date:
    """``2026-10`` as the first day of that month; refuses anything else."""
    try:
        year, month = text.split("-")
        return date(int(year), int(month), 1)
    except ValueError:
        problem = Problem("bad_month", f"{text!r} is not a month", "month", ("YYYY-MM",))
        raise Refused(problem) from None


def settle_parameters(folder: Path, accounts: int, seed: int, month: date) -> DemoParameters:
    """Remember the demo's parameters in ``folder``, or check them against what is remembered.

    A data folder holds one demo. Later months of it may be billed; another seed or size, or a
    month before the first one, is refused with nothing changed.
    """
    file = folder / "demo.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        chosen = {"accounts": accounts, "seed": seed, "first_month": month.isoformat()}
        draft = file.with_suffix(".tmp")
        draft.write_text(json.dumps(chosen) + "\n", encoding="utf-8")
        draft.replace(file)
    there = json.loads(file.read_text(encoding="utf-8"))
    first_month = date.fromisoformat(there["first_month"])
    asked = DemoParameters(accounts, seed, first_month, month)
    found = DemoParameters(there["accounts"], there["seed"], first_month, max(month, first_month))
    problems = [
        Problem(
            "other_demo",
            f"this data folder holds a demo of {name} {found_value}, not {value}; "
            "set COUNTERFOIL_HOME to begin another one",
            name,
        )
        for (name, value), found_value in zip(
            asdict(asked).items(), asdict(found).values(), strict=True
        )
        if value != found_value
    ]
    if problems:
        raise Refused(problems, status=409)
    return asked
