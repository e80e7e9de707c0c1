"""Reads the incentives of some accounts out of PostgreSQL, as Arrow relations.

One statement for all accounts of a batch; core.rating says what the relations are for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from counterfoil.business.subscriptions.invoicing import invoiced
from counterfoil.business.subscriptions.plans_held import plans_held
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Present:
    """Which kinds of incentives the organisation has at all."""

    discounts: bool
    commitments: bool
    grants: bool


def find_present(uow: UnitOfWork) -> Present:
    """Which kinds there are: a batch without any costs this one query."""
    row = uow.query(
        "SELECT EXISTS (SELECT 1 FROM discount) AS discounts,"
        " EXISTS (SELECT 1 FROM commitment) AS commitments,"
        " EXISTS (SELECT 1 FROM prepaid_grant) AS grants"
    )[0]
    return Present(**row)


_UP = """
WITH RECURSIVE up AS (
    SELECT id AS account_id, id AS ancestor_id, parent_id, 0 AS distance
    FROM account WHERE id = ANY(:accounts)
    UNION ALL
    SELECT up.account_id, a.id, a.parent_id, up.distance + 1
    FROM up JOIN account a ON a.id = up.parent_id
)
"""

_SCOPES = f"""{_UP}
SELECT DISTINCT ON (u.account_id, h.discount_id) u.account_id, h.discount_id,
       h.account_id AS holder_id
FROM up u
JOIN discount_holder h ON h.account_id = u.ancestor_id
JOIN discount d ON d.id = h.discount_id
WHERE d.scope = 'subtree' OR u.distance = 0
ORDER BY u.account_id, h.discount_id, u.distance
"""

_DISCOUNTS = """
SELECT id AS discount_id, external_id, name, kind, percent, amount, currency, audience, priority,
       valid_from, valid_to, cycles, maximum_uses, holder_uses, invoice_maximum, holder_maximum,
       basis
FROM discount WHERE audience = 'everyone' OR id = ANY(:held) ORDER BY id
"""

_TARGETS = """
SELECT t.discount_id, t.product_id, t.rate_plan_id, t.charge_id, s.id AS subscription_id
FROM discount_target t LEFT JOIN subscription s ON s.external_id = t.subscription_external_id
WHERE t.role = 'target' AND t.discount_id = ANY(:discounts)
"""

_REQUIREMENTS = """
SELECT t.id AS requirement_id, t.discount_id, t.product_id, t.rate_plan_id, t.charge_id,
       t.minimum_quantity, t.minimum_amount
FROM discount_target t
WHERE t.role = 'required' AND t.discount_id = ANY(:discounts)
"""

_IN_TREES = "s.account_id IN (SELECT t.id FROM account t WHERE t.root_id = ANY(:roots))"

_RUNNING = f"""
WITH {plans_held(_IN_TREES)}
SELECT DISTINCT t.id AS requirement_id, s.id AS subscription_id,
       h.from_day AS start_date, h.to_day AS end_date
FROM discount_target t
JOIN account a ON a.root_id = ANY(:roots)
JOIN subscription s ON s.account_id = a.id
JOIN plan_held h ON h.subscription_id = s.id
JOIN rate_plan rp ON rp.id = h.rate_plan_id
WHERE t.id = ANY(:requirements)
  AND (t.product_id = rp.product_id OR t.rate_plan_id = rp.id
       OR EXISTS (SELECT 1 FROM charge c WHERE c.id = t.charge_id AND c.rate_plan_id = rp.id))
