"""Reading a scenario file: exact values in, problems with their line out."""

from datetime import UTC, date, datetime
from decimal import Decimal

from counterfoil.interfaces.scenarios.notation import parse_scenario
from counterfoil.interfaces.scenarios.scenario import Bill, Subscribe, Usage

GOOD = """\
scenario: A room for a month
price_book:
  products: [{id: p, name: P}]
accounts:
  - {id: "007", currency: USD, time_zone: Asia/Tokyo}
  - {id: CHILD, parent: "007"}
timeline:
  - {on: 2024-01-01, do: subscribe, id: S1, account: CHILD, plan: rooms, quantities: {room: 7}}
  - {on: 2024-01-05, do: usage, subscription: S1, meter: minutes, quantity: 0.1, count: 2}
  - on: 2024-02-01
    do: bill
    expect:
      invoices:
        - account: "007"
          total: 29.95
          lines: [{charge: room, amount: 0.10}]
"""


def parse(text):
    return parse_scenario(text, "s.yaml")


def messages(text):
    scenario, problems = parse(text)
    assert scenario is None
    return [str(problem) for problem in problems]


def test_amounts_and_identifiers_are_exactly_the_characters_of_the_file():
    scenario, problems = parse(GOOD)
    assert problems == []
    bill = scenario.timeline[2]
    assert isinstance(bill, Bill)
    invoice = bill.expected.invoices[0]
    assert invoice.fields == {"account": "007", "total": Decimal("29.95")}
    assert invoice.lines[0].fields == {"charge": "room", "amount": Decimal("0.10")}
    assert bill.billing_date == date(2024, 2, 1)


def test_price_book_excerpt_keeps_the_line_numbers_of_the_file():
    scenario, _ = parse(GOOD)
    assert scenario.price_book.text.splitlines()[2] == "  products: [{id: p, name: P}]"


def test_usage_of_a_bare_day_happens_at_local_noon_of_the_billed_account():
    scenario, _ = parse(GOOD)
    usage = scenario.timeline[1]
    assert isinstance(usage, Usage)
    assert [event.event_id for event in usage.events] == ["9-1-1", "9-1-2"]
    assert usage.events[0].time == datetime(2024, 1, 5, 3, tzinfo=UTC)
    assert usage.events[0].identifier == "S1"


def test_an_instant_subscribes_on_the_local_day_of_the_account():
    text = GOOD.replace("on: 2024-01-01", "on: 2024-01-01T16:00:00Z")
    subscribe = parse(text)[0].timeline[0]
    assert isinstance(subscribe, Subscribe)
    assert subscribe.start == date(2024, 1, 2)


def test_unknown_field_is_refused_with_its_line_and_the_allowed_ones():
    [message] = messages(GOOD.replace("quantities", "quantitys"))
    assert message.startswith("s.yaml:8: timeline[0].quantitys: unknown field (allowed: on, do, id")


def test_all_problems_are_told_at_once():
    text = GOOD.replace("29.95", "29,95").replace("S1, meter", "S9, meter")
    assert messages(text) == [
        "s.yaml:9: timeline[1].subscription: there is no subscription 'S9' here yet (allowed: S1)",
        (
            "s.yaml:15: timeline[2].expect.invoices[0].total: '29,95' is not a decimal number such "
            "as 29.95"
        ),
    ]


def test_unknown_action_lists_the_known_ones():
    [message] = messages(GOOD.replace("do: bill", "do: invent"))
    assert message == (
        "s.yaml:10: timeline[2].do: unknown action 'invent' (allowed: subscribe, renew_due, "
        "change_quantity, cancel, amend, usage, correct_usage, load_prices, load_incentives, bill, "
        "rerate, credit, pay, spending, preview, provisioning, order, complete, cancel_order)"
    )


def test_steps_out_of_order_are_refused():
    [message] = messages(GOOD.replace("on: 2024-01-05", "on: 2023-01-05"))
    assert "s.yaml:9: timeline[1].on: 2023-01-05 is before 2024-01-01" in message


def test_an_instant_without_offset_is_refused():
    [message] = messages(GOOD.replace("on: 2024-01-05", "on: 2024-01-05T10:00:00"))
    assert "neither a date nor an instant such as 2024-02-29T10:00:00Z" in message


def test_a_day_that_does_not_exist_is_refused():
    [message] = messages(GOOD.replace("on: 2024-02-01", "on: 2023-02-29"))
    assert message == "s.yaml:10: timeline[2].on: '2023-02-29' is not a date such as 2024-02-29"


def test_broken_yaml_tells_its_line():
    [message] = messages("scenario: x\naccounts: [\n")
    assert message.startswith("s.yaml:3: not YAML:")


def test_missing_sections_are_named():
    assert messages("scenario: x\n") == [
        "s.yaml:1: accounts: is missing",
        "s.yaml:1: timeline: is missing",
    ]


def test_a_field_given_twice_is_refused():
    [message] = messages(GOOD.replace("do: bill\n", "do: bill\n    on: 2024-02-02\n"))
    assert message == "s.yaml:12: timeline[2].on: stands here twice"


def test_a_top_account_needs_a_currency_and_a_known_zone():
    text = GOOD.replace("currency: USD, time_zone: Asia/Tokyo", "time_zone: Mars/Base")
    told = messages(text)
    assert any("s.yaml:5: accounts[0].currency: is missing" in message for message in told)
    assert any("'Mars/Base' is no IANA time zone" in message for message in told)


def test_orders_are_read_as_in_their_files():
    order = """\
  - on: 2024-03-01
    do: order
    orders:
      - external_id: A
        account: ACME
        lines:
          - {rate_plan: rooms, billing_start: someday}
          - {rate_plan: rooms, colour: red}
  - {on: 2024-03-02, do: complete}
"""
    told = messages(GOOD.rstrip() + "\n" + order)
    assert [one.partition(" (allowed")[0] for one in told] == [
        "s.yaml:23: timeline[3].orders[0].lines[0].billing_start: unknown value 'someday'",
        "s.yaml:24: timeline[3].orders[0].lines[1].colour: unknown field",
        "s.yaml:25: timeline[4].order: is missing",
    ]
