"""Who may give how much discount: the highest limit of the roles of a user."""

from decimal import Decimal

from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem
from counterfoil.platform.access.users import ADMINISTRATOR
from counterfoil.platform.records.unit_of_work import UnitOfWork

ALL = Decimal(100)
"""The limit of administrators: whatever there is."""

_LIMIT = """
SELECT coalesce(bool_or(r.administrator), false) AS administrator,
       coalesce(max(l.percent), 0) AS percent
FROM access_user u
LEFT JOIN user_role h ON h.access_user_id = u.id
LEFT JOIN access_role r ON r.id = h.access_role_id
LEFT JOIN discount_limit l ON l.access_role_id = r.id
WHERE u.external_id = :user GROUP BY u.id
"""


def discount_limit(uow: UnitOfWork) -> Decimal:
    """Up to how many percent the actor may give and approve; 0 without any limit of a role.

    Administrators have none to keep, as the shell of the machine, which acts as one.
    """
    rows = uow.query(_LIMIT, user=uow.actor)
    if not rows:
        return ALL if uow.actor == ADMINISTRATOR else Decimal(0)
    return ALL if rows[0]["administrator"] else Decimal(rows[0]["percent"])


def too_much(percent: Decimal, limit: Decimal) -> Problem:
    """That a discount is above somebody's limit."""
    message = (
        f"a discount of {without_zeros(percent)} percent has to be approved by somebody who may "
        f"give it; your limit is {without_zeros(limit)} percent"
    )
    return Problem("discount_too_high", message, "discount_percent")
