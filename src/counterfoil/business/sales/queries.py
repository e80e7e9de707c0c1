"""Read models of quotes: one with all that belongs to it, a list, names to ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Quote:
    """A quote with its lines; each line has ``rate_plan``, ``product``, ``site_name``, ``charges``
    (its counterfoil) and ``estimates`` beside its fields. ``account`` and ``lead`` are external
    ids; the account is that of the lead once it is converted."""

    row: Record
    account: str | None
    lead: str | None
    party: str
    lines: list[Record]

    @property
    def id(self) -> int:
        """Its id."""
        return int(self.row["id"])

    @property
    def name(self) -> str:
        """Number and version, as people call it."""
        return f"{self.row['number']}/{self.row['version']}"


_QUOTES = """
SELECT q.*, a.id AS party_account_id, a.external_id AS account, l.external_id AS lead,
       coalesce(a.name, l.company) AS party
FROM quote q
LEFT JOIN lead l ON l.id = q.lead_id
LEFT JOIN account a ON a.id = coalesce(q.account_id, l.account_id)
WHERE q.id = ANY(:ids) ORDER BY q.id
"""

_LINES = """
SELECT n.*, p.external_id AS rate_plan, p.name AS rate_plan_name, d.name AS product,
       coalesce(s.name, t.name, n.site_external_id) AS site_name
FROM quote_line n
JOIN rate_plan p ON p.id = n.rate_plan_id
JOIN product d ON d.id = p.product_id
LEFT JOIN site s ON s.external_id = n.site_external_id
LEFT JOIN lead_site t ON t.external_id = n.site_external_id
WHERE n.quote_id = ANY(:ids) ORDER BY n.quote_id, n.position
"""

_ESTIMATES = """
SELECT u.*, m.external_id AS meter, m.unit FROM quote_usage u JOIN meter m ON m.id = u.meter_id
WHERE u.quote_line_id = ANY(:lines) ORDER BY u.id
"""

_CHARGES = """
SELECT c.*, h.external_id AS charge FROM quote_charge c LEFT JOIN charge h ON h.id = c.charge_id
WHERE c.quote_line_id = ANY(:lines) ORDER BY c.quote_line_id, c.position
"""

_LIST = """
SELECT q.number, q.version, q.status, coalesce(a.external_id, l.external_id) AS party, q.title,
       q.currency, q.contract_value, q.discount_percent, q.valid_until
FROM quote q
LEFT JOIN lead l ON l.id = q.lead_id
LEFT JOIN account a ON a.id = coalesce(q.account_id, l.account_id)
WHERE (CAST(:status AS text) IS NULL OR q.status = :status)
ORDER BY q.number, q.version
"""

_NAMED = """
SELECT DISTINCT ON (k.name) k.name, q.id FROM unnest(CAST(:names AS text[])) AS k(name)
JOIN quote q ON q.number = split_part(k.name, '/', 1)
 AND split_part(k.name, '/', 2) IN ('', CAST(q.version AS text))
ORDER BY k.name, q.version DESC
"""


def read_quotes(uow: UnitOfWork, ids: Sequence[int]) -> list[Quote]:
    """Quotes in the order of their ids; refuses (404) unknown ones. Four queries in all."""
    rows = {row["id"]: row for row in uow.query(_QUOTES, ids=list(ids))}
    missing = [one for one in ids if one not in rows]
    if missing:
        raise Refused([_unknown(str(one)) for one in missing], 404)
    lines = uow.query(_LINES, ids=list(ids))
    numbers = [row["id"] for row in lines]
    charges = _by_line(uow.query(_CHARGES, lines=numbers))
    estimates = _by_line(uow.query(_ESTIMATES, lines=numbers))
    of_quote: dict[int, list[Record]] = {}
    for row in lines:
        row |= {
            "charges": charges.get(row["id"], []),
            "estimates": estimates.get(row["id"], []),
        }
        of_quote.setdefault(row["quote_id"], []).append(row)
    return [
        Quote(
            row := rows[one],
            row["account"],
            row["lead"],
            str(row["party"]),
            of_quote.get(one, []),
        )
        for one in ids
    ]


def find_quotes(uow: UnitOfWork, names: Sequence[str]) -> list[int]:
    """Ids of quotes named by number, then the newest version is meant, or number/version; refuses
    (404) unknown ones."""
    found = {row["name"]: int(row["id"]) for row in uow.query(_NAMED, names=list(names))}
    missing = [name for name in names if name not in found]
    if missing:
        raise Refused([_unknown(name) for name in missing], 404)
    return [found[name] for name in names]


def list_quotes(uow: UnitOfWork, status: str | None = None) -> list[Record]:
    """Number, version, status, party, title, currency, contract_value, discount_percent and
    valid_until of all quotes, or of those of one status."""
    return uow.query(_LIST, status=status)


def _by_line(rows: Sequence[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for row in rows:
        found.setdefault(row["quote_line_id"], []).append(row)
    return found


def _unknown(name: str) -> Problem:
    return Problem("unknown_quote", f"there is no quote {name}", "quote")
