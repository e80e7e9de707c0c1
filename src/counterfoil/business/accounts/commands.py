"""Making accounts."""

from collections.abc import Mapping

from counterfoil.business.accounts.queries import find_account
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def create_account(
    uow: UnitOfWork,
    values: Mapping[str, object],
    *,
    parent: str | None = None,
    pricing_template: str | None = None,
    billing_profile: Mapping[str, object] | None = None,
) -> Record:
    """Create an account, below a parent and with a billing profile when given, and return it.

    ``parent`` and ``pricing_template`` are external ids. Refuses unknown ones and whatever the
    fields of account and billing profile do not allow.
    """
    named: Record = {}
    if parent is not None:
        named["parent_id"] = find_account(uow, parent)["id"]
    if pricing_template is not None:
        template = uow.find("pricing_template", external_id=pricing_template)
        if template is None:
            message = f"there is no pricing template {pricing_template!r}"
            raise Refused(Problem("unknown_pricing_template", message, "pricing_template"))
        named["pricing_template_id"] = template["id"]
    account = uow.create("account", {**values, **named})
    if billing_profile is not None:
        uow.create("billing_profile", {**billing_profile, "account_id": account["id"]})
    return account
