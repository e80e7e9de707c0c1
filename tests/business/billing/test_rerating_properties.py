"""An account whose prices were corrected afterwards has been billed what it would have been billed
had they been right from the beginning."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from tests.business.billing.conftest import NOW, PRICE_BOOK, Company
from tests.business.billing.test_rerating import apply, own_price, rerate

from counterfoil.business.billing.simulation import simulate
from counterfoil.business.billing.window import Window
from counterfoil.business.products.price_book import parse_price_book
from counterfoil.business.subscriptions.commands import cancel_subscriptions, change_quantity

JAN, FEB, MAR, APR = (date(2024, month, 1) for month in (1, 2, 3, 4))
MIDDLE = date(2024, 1, 20)
WINDOW = Window(JAN, APR)
NUMBERS = count(1)
CENT = Decimal("0.01")

DAYS = st.integers(0, 89).map(lambda days: JAN + timedelta(days=days))
EVENTS = st.tuples(st.just("use"), DAYS, st.sampled_from([1, 60, 61, 540, 6000]))
CHANGES = st.tuples(st.just("change"), DAYS, st.integers(0, 4))
ENDS = st.tuples(st.just("end"), DAYS, st.sampled_from(["rooms", "minutes"]))
STORY = st.lists(st.one_of(EVENTS, EVENTS, CHANGES, ENDS), max_size=5)


@dataclass
class Customer:
    """One of two accounts to which the same happens."""

    company: Company
    name: str

    def __post_init__(self) -> None:
        self.account = self.company.open_account(self.name)
        self.subscriptions = {
            plan: self.company.subscribe(f"{plan}-{self.name}", self.name, plan, JAN)
            for plan in ("rooms", "minutes")
        }
        self.ends = dict.fromkeys(self.subscriptions, APR)

    def live(self, story: list[tuple[str, date, object]], chapter: int) -> None:
        """Let happen what is told; what the subscription's end forbids does not happen."""
        for number, (what, day, detail) in enumerate(story):
            if what == "use" and day < self.ends["minutes"]:
                event = f"{self.name}-{chapter}-{number}"
                at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
                self.company.use(self.subscriptions["minutes"], (event, at, str(detail)))
            with self.company.database.transaction(now=NOW) as uow:
                if what == "change" and day < self.ends["rooms"]:
                    rooms = self.subscriptions["rooms"]
                    change_quantity(uow, rooms, "room", Decimal(str(detail)), day)
                if what == "end" and day < self.ends[str(detail)]:
                    cancel_subscriptions(uow, [self.subscriptions[str(detail)]], day)
                    self.ends[str(detail)] = day

    def net(self) -> dict[tuple[str, date, date], Decimal]:
        """What was billed by plan, service begin of its part and cycle."""
        with self.company.database.transaction(now=NOW) as uow:
            rows = uow.query(
                "SELECT p.external_id AS plan, c.start_date, r.cycle_start, sum(r.amount) AS net "
                "FROM rated_charge r JOIN subscription_charge c ON c.id = r.subscription_charge_id "
                "JOIN subscription s ON s.id = c.subscription_id "
                "JOIN rate_plan p ON p.id = s.rate_plan_id WHERE s.account_id = :account "
                "GROUP BY 1, 2, 3",
                account=self.account,
            )
        found = {(row["plan"], row["start_date"], row["cycle_start"]): row["net"] for row in rows}
        return {key: net for key, net in found.items() if net}


def _used(story: list[tuple[str, date, object]], since: date, before: date) -> bool:
    return any(what == "use" and since <= day < before for what, day, _ in story)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    first=STORY,
    between=STORY,
    after=STORY,
    room=st.sampled_from(["100", "249.95", "333.335", "0"]),
    minute=st.sampled_from(["0.01", "0.305", "0.22"]),
    since=st.sampled_from([{}, {"valid_from": MIDDLE}, {"valid_from": FEB}]),
)
@example([("use", JAN, 1)], [], [("use", MIDDLE, 1)], "100", "0.305", {"valid_from": MIDDLE})
def test_corrected_afterwards_is_right_from_the_beginning(
    company: Company,
    first: list[tuple[str, date, object]],
    between: list[tuple[str, date, object]],
    after: list[tuple[str, date, object]],
    room: str,
    minute: str,
    since: dict[str, date],
) -> None:
    # What comes late stands behind what was billed; from the beginning it stands where it was used,
    # which makes a difference where the later price of a cycle includes less.
    in_between = since.get("valid_from") == MIDDLE
    assume(not in_between or not _used(between + after, JAN, MIDDLE))
    number = next(NUMBERS)
    right, later = (Customer(company, f"{name}-{number}") for name in ("RIGHT", "LATER"))
    both = [right.account, later.account]

    def reprice(customer: Customer) -> None:
        own_price(company, customer.name, "room", room, **since)
        own_price(company, customer.name, "minute", minute, **since)

    def bill(day: date) -> None:
        assert company.bill(day, accounts=both).problems == []

    def alike() -> None:
        ours, theirs = right.net(), later.net()
        for key in ours.keys() | theirs.keys():
            # A share that was given back of another price may be rounded to the other side.
            assert abs(ours.get(key, 0) - theirs.get(key, 0)) <= CENT, key

    reprice(right)
    for customer in (right, later):
        customer.live(first, 1)
    bill(FEB)
    for customer in (right, later):
        customer.live(between, 2)
    bill(MAR)
    assert rerate(company, WINDOW, accounts=both).listed == []
    reprice(later)
    made = apply(company, WINDOW, accounts=both)
    assert {row["account"] for row in made.listed} <= {later.name}
    alike()
    assert rerate(company, WINDOW, accounts=both).listed == []
    for customer in (right, later):
        customer.live(after, 3)
    bill(APR)
    # Where what was used cost the same, nothing was adjusted: the cycle kept its price for what
    # came late, and is rated again once more.
    kept = "minute" not in {row["charge"] for row in made.listed if row["cycle_start"] == JAN}
    if in_between and kept and _used(first + between, JAN, FEB) and _used(after, MIDDLE, FEB):
        again = apply(company, WINDOW, accounts=both).listed
        told = {(row["account"], row["charge"], row["cycle_start"]) for row in again}
        assert told <= {(later.name, "minute", JAN)}
    alike()
    assert rerate(company, WINDOW, accounts=both).listed == []
    book, _ = parse_price_book(PRICE_BOOK, "same.yaml")
    same = simulate(company.database, company.store, book, WINDOW, now=NOW, accounts=both)
    assert {row.amounts.change for row in (*same.totals, *same.accounts)} <= {Decimal(0)}


def test_late_usage_before_a_price_change_is_put_where_it_was_used(company: Company) -> None:
    """Two minutes are included until the 20th, none from then on: four minutes that come late
    stand behind the two that were billed, at 0.22; from the beginning two of them cost nothing."""
    customer = Customer(company, "MOVED")
    own_price(company, "MOVED", "minute", "0.01", valid_from=MIDDLE)
    customer.live([("use", JAN, 1), ("use", date(2024, 1, 23), 1)], 1)
    company.bill(FEB, accounts=[customer.account])
    customer.live([("use", JAN, 1)] * 4, 2)
    company.bill(MAR, accounts=[customer.account])

    (moved,) = rerate(company, WINDOW, accounts=[customer.account]).listed
    told = (moved["billed"], moved["now"], moved["difference"])
    assert told == (Decimal("0.89"), Decimal("0.67"), Decimal("-0.22"))