"""

# Seen from who holds it, the subtree of a discount is that account and all below.
_HELD_SUBTREES = """
WITH RECURSIVE below AS (
    SELECT DISTINCT a.id AS holder_id, a.id AS account_id
    FROM discount_holder h JOIN account a ON a.id = h.account_id
    WHERE h.discount_id = ANY(:discounts) AND a.root_id = ANY(:roots)
    UNION ALL
    SELECT b.holder_id, a.id FROM below b JOIN account a ON a.parent_id = b.account_id
)
SELECT h.discount_id, b.holder_id AS basis_id, s.id AS subscription_id, b.holder_id
FROM discount_holder h
JOIN below b ON b.holder_id = h.account_id
JOIN subscription s ON s.account_id = b.account_id
WHERE h.discount_id = ANY(:discounts)
"""

_TIERS = """
SELECT discount_id, from_amount, percent FROM discount_tier WHERE discount_id = ANY(:discounts)
"""


@dataclass(frozen=True, slots=True)
class Discounts:
    """The relations ``discount``, ``discount_scope``, ``discount_target``, ``discount_tier``,
    ``discount_requirement`` and ``requirement_running`` of core.rating.discounts."""

    discount: pa.Table
    scope: pa.Table
    target: pa.Table
    tier: pa.Table
    requirement: pa.Table
    running: pa.Table

    @property
    def ids(self) -> list[int]:
        """Ids of the discounts."""
        return [int(one) for one in self.discount.column("discount_id").to_pylist()]

    @property
    def counting(self) -> list[Record]:
        """Those that count something over their basis: by volume, or with requirements."""
        asking = set(self.requirement.column("discount_id").to_pylist())
        return [
            one
            for one in self.discount.to_pylist()
            if one["kind"] == "volume" or one["discount_id"] in asking
        ]


def load_discounts(
    uow: UnitOfWork, accounts: Sequence[int], roots: Sequence[int], *, lock: bool
) -> Discounts:
    """The discounts that may concern lines of these accounts, whose roots are these.

    With ``lock`` those whose uses or amounts are counted for several accounts are locked until the
    unit of work ends: nobody else can use the last use as well.
    """
    scope = uow.read_arrow(_SCOPES, accounts=list(accounts))
    held = sorted(set(scope.column("discount_id").to_pylist()))
    if lock:
        uow.query(
            "SELECT id FROM discount WHERE (audience = 'everyone' OR id = ANY(:held))"
            " AND (maximum_uses IS NOT NULL OR audience = 'holders'"
            " AND (holder_uses IS NOT NULL OR holder_maximum IS NOT NULL))"
            " ORDER BY id FOR NO KEY UPDATE",
            held=held,
        )
    discount = uow.read_arrow(_DISCOUNTS, held=held)
    ids = discount.column("discount_id").to_pylist()
    requirement = uow.read_arrow(_REQUIREMENTS, discounts=ids)
    required = requirement.column("requirement_id").to_pylist()
    return Discounts(
        discount,
        scope,
        uow.read_arrow(_TARGETS, discounts=ids),
        uow.read_arrow(_TIERS, discounts=ids),
        requirement,
        uow.read_arrow(_RUNNING, requirements=required, roots=list(roots)),
    )


def load_held_subtrees(uow: UnitOfWork, discounts: Sequence[int], roots: Sequence[int]) -> pa.Table:
    """``discount_basis`` (core.rating.discounts) of held discounts over subtrees in these trees."""
    return uow.read_arrow(_HELD_SUBTREES, discounts=list(discounts), roots=list(roots))


_INVOICED = f"WITH RECURSIVE {invoiced('p.account_id = ANY(:accounts)')}"

# Whose oldest subscription began first comes first.
_SENIORITY = f"""{_INVOICED}
SELECT b.account_id AS billed_account_id,
       row_number() OVER (ORDER BY min(s.start_date), min(s.id), b.account_id) AS place
FROM unnest(CAST(:accounts AS bigint[])) AS b(account_id)
LEFT JOIN invoiced i ON i.billed_account_id = b.account_id
LEFT JOIN subscription s ON s.id = i.subscription_id
GROUP BY b.account_id
"""

# What holders share with nobody outside their tree matters where the tree has several invoices.
_SHARING = """
WITH shared AS (
    SELECT d.id, d.audience, false AS within FROM discount d
    WHERE d.maximum_uses > (
        SELECT count(DISTINCT (i.account_id, coalesce(i.bill_run_id, -i.id), r.holder_id))
        FROM rated_charge r JOIN invoice i ON i.id = r.invoice_id
        WHERE r.discount_id = d.id AND r.kind = 'discount' AND r.adjustment_id IS NULL)
    UNION ALL
    SELECT d.id, d.audience, true FROM discount d
    WHERE d.audience = 'holders' AND d.scope = 'subtree'
      AND (d.holder_uses IS NOT NULL OR d.holder_maximum IS NOT NULL)
), tree AS (
    SELECT o.root_id, bool_and(s.within) AS within
    FROM shared s JOIN discount_holder h ON h.discount_id = s.id
    JOIN account o ON o.id = h.account_id
    GROUP BY o.root_id
)
SELECT a.id FROM account a
WHERE a.id = ANY(:accounts)
  AND (EXISTS (SELECT 1 FROM shared WHERE audience = 'everyone')
       OR a.root_id IN (SELECT t.root_id FROM tree t
                        WHERE NOT t.within OR 1 < (
                            SELECT count(*) FROM account o JOIN billing_profile p
                              ON p.account_id = o.id WHERE o.root_id = t.root_id)))
