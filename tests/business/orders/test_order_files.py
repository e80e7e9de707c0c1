"""Orders in files: every mistake is told with its line, and nothing of a bad file is kept."""

import pytest
from tests.business.orders.conftest import Desk

from counterfoil.business.orders.order_files import parse_orders
from counterfoil.business.orders.placing import place_orders
from counterfoil.core.problems import Refused

GOOD = """\
orders:
  - external_id: A-1
    account: ACME
    purchase_order: PO-1
    amount: 930.00
    lines:
      - {rate_plan: rooms, site: ACME-1, quantities: {room: 2}, identifiers: ['007']}
      - rate_plan: trunk
        prices: {line: 25.00}
        billing_start: on_date
        billing_date: 2024-04-01
"""

BAD = """\
orders:
  - external_id: A-1
    account: ACME
    lines:
      - {rate_plan: rooms, site: ACME-1}
      - rate_plan: palace
        site: nowhere
      - {kind: change_quantity, subscription: S,
         charge: room}
  - external_id: A-2
    account: NOBODY
    lines:
      - {rate_plan: rooms}
"""


def problems_of(desk: Desk, text: str) -> list[str]:
    before = desk.everything()
    with pytest.raises(Refused) as told, desk.work() as uow:
        place_orders(uow, parse_orders(text, "orders.yaml", uow.catalogue))
    assert desk.everything() == before
    return [str(problem) for problem in told.value.problems]


def test_a_file_places_its_orders_once(desk: Desk):
    for created in (True, False):
        with desk.work() as uow:
            (placed,) = place_orders(uow, parse_orders(GOOD, "orders.yaml", uow.catalogue))
            assert (placed.number, placed.created) == (f"ORD-{placed.id:06}", created)
    rows = desk.rows("SELECT identifiers, prices, billing_date FROM order_line ORDER BY position")
    assert rows[0]["identifiers"] == ["007"]
    assert rows[1]["prices"] == {"line": "25"}


def test_every_mistake_is_told_with_its_line(desk: Desk):
    assert problems_of(desk, BAD) == [
        "orders.yaml:7: lines.site: order A-1, line 2: there is no site 'nowhere'",
        "orders.yaml:6: lines.rate_plan: order A-1, line 2: there is no rate plan 'palace'",
        "orders.yaml:8: lines.quantity: order A-1, line 3: is required for change_quantity",
        "orders.yaml:8: lines.subscription: order A-1, line 3: there is no subscription 'S'",
        "orders.yaml:11: account: order A-2: there is no account 'NOBODY'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "orders.yaml:1: the file is empty"),
        ("orders: [", "not YAML"),
        ("orders: 7", "orders.yaml:1: orders: must be a list"),
        ("- 1", "must be a mapping"),
        ("orders: [{external_id: A}]", "orders[0].account: is missing"),
        (GOOD.replace("930.00", "much"), "orders.yaml:5: orders[0].amount: 'much' is not"),
        (GOOD.replace("on_date", "later"), "allowed: on_activation, on_acceptance"),
        (GOOD.replace("site:", "place:"), "unknown field (allowed: kind, subscription"),
        (GOOD.replace("{room: 2}", "{room: -2}"), "quantities.room: -2 is less than 0"),
        (GOOD.replace("{room: 2}", "{hall: 2}"), "orders.yaml:7: lines.quantities.hall"),
        (GOOD.replace("ACME-1,", "OTHER-1,"), "orders.yaml:7: lines.site"),
    ],
)
def test_bad_files_are_refused(desk: Desk, text: str, said: str):
    assert said in problems_of(desk, text)[0]
