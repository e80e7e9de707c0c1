"""What leads, their sites and opportunities must obey, whoever writes them; numbers of quotes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from counterfoil.business.accounts.countries import country_codes, unknown_country
from counterfoil.core.money.currencies import CURRENCIES, unknown_currency
from counterfoil.core.periods.zones import known_time_zone, unknown_time_zone
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

LEAD_PATH: Mapping[str, tuple[str, ...]] = {
    "new": ("contacted", "qualified", "unqualified"),
    "contacted": ("qualified", "unqualified"),
    "qualified": ("unqualified",),
    "unqualified": ("contacted",),
    "converted": (),
}
"""Which status may follow which; a lead is converted by the command from any but unqualified."""

_OPEN = ("prospecting", "qualification", "proposal", "negotiation")
STAGE_PATH: Mapping[str, tuple[str, ...]] = {
    **{stage: tuple(one for one in (*_OPEN, "won", "lost") if one != stage) for stage in _OPEN},
    "won": ("negotiation",),
    "lost": ("negotiation",),
}
"""Which stage may follow which; what is decided is reopened in negotiation."""

USUAL = {
    "prospecting": 10,
    "qualification": 25,
    "proposal": 50,
    "negotiation": 75,
    "won": 100,
    "lost": 0,
}
"""The probability of a stage where none is given."""


def _each(find: Callable[[Record, Record | None], list[Problem]]) -> RecordCheck:
    """A rule that looks at one row and the old one, as a rule for many."""

    def check(uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]) -> list[Problem]:
        del uow
        return [
            replace(problem, line=position if len(rows) > 1 else None)
            for position, (row, old) in enumerate(zip(rows, old_rows, strict=True), start=1)
            for problem in find(row, old)
        ]

    return check


def find_lead_problems(row: Record, old: Record | None) -> list[Problem]:
    """A lead goes along its path, and is in a known currency, zone and country."""
    problems = _place_problems(row)
    if row["currency"] not in CURRENCIES:
        problems.append(unknown_currency(row["currency"]))
    before, now = "new" if old is None else old["status"], row["status"]
    if (now == "converted") != (row["account_id"] is not None):
        message = "leads are converted by the command, counterfoil leads convert"
        problems.append(Problem("converted_by_command", message, "status"))
    elif now not in (before, "converted", *LEAD_PATH[before]):
        problems.append(_off_the_path(before, now, LEAD_PATH[before], "status"))
    return problems


def find_opportunity_problems(row: Record, old: Record | None) -> list[Problem]:
    """An opportunity goes along its path; fills in the usual probability where none is given."""
    problems: list[Problem] = []
    before, now = "prospecting" if old is None else old["stage"], row["stage"]
    if old is not None and now not in (before, *STAGE_PATH[before]):
        problems.append(_off_the_path(before, now, STAGE_PATH[before], "stage"))
    kept = old is not None and before != now and row["probability"] == old["probability"]
    if row["probability"] is None or kept:
        row["probability"] = USUAL[now]
    if row["amount"] is not None and row["currency"] is None:
        problems.append(Problem("required", "an amount needs its currency", "currency"))
    if row["currency"] is not None and row["currency"] not in CURRENCIES:
        problems.append(unknown_currency(row["currency"]))
    return problems


def _off_the_path(before: str, now: str, after: tuple[str, ...], field: str) -> Problem:
    return Problem("off_the_path", f"{now} does not follow {before}", field, after)


def _place_problems(row: Record, _old: Record | None = None) -> list[Problem]:
    problems: list[Problem] = []
    if row["country"] is not None and row["country"] not in country_codes():
        problems.append(unknown_country(row["country"], None))
    if row["time_zone"] is not None and not known_time_zone(str(row["time_zone"])):
        problems.append(unknown_time_zone(row["time_zone"]))
    return problems


NUMBERS = re.compile(r"Q-[0-9]+", re.ASCII)
"""What the program calls quotes that are given no number."""


def number_quotes(
    _uow: UnitOfWork, rows: list[Record], _old_rows: list[Record | None]
) -> list[Problem]:
    """Fill in the numbers that are not given: nobody waits for them, and they may have gaps."""
    for row in rows:
        row["number"] = row["number"] or f"Q-{row['id']:06}"
    return []


CHECKS: dict[str, RecordCheck] = {
    "quote": number_quotes,
    "lead": _each(find_lead_problems),
    "lead_site": _each(_place_problems),
    "opportunity": _each(find_opportunity_problems),
}
