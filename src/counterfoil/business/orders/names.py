"""The records that orders name, found with one query for each entity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from counterfoil.business.orders.notation import NewLine, NewOrder
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_OF_LINE = {
    "account": "account",
    "invoice_account": "account",
    "site": "site",
    "contact": "contact",
    "contract": "contract",
    "rate_plan": "rate_plan",
    "charge": "charge",
}
"""The fields of a line that name a record that has to be there."""

_SUBSCRIPTIONS = """
SELECT s.id, s.external_id, s.account_id, s.site_id, a.root_id
FROM subscription s JOIN account a ON a.id = s.account_id WHERE s.external_id = ANY(:names)
"""


@dataclass(frozen=True, slots=True)
class Named:
    """What the names mean: ids by entity and external id; subscriptions by external id with their
    account, site and root; accounts' roots by id."""

    ids: dict[str, dict[object, int]]
    subscriptions: dict[str, Record]
    roots: dict[int, int]

    def id_of(self, entity: str, name: str | None) -> int | None:
        """The id of a record that is known to be there."""
        return None if name is None else self.ids[entity][name]


def read_names(uow: UnitOfWork, orders: Sequence[NewOrder]) -> Named:
    """Everything that the orders name, as far as it exists."""
    lines = [line for order in orders for line in order.lines]
    wanted: dict[str, set[str]] = {entity: set() for entity in _OF_LINE.values()}
    wanted["account"] |= {order.account for order in orders}
    wanted["contract"] |= {order.contract for order in orders if order.contract is not None}
    for line in lines:
        for name, entity in _OF_LINE.items():
            value = getattr(line, name)
            if value is not None:
                wanted[entity].add(value)
    ids = {entity: uow.ids_by(entity, "external_id", names) for entity, names in wanted.items()}
    rows = uow.query(_SUBSCRIPTIONS, names=[line.subscription for line in lines])
    roots = uow.query(
        "SELECT id, root_id FROM account WHERE id = ANY(:ids)", ids=list(ids["account"].values())
    )
    return Named(
        ids,
        {str(row["external_id"]): row for row in rows},
        {cast("int", row["id"]): cast("int", row["root_id"]) for row in roots},
    )


def find_unknown(order: NewOrder, named: Named) -> Iterator[Problem]:
    """What an order names that is not there."""
    for name, entity in (("account", "account"), ("contract", "contract")):
        value = getattr(order, name)
        if value is not None and value not in named.ids[entity]:
            yield Problem(f"unknown_{entity}", f"there is no {entity} {value!r}", name)


def find_unknown_of_line(line: NewLine, order: NewOrder, named: Named) -> Iterator[Problem]:
    """What a line names that is not there, or belongs to another customer."""
    for name, entity in _OF_LINE.items():
        value = getattr(line, name)
        if value is not None and value not in named.ids[entity]:
            noun = entity.replace("_", " ")
            yield Problem(f"unknown_{entity}", f"there is no {noun} {value!r}", name)
    found = named.subscriptions.get(line.subscription or "")
    if line.kind == "add":
        if found is not None:
            message = f"there is a subscription {line.subscription!r} already"
            yield Problem("not_unique", message, "subscription")
        served = named.ids["account"].get(line.account or order.account)
        root, name = named.roots.get(served or 0), "account"
    elif line.subscription is None:
        return
    elif found is None:
        message = f"there is no subscription {line.subscription!r}"
        yield Problem("unknown_subscription", message, "subscription")
        return
    else:
        root, name = found["root_id"], "subscription"
    orders = named.roots.get(named.ids["account"].get(order.account) or 0)
    if root is not None and orders is not None and root != orders:
        message = f"{order.account} cannot order for an account outside its tree"
        yield Problem("other_customer", message, name)