"""


def load_seniority(uow: UnitOfWork, accounts: Sequence[int]) -> pa.Table:
    """``seniority`` (core.rating.discounts) of these billed accounts: billed_account_id, place."""
    return uow.read_arrow(_SENIORITY, accounts=list(accounts))


def sharing_accounts(uow: UnitOfWork, accounts: Sequence[int]) -> list[int]:
    """Those of these billed accounts that share a discount which can be used up with others, in
    the order in which they have it."""
    if not find_present(uow).discounts:
        return []
    sharing = [int(row["id"]) for row in uow.query(_SHARING, accounts=list(accounts))]
    seniority = load_seniority(uow, sharing).to_pylist() if sharing else []
    return [row["billed_account_id"] for row in sorted(seniority, key=lambda row: row["place"])]


# From the narrowest to the widest; of two for the same that of the shorter period, then the
# minimum, then the one that was made first: what it adds counts for the next.
# That of a rate plan is kept on the days on which the subscription has the plan.
_COMMITMENTS = f"""{_INVOICED}, {
    plans_held("s.id IN (SELECT subscription_id FROM invoiced)")
}, above AS (
    SELECT id, parent_id, id AS account_id FROM account
    WHERE id IN (SELECT account_id FROM commitment)
    UNION ALL
    SELECT a.id, a.parent_id, above.account_id FROM above JOIN account a ON a.id = above.parent_id
), depth AS (
    SELECT account_id, count(*) AS depth FROM above GROUP BY account_id
)
SELECT c.id AS commitment_id, coalesce(s.id, 0) AS subject_id, c.external_id, c.name, c.kind,
       c.amount, c.currency, c.product_id, c.rate_plan_id,
       coalesce(c.product_id, kp.product_id) AS line_product_id, kp.id AS line_plan_id,
       CAST(1000000 * (
                3 * CASE c.scope WHEN 'subscription' THEN 1 WHEN 'account' THEN 2
                                 ELSE 1000 - d.depth END
                + CASE WHEN c.rate_plan_id IS NOT NULL THEN 0 WHEN c.product_id IS NOT NULL THEN 1
                       ELSE 2 END)
            + 2 * c.period_count * CASE c.period_unit WHEN 'day' THEN 1 WHEN 'week' THEN 7
                WHEN 'month' THEN 30 WHEN 'quarter' THEN 91 WHEN 'half_year' THEN 182
                ELSE 365 END
            + CASE c.kind WHEN 'minimum' THEN 0 ELSE 1 END AS bigint) * 1000
       + dense_rank() OVER (
            PARTITION BY c.scope, s.id, b.account_id, c.product_id, c.rate_plan_id, c.period_unit,
                         c.period_count, c.kind
            ORDER BY c.id) AS rank,
       c.scope, b.account_id, a.name AS account_name, a.root_id, b.billed_account_id,
       coalesce(pr.name, sp.name, '') AS product_name,
       c.period_unit, c.period_count, c.alignment, p.cycle_day,
       coalesce(c.start_date, s.anchor_date, s.start_date) AS anchor_date,
       greatest(c.start_date, s.trial_end, s.billing_start, s.start_date, s.from_day) AS start_date,
       least(c.end_date, s.end_date, s.to_day) AS end_date, p.currency AS billed_currency
FROM commitment c
LEFT JOIN (
    SELECT o.*, h.rate_plan_id AS held_id, h.from_day, h.to_day
    FROM plan_held h JOIN subscription o ON o.id = h.subscription_id
    UNION ALL
    SELECT o.*, NULL, NULL, NULL FROM subscription o
) s ON c.scope = 'subscription'
     AND CASE WHEN c.subscription_external_id IS NULL THEN s.held_id = c.rate_plan_id
              ELSE s.held_id IS NULL AND s.external_id = c.subscription_external_id END
     AND (c.account_id IS NULL OR s.account_id = c.account_id)
JOIN (SELECT subscription_id, account_id, billed_account_id FROM invoiced
      UNION ALL SELECT 0, account_id, billed_account_id FROM invoiced_account) b
  ON CASE c.scope WHEN 'subscription' THEN b.subscription_id = s.id
          ELSE b.subscription_id = 0 AND b.account_id = c.account_id END
