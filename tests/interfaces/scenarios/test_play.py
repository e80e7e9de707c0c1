"""What is checked of every bill run without being asked, and the simulated clock."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from counterfoil.bootstrap import scratch_organisation
from counterfoil.interfaces.scenarios import play
from counterfoil.interfaces.scenarios.comparison import Produced, ProducedInvoice
from counterfoil.interfaces.scenarios.notation import parse_scenario
from counterfoil.interfaces.scenarios.scenario import Bill

FEE = """\
scenario: A fee
price_book:
  products: [{id: p, name: P}]
  rate_plans:
    - id: plan
      product: p
      name: Plan
      charges:
        - id: fee
          name: Fee
          kind: recurring
          timing: in_advance
          prices: [{currency: USD, model: per_unit, amount: 10.00}]
accounts: [{id: ACME, currency: USD}]
timeline:
  - {on: 2024-01-01, do: subscribe, id: S1, account: ACME, plan: plan}
  - {on: 2024-01-01, do: bill}
"""


def play_text(text, server):
    scenario, problems = parse_scenario(text, "fee.yaml")
    assert problems == []
    clock = play.SimulatedClock()
    with scratch_organisation(server, clock) as organisation:
        return play.play_scenario(scenario, organisation, clock)


def test_a_bill_run_that_adds_something_when_repeated_is_a_difference(server, monkeypatch):
    honest, runs = play.run_bills, []

    def forgetful(*arguments, **options):
        runs.append(honest(*arguments, **options))
        return replace(runs[0], bill_run_id=runs[-1].bill_run_id)

    monkeypatch.setattr(play, "run_bills", forgetful)
    outcome = play_text(FEE, server)
    assert [str(difference) for difference in outcome.differences] == [
        "the same bill run again must add nothing: expected nothing, got 1 invoices with 1 lines"
    ]


def test_lines_that_do_not_add_up_are_a_difference():
    line = {"amount": Decimal("9.99")}
    produced = Produced((ProducedInvoice({"account": "A", "total": Decimal("10.00")}, (line,)),))
    scenario, _ = parse_scenario(FEE, "fee.yaml")
    step = scenario.timeline[1]
    assert isinstance(step, Bill)
    [difference] = play.judge(step, produced)
    assert str(difference) == (
        "invoice of A: lines must add up to the total: expected 10.00, got 9.99"
    )


def test_one_account_can_be_billed_alone(server):
    text = FEE.replace("[{id: ACME,", "[{id: OTHER, currency: USD}, {id: ACME,")
    text = text.replace("  - {on: 2024-01-01, do: bill}\n", "")
    text += (
        "  - {on: 2024-01-01, do: subscribe, id: S2, account: OTHER, plan: plan}\n"
        "  - {on: 2024-01-01, do: bill, account: OTHER}\n"
        "  - {on: 2024-01-01, do: bill}\n"
    )
    outcome = play_text(text, server)
    billed = [
        [invoice.fields["account"] for invoice in step.produced.invoices] for step in outcome.steps
    ]
    assert billed == [["OTHER"], ["ACME"]]


def test_the_clock_never_goes_back():
    clock = play.SimulatedClock()
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    clock.advance(noon)
    clock.advance(noon.replace(hour=9))
    assert clock() == noon
