"""However a bill run is cut, run or looked at beforehand, formulas come to the same; and to what a
slow look at everything says."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from tests.business.billing.conftest import NOW, Company
from tests.business.billing.test_buckets import BesideEachOther
from tests.core.rating.reference import half_up

from counterfoil.bootstrap import Organisation
from counterfoil.business.billing import commands
from counterfoil.business.billing.queries import preview_invoice

JANUARY, FEBRUARY = date(2024, 1, 1), date(2024, 2, 1)

BOOK = """
products: [{id: video, name: Video}, {id: rooms, name: Rooms}, {id: care, name: Care}]
meters: [{id: seconds, name: Minutes, unit: minute}]
rate_plans:
  - id: hd
    product: video
    name: HD
    charges:
      - id: minute
        name: Minutes
        kind: usage
        meter: seconds
        unit: minute
        prices:
          - currency: USD
            model: formula
            formula: >-
              quantity * case when usage('seconds', 'root') > 50 then 0.035
              when usage('seconds', 'account') > 10 then 0.045 else 0.055 end
  - id: rooms
    product: rooms
    name: Rooms
    charges:
      - id: room
        name: Room
        kind: recurring
        timing: in_arrears
        prices:
          - currency: USD
            model: formula
            formula: 33.335 * quantity + quantity('room', 'subtree') / 3
  - id: care
    product: care
    name: Care
    charges:
      - id: support
        name: Support
        kind: recurring
        timing: in_arrears
        condition: amount('rooms', 'account') > 40 or amount('video', 'root') > 1
        prices:
          - currency: USD
            model: formula
            formula: (amount('room', 'account') + amount('minute', 'root')) * 0.15 * quantity
"""


class Group:
    """Trees of accounts, each billed on its own, with what they hold and used."""

    def __init__(self, company: Company, seed: int) -> None:
        self.company = company
        self.chance = Random(seed)
        self.parents: dict[str, str | None] = {}
        self.subscriptions: list[tuple[str, str, str, Fraction]] = []
        ids: dict[str, int] = {}
        for number in range(6):
            name = f"A{number}"
            parent = f"A{self.chance.randrange(number)}" if number % 3 else None
            self.parents[name] = parent
            ids[name] = company.open_account(name)
            if parent is not None:
                with company.database.transaction(now=NOW) as uow:
                    uow.update("account", ids[name], {"parent_id": ids[parent]})
        self.ids = ids
        for number in range(12):
            self._subscribe(f"S{number}", self.chance.choice(sorted(ids)))

    def _subscribe(self, name: str, account: str) -> None:
        plan, charge = self.chance.choice(
            [("hd", "minute"), ("rooms", "room"), ("care", "support")]
        )
        units = Fraction(self.chance.randrange(1, 4))
        if plan == "hd":
            subscription = self.company.subscribe(name, account, plan, JANUARY)
            events = [
                (
                    f"{name}-{number}",
                    datetime(2024, 1, self.chance.randrange(1, 32), tzinfo=UTC),
                    str(Decimal(self.chance.randrange(100, 900)) / 100),
                )
                for number in range(3)
            ]
            self.company.use(subscription, *events)
            units = sum((Fraction(quantity) for _, _, quantity in events), Fraction(0))
        else:
            quantities = {charge: Decimal(int(units))}
            self.company.subscribe(name, account, plan, JANUARY, quantities=quantities)
        self.subscriptions.append((name, account, charge, units))

    def root(self, account: str) -> str:
        parent = self.parents[account]
        return account if parent is None else self.root(parent)

    def held(self, charge: str, accounts: Sequence[str]) -> Fraction:
        return sum(
            (u for _, account, c, u in self.subscriptions if c == charge and account in accounts),
            Fraction(0),
        )

    def expected(self) -> list[tuple[str, Decimal]]:
        """Charge and amount of every line, slowly."""
        exact: dict[str, Fraction] = {}
        trees = {
            account: [other for other in self.ids if self.root(other) == self.root(account)]
            for account in self.ids
        }
        for name, account, charge, units in self.subscriptions:
            if charge == "minute":
                cheap = self.held("minute", trees[account]) > 50
                fair = self.held("minute", [account]) > 10
                rate = "0.035" if cheap else "0.045" if fair else "0.055"
                exact[name] = units * Fraction(rate)
            elif charge == "room":
                third = Fraction(half_up(self.held("room", [account]) / 3, 15))
                exact[name] = Fraction("33.335") * units + third
        for name, account, charge, units in self.subscriptions:
            if charge != "support":
                continue

            def amount(of: str, accounts: Sequence[str]) -> Fraction:
                return sum(
                    (exact[n] for n, a, c, _ in self.subscriptions if c == of and a in accounts),
                    Fraction(0),
                )

            minutes = amount("minute", trees[account])
            if amount("room", [account]) > 40 or minutes > 1:
                exact[name] = (amount("room", [account]) + minutes) * Fraction("0.15") * units
        charges = {name: charge for name, _, charge, _ in self.subscriptions}
        return sorted((charges[name], half_up(value, 2)) for name, value in exact.items())

    def billed(self, **more: object) -> list[tuple[str, Decimal]]:
        """Charge and amount of every line of a run whose drafts are discarded."""
        accounts = more.pop("accounts", None)
        runs = [accounts] if accounts is None else [[account] for account in accounts]  # type: ignore[attr-defined]
        for chosen in runs:
            run = self.company.bill(FEBRUARY, finalize=False, accounts=chosen, **more)
            assert run.problems == []
        with self.company.database.transaction(now=NOW) as uow:
            rows = uow.query(
                "SELECT c.external_id, r.amount FROM rated_charge r JOIN subscription_charge s "
                "ON s.id = r.subscription_charge_id JOIN charge c ON c.id = s.charge_id"
            )
        commands.discard_drafts(self.company.database, now=NOW)
        return sorted((row["external_id"], row["amount"].normalize()) for row in rows)

    def previewed(self) -> list[tuple[str, Decimal]]:
        """Description and amount of every line of every account's preview."""
        lines = [
            line
            for account in self.ids
            for line in preview_invoice(
                self.company.database, self.company.store, account, FEBRUARY, now=NOW
            ).lines
        ]
        charges = {"Minutes": "minute", "Room": "room", "Support": "support"}
        return sorted((charges[line["description"]], line["amount"]) for line in lines)


@pytest.mark.parametrize("seed", [1, 2])
def test_formulas_come_to_the_same_however_they_are_run(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    company = Company(organisation)
    company.load_prices(BOOK)
    group = Group(company, seed)
    expected = group.expected()
    assert {charge for charge, _ in expected} == {"minute", "room", "support"}
    assert group.billed() == expected
    assert group.previewed() == expected
    assert group.billed(runner=BesideEachOther()) == expected
    assert group.billed(accounts=sorted(group.ids.values(), reverse=True)) == expected
    monkeypatch.setattr(commands, "BATCH_ACCOUNTS", 2)
    assert group.billed(workers=2) == expected
