"""``counterfoil subscriptions amend``, ``suspend``, ``terminate`` and the others."""

import json
from pathlib import Path

from tests.interfaces.cli.test_simulate import Run, run

__all__ = ["run"]

BOOK = """
products: [{id: desks, name: Desks}]
rate_plans:
  - id: desk
    product: desks
    name: Desk
    charges:
      - {id: desk-fee, name: Desk, kind: recurring, timing: in_advance,
         prices: [{currency: USD, model: per_unit, amount: 31}]}
  - id: booth
    product: desks
    name: Booth
    charges:
      - {id: booth-fee, name: Booth, kind: recurring, timing: in_advance,
         prices: [{currency: USD, model: per_unit, amount: 62}]}
  - id: leaving
    product: desks
    name: Leaving
    charges:
      - {id: leaving-fee, name: Leaving, kind: one_time,
         prices: [{currency: USD, model: flat, amount: 5}]}
"""


def test_the_life_of_a_subscription(run: Run) -> None:
    Path("book.yaml").write_text(BOOK, encoding="utf-8")
    assert run("prices", "load", "book.yaml").exit_code == 0
    made = run("accounts", "create", "DESK", "--name", "Desk Ltd", "--currency", "USD")
    assert made.exit_code == 0, made.output
    begin = ("activate", "D-1", "--account", "DESK", "--rate-plan", "desk", "--start", "2026-07-01")
    assert run("subscriptions", *begin).exit_code == 0
    for arguments in (
        ("amend", "change_plan", "D-1", "--rate-plan", "booth", "--from", "2026-08-01"),
        (
            *("amend", "change_price", "D-1", "--charge", "booth-fee", "--from", "2026-08-15"),
            *("--price", "{model: volume, tiers: [{up_to: 9, amount: 60.50}, {amount: 55}]}"),
        ),
        ("suspend", "--of-account", "DESK", "--from", "2026-09-01", "--reason", "works"),
        ("resume", "D-1", "--from", "2026-10-01"),
        ("renew", "D-1", "--from", "2026-11-01", "--until", "2027-11-01"),
        ("terminate", "D-1", "--on", "2026-12-01", "--fee", "leaving", "--fee-amount", "7.50"),
    ):
        answer = run("subscriptions", *arguments, "--json")
        assert answer.exit_code == 0, answer.output
    told = json.loads(run("subscriptions", "history", "D-1", "--json").stdout)
    assert [one["kind"] for one in told] == [
        *("change_plan", "change_price", "suspend", "resume", "renew", "cancel"),
    ]
    running = run("subscriptions", "history", "D-1", "--on", "2026-08-05", "--json")
    assert [one["charge"] for one in json.loads(running.stdout)] == ["booth-fee"]
    due = run("subscriptions", "renew", "--due", "2028-01-01", "--json")
    assert json.loads(due.stdout) == [{"terms": 0, "problems": ""}]


def test_a_change_that_is_not_possible_is_told(run: Run) -> None:
    for arguments, said in (
        (("suspend",), "name a subscription, or the account"),
        (("resume", "NOBODY"), "there is no subscription"),
        (("amend", "paint", "--of-account", "NOBODY"), "there is no account"),
    ):
        answer = run("subscriptions", *arguments)
        assert answer.exit_code == 2, answer.output
        assert said in answer.output
