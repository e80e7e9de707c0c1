"""What records of this room must obey, whoever writes them: commands, REST or a file.

Set-based: one call for all rows of a write, a fixed number of queries.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import cast

from counterfoil.business.accounts.countries import country_codes, unknown_country
from counterfoil.core.money.currencies import CURRENCIES, unknown_currency
from counterfoil.core.periods.validity import Validity, describe_overlap, find_overlaps
from counterfoil.core.periods.zones import known_time_zone, unknown_time_zone
from counterfoil.core.problems import Problem, line_among
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

Parents = dict[int, int | None]


class _Circle(Exception):  # noqa: N818 - a finding about the input, not a fault
    """An account would be above itself."""


def check_accounts(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Accounts form trees; fills in the root of every row."""
    del old_rows
    parents = read_parents(
        uow, [cast("int", row["parent_id"]) for row in rows if row["parent_id"] is not None]
    )
    for row in rows:
        parents[cast("int", row["id"])] = cast("int | None", row["parent_id"])
    roots: dict[int, int] = {}
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        line = line_among(rows, place)
        if row["parent_id"] is not None and row["parent_id"] not in parents:
            message = f"there is no account with id {row['parent_id']}"
            problems.append(Problem("unknown_reference", message, "parent_id", line=line))
            continue
        try:
            row["root_id"] = find_root(cast("int", row["id"]), parents, roots)
        except _Circle:
            message = "would put the account below itself"
            problems.append(Problem("account_circle", message, "parent_id", line=line))
    return problems


def read_parents(uow: UnitOfWork, account_ids: Iterable[int]) -> Parents:
    """The parent of these accounts and of every account above them; None for top accounts."""
    rows = uow.query(
        "WITH RECURSIVE above AS ("
        "SELECT id, parent_id FROM account WHERE id = ANY(:ids)"
        " UNION SELECT account.id, account.parent_id FROM account"
        " JOIN above ON account.id = above.parent_id) SELECT id, parent_id FROM above",
        ids=sorted(set(account_ids)),
    )
    return {cast("int", row["id"]): cast("int | None", row["parent_id"]) for row in rows}


def find_root(account: int, parents: Mapping[int, int | None], roots: dict[int, int]) -> int:
    """The top of an account's tree; ``roots`` remembers what was found before."""
    path: list[int] = []
    seen: set[int] = set()
    current = account
    while current not in roots:
        if current in seen:
            raise _Circle
        seen.add(current)
        path.append(current)
        parent = parents.get(current)
        if parent is None:
            roots[current] = current
        else:
            current = parent
    roots.update(dict.fromkeys(path, roots[current]))
    return roots[current]