JOIN account a ON a.id = b.account_id
JOIN billing_profile p ON p.account_id = b.billed_account_id
LEFT JOIN depth d ON d.account_id = c.account_id
LEFT JOIN product pr ON pr.id = c.product_id
LEFT JOIN rate_plan rp ON rp.id = coalesce(s.held_id, s.rate_plan_id)
LEFT JOIN product sp ON sp.id = rp.product_id
LEFT JOIN rate_plan kp ON kp.id = coalesce(c.rate_plan_id, s.rate_plan_id)
"""

_MEMBERS = f"""{_INVOICED}, member AS (
    SELECT c.id AS commitment_id, c.account_id FROM commitment c
    WHERE c.id = ANY(:commitments) AND c.scope = 'subtree'
    UNION ALL
    SELECT m.commitment_id, a.id FROM member m JOIN account a ON a.parent_id = m.account_id
)
SELECT m.commitment_id, m.account_id, b.billed_account_id
FROM member m LEFT JOIN invoiced_account b ON b.account_id = m.account_id
"""


def load_commitments(uow: UnitOfWork, accounts: Sequence[int]) -> pa.Table:
    """The commitments kept through these billed accounts, one row for each subscription that keeps
    one; columns as in ``_COMMITMENTS``. A commitment of an account has the subject 0. What it adds
    counts for wider ones as ``line_product_id`` and ``line_plan_id``."""
    return uow.read_arrow(_COMMITMENTS, accounts=list(accounts))


def load_subtrees(uow: UnitOfWork, accounts: Sequence[int], commitments: Sequence[int]) -> pa.Table:
    """commitment_id, account_id, billed_account_id of all accounts over which those of these
    commitments count that count over a subtree; billed accounts as far as they are among these."""
    return uow.read_arrow(_MEMBERS, accounts=list(accounts), commitments=list(commitments))


_WHOLE_TREES = """
SELECT DISTINCT p.account_id FROM billing_profile p
JOIN account a ON a.id = p.account_id
WHERE a.root_id IN (
    SELECT b.root_id FROM account b WHERE b.id = ANY(:accounts)
      AND (EXISTS (SELECT 1 FROM discount
                   WHERE basis IN ('subtree', 'root') AND audience = 'everyone')
           OR EXISTS (SELECT 1 FROM discount d JOIN discount_holder h ON h.discount_id = d.id
                      JOIN account o ON o.id = h.account_id
                      WHERE o.root_id = b.root_id
                        AND (d.basis IN ('subtree', 'root') OR :used_up AND (
                            d.maximum_uses IS NOT NULL OR d.scope = 'subtree'
                            AND (d.holder_uses IS NOT NULL OR d.holder_maximum IS NOT NULL))))
           OR EXISTS (SELECT 1 FROM commitment c JOIN account o ON o.id = c.account_id
                      WHERE c.scope <> 'subscription' AND o.root_id = b.root_id)
           OR :drawing AND EXISTS (SELECT 1 FROM prepaid_grant g
                                   JOIN account o ON o.id = g.account_id
                                   WHERE g.scope = 'subtree' AND o.root_id = b.root_id)))
"""


def load_whole_trees(
    uow: UnitOfWork, accounts: Sequence[int], *, drawing: bool = False, used_up: bool = True
) -> list[int]:
    """The billed accounts and, of trees over which something is counted, all others that are
    billed: the amounts of one then depend on the others. With ``drawing`` also of trees that share
    a prepaid grant, with ``used_up`` of those that share a discount which can be used up."""
    rows = uow.query(_WHOLE_TREES, accounts=list(accounts), drawing=drawing, used_up=used_up)
    return sorted({*accounts, *(int(row["account_id"]) for row in rows)})


_USABLE = f"""{_UP}
SELECT u.account_id AS billed_account_id, g.id AS grant_id, g.external_id, g.name, g.kind,
       g.start_date, g.expiry_date
FROM up u
JOIN prepaid_grant g ON g.account_id = u.ancestor_id
JOIN billing_profile p ON p.account_id = u.account_id AND p.currency = g.currency
WHERE (g.scope = 'subtree' OR u.distance = 0)
  AND g.start_date <= :last AND (g.expiry_date IS NULL OR g.expiry_date > :first)
ORDER BY g.priority, g.expiry_date NULLS LAST, g.start_date, g.id, u.account_id
"""


def load_grants(
    uow: UnitOfWork, accounts: Sequence[int], first: date, last: date, *, lock: bool
) -> pa.Table:
    """The grants that invoices from a first to a last day of these billed accounts may draw on, in
    their order: billed_account_id, grant_id, external_id, name, kind, start_date, expiry_date.

    With ``lock`` they are locked until the unit of work ends: nobody else can draw the same cent.
    """
    usable = uow.read_arrow(_USABLE, accounts=list(accounts), first=first, last=last)
    if lock:
        lock_grants(uow, usable.column("grant_id").to_pylist())
    return usable


def lock_grants(uow: UnitOfWork, grants: Sequence[int]) -> None:
    """Lock grants until the unit of work ends; whoever reads their balance next reads it right."""
    uow.query(
        "SELECT id FROM prepaid_grant WHERE id = ANY(:ids) ORDER BY id FOR NO KEY UPDATE",
        ids=sorted(set(grants)),
    )
