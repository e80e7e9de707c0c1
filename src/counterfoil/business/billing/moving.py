"""Lines that go from one document that is not final to another, with all that hangs on them."""

from collections.abc import Sequence

from counterfoil.platform.records.unit_of_work import UnitOfWork

# The unique key of prepaid draws holds one part for every document: a moved one is another part.
_CHARGES = """
UPDATE rated_charge r SET invoice_id = v.target,
       part = CASE WHEN r.kind = 'prepaid' THEN -r.id ELSE r.part END
FROM unnest(CAST(:sources AS bigint[]), CAST(:targets AS bigint[])) AS v(source, target)
WHERE r.invoice_id = v.source
"""

_ADJUSTMENTS = """
UPDATE adjustment a SET invoice_id = v.target
FROM unnest(CAST(:sources AS bigint[]), CAST(:targets AS bigint[])) AS v(source, target)
WHERE a.invoice_id = v.source
"""

# Positions below 0 are free, so that no two lines ever have the same.
_LINES = """
UPDATE invoice_line l SET invoice_id = o.target, position = -o.nth
FROM (SELECT l.id, v.target,
             row_number() OVER (PARTITION BY v.target
                 ORDER BY r.kind = 'prepaid', l.account_name, r.commitment_id IS NOT NULL,
                          l.site_name NULLS FIRST, v.place, l.position) AS nth
      FROM unnest(CAST(:sources AS bigint[]), CAST(:targets AS bigint[]))
           WITH ORDINALITY AS v(source, target, place)
      JOIN invoice_line l ON l.invoice_id = v.source
      JOIN rated_charge r ON r.id = l.rated_charge_id) o
WHERE o.id = l.id
"""

_POSITIONS = """
UPDATE invoice_line SET position = -position WHERE invoice_id = ANY(:targets) AND position < 0
"""

_SEEN = """
UPDATE invoice i SET usage_segment_seen = greatest(i.usage_segment_seen, s.seen)
FROM (SELECT v.target, max(x.usage_segment_seen) AS seen
      FROM unnest(CAST(:sources AS bigint[]), CAST(:targets AS bigint[])) AS v(source, target)
      JOIN invoice x ON x.id = v.source GROUP BY v.target) s
WHERE i.id = s.target
"""

_TOTALS = """
UPDATE invoice i SET total = t.total, updated_at = :now, row_version = i.row_version + 1,
       kind = CASE WHEN i.kind = 'debit_note' THEN i.kind
                   WHEN t.total < 0 THEN 'credit_note' ELSE 'invoice' END
FROM (SELECT invoice_id, sum(amount) AS total FROM invoice_line
      WHERE invoice_id = ANY(:targets) GROUP BY invoice_id) t
WHERE i.id = t.invoice_id
"""


def arrange_lines(uow: UnitOfWork, documents: Sequence[int]) -> None:
    """Number the lines of these documents (ids) in their order, and add the documents up anew."""
    _arrange(uow, list(documents), list(documents))


def _arrange(uow: UnitOfWork, sources: Sequence[int], targets: Sequence[int]) -> None:
    distinct = sorted(set(targets))
    uow.execute(_LINES, sources=list(sources), targets=list(targets))
    uow.execute(_POSITIONS, targets=distinct)
    uow.execute(_TOTALS, targets=distinct, now=uow.now)


def move_lines(uow: UnitOfWork, moves: Sequence[tuple[int, int]]) -> None:
    """Put all lines of each source (an id) on its target, add up anew, and delete the sources.

    Lines stand grouped by account and site, what prepaid balances pay at the end.
    """
    if not moves:
        return
    sources, targets = [source for source, _ in moves], [target for _, target in moves]
    distinct = sorted(set(targets))
    both = {"sources": sources, "targets": targets}
    uow.execute(_CHARGES, **both)
    uow.execute(_ADJUSTMENTS, **both)
    uow.execute(_SEEN, **both)
    _arrange(uow, [*distinct, *sources], [*distinct, *targets])
    uow.execute("DELETE FROM invoice WHERE id = ANY(:sources)", sources=sources)