def move_descendants(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """Give the accounts below moved ones, as far as they are not written here, the new root."""
    moved = [
        row
        for row, old in zip(rows, old_rows, strict=True)
        if old is not None and old["root_id"] != row["root_id"]
    ]
    if not moved:
        return []
    below = uow.query(
        "WITH RECURSIVE moved AS ("
        "SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:roots AS bigint[])) AS m(id, root)"
        "), below AS ("
        "SELECT account.id, moved.root FROM account JOIN moved ON account.parent_id = moved.id"
        " WHERE account.id <> ALL(:written)"
        " UNION SELECT account.id, below.root FROM account"
        " JOIN below ON account.parent_id = below.id WHERE account.id <> ALL(:written)) "
        "SELECT id, root FROM below",
        ids=[row["id"] for row in moved],
        roots=[row["root_id"] for row in moved],
        written=[row["id"] for row in rows],
    )
    uow.fill_in("account", [(row["id"], {"root_id": row["root"]}) for row in below])
    return []


def check_places(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A site has a known country and, if any, a known time zone."""
    del uow, old_rows
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        line = line_among(rows, place)
        problems.extend(_find_country_problems(row, line))
        problems.extend(_find_time_zone_problems(row, line))
    return problems


def check_contacts(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """The site of a contact belongs to the contact's account."""
    del old_rows
    sites = uow.query(
        "SELECT id, account_id FROM site WHERE id = ANY(:sites)",
        sites=[row["site_id"] for row in rows if row["site_id"] is not None],
    )
    accounts = {site["id"]: site["account_id"] for site in sites}
    return [
        Problem(
            "wrong_site", "is not a site of this account", "site_id", line=line_among(rows, place)
        )
        for place, row in enumerate(rows)
        if row["site_id"] in accounts and accounts[row["site_id"]] != row["account_id"]
    ]


def check_billing_profiles(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """A billing profile has a known currency, time zone and, if any, country."""
    del uow, old_rows
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        line = line_among(rows, place)
        if row["currency"] not in CURRENCIES:
            unknown = unknown_currency(row["currency"])
            problems.append(
                Problem(unknown.code, unknown.message, unknown.field, unknown.allowed, line=line)
            )
        problems.extend(_find_time_zone_problems(row, line))
        problems.extend(_find_country_problems(row, line))
    return problems


def check_pricing_templates(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """No pricing template builds on itself, however many templates lie between."""
    del old_rows
    if all(row["base_template_id"] is None for row in rows):
        return []
    lock_layers(uow)
    stored = uow.query("SELECT id, base_template_id FROM pricing_template")
    bases: Parents = {int(row["id"]): row["base_template_id"] for row in stored}
    bases.update({int(row["id"]): row["base_template_id"] for row in rows})
    problems: list[Problem] = []
    for place, row in enumerate(rows):
        try:
            find_root(int(row["id"]), bases, {})
        except _Circle:
            message = f"would make the template {row['external_id']!r} build on itself"
            line = line_among(rows, place)
            problems.append(Problem("template_circle", message, "base_template_id", line=line))
    return problems


def check_template_assignments(
    uow: UnitOfWork, rows: list[Record], old_rows: list[Record | None]
) -> list[Problem]:
    """An account has at most one assigned template on a day."""
    del old_rows
    lock_layers(uow)
    problems: list[Problem] = []
    validities: list[Validity] = []
    for place, row in enumerate(rows):
        starts, ends = cast("date | None", row["valid_from"]), cast("date | None", row["valid_to"])
        if starts is not None and ends is not None and ends <= starts:
            message = f"{ends} is not after valid_from, {starts}"
            line = line_among(rows, place)
            problems.append(Problem("ends_before_start", message, "valid_to", line=line))
        validities.append(Validity(row["account_id"], starts, ends, place))
    stored = uow.query(
        "SELECT account_id, valid_from, valid_to FROM template_assignment"
        " WHERE account_id = ANY(:accounts) AND id <> ALL(:ids)",
        accounts=sorted({row["account_id"] for row in rows}),
        ids=[row["id"] for row in rows],
    )
    validities += [
        Validity(row["account_id"], row["valid_from"], row["valid_to"], -1) for row in stored
    ]
    for earlier, later in find_overlaps(validities):
        place = max(earlier.place, later.place)
        if place >= 0:
            said = describe_overlap(earlier, later, "template assignment")
            line = line_among(rows, place)
            problems.append(Problem("overlapping_validity", said, "valid_from", line=line))
    return problems


def lock_layers(uow: UnitOfWork) -> None:
    """Wait until no other unit of work is writing prices, templates or assignments.

    Two that write at the same time do not see each other: each alone could be right and both
    together wrong.
    """
    uow.query("SELECT pg_advisory_xact_lock(hashtextextended('price layers', 0))")


def _find_country_problems(row: Record, line: int | None) -> list[Problem]:
    country = row["country"]
    if country is None or country in country_codes():
        return []
    return [unknown_country(country, line)]


def _find_time_zone_problems(row: Record, line: int | None) -> list[Problem]:
    name = row["time_zone"]
    if name is None or known_time_zone(str(name)):
        return []
    unknown = unknown_time_zone(name)
    return [Problem(unknown.code, unknown.message, unknown.field, line=line)]


CONSEQUENCES: dict[str, RecordCheck] = {"account": move_descendants}
"""What a right write brings with it: to be run after the rules of all rooms."""

CHECKS: dict[str, RecordCheck] = {
    "pricing_template": check_pricing_templates,
    "account": check_accounts,
    "template_assignment": check_template_assignments,
    "site": check_places,
    "contact": check_contacts,
    "billing_profile": check_billing_profiles,
}
