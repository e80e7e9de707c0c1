"""The steps of a scenario file that are about orders: what has to be done, ordered, and done."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date

from counterfoil.business.orders.notation import NewOrder
from counterfoil.business.orders.order_files import read_nodes
from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules
from counterfoil.interfaces.scenarios.scenario import Step

ORDER_STEPS: Mapping[str, Rules] = {
    "provisioning": {
        "plan": Rule(required=True),
        "tasks": Rule(kind=Kind.TEXTS),
        "wait": Rule(kind=Kind.INTEGER),
    },
    "order": {"orders": Rule(kind=Kind.NODE, required=True)},
    "complete": {
        "order": Rule(required=True),
        "line": Rule(kind=Kind.INTEGER, minimum=1),
        "task": Rule(),
        "day": Rule(kind=Kind.DATE),
    },
    "cancel_order": {"order": Rule(required=True), "line": Rule(kind=Kind.INTEGER, minimum=1)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioning(Step):
    """What has to be done for new subscriptions of a plan, one task after the other, and then a
    wait of so many days after the effective date."""

    plan: str
    tasks: tuple[str, ...]
    wait: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Step):
    """Place orders, approve and release them."""

    orders: tuple[NewOrder, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(Step):
    """The open tasks of an order are done: all, of a line, or of a name."""

    order: str
    position: int | None
    task: str | None
    day: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelOrder(Step):
    """Cancel what is not activated of an order, or one line."""

    order: str
    position: int | None


@dataclass(frozen=True, slots=True)
class ReadStep:
    """A step, and of the subscriptions it will begin the names, accounts and identifiers."""

    step: Step | None
    subscriptions: tuple[tuple[str, str | None, tuple[str, ...]], ...] = ()


def read_order_step(reader: Reader, entry: Entry, place: str) -> ReadStep:
    """The step of an entry; problems are noted in the reader."""
    line, on = entry.line, entry["on"]
    if entry["do"] == "provisioning":
        tasks = entry["tasks"] or ()
        plan, wait = entry["plan"], entry["wait"]
        return ReadStep(Provisioning(line=line, on=on, plan=plan, tasks=tasks, wait=wait))
    if entry["do"] == "complete":
        read = {"order": entry["order"], "position": entry["line"], "task": entry["task"]}
        return ReadStep(Complete(line=line, on=on, day=entry["day"], **read))
    if entry["do"] == "cancel_order":
        one, position = entry["order"], entry["line"]
        return ReadStep(CancelOrder(line=line, on=on, order=one, position=position))
    orders = tuple(
        _with_identifiers(one) for one in read_nodes(reader, entry["orders"], f"{place}.orders")
    )
    begun = tuple(
        (str(asked.subscription), asked.account or one.account, asked.identifiers)
        for one in orders
        for asked in one.lines
        if asked.kind == "add"
    )
    return ReadStep(Order(line=line, on=on, orders=orders), begun)


def _with_identifiers(order: NewOrder) -> NewOrder:
    """As everywhere in scenarios, usage may name a subscription by its id."""
    lines = []
    for position, line in enumerate(order.lines, start=1):
        name = line.subscription or f"{order.external_id}-{position}"
        named = replace(line, subscription=name, identifiers=line.identifiers or (name,))
        lines.append(named if line.kind == "add" else line)
    return replace(order, lines=lines)
