"""Discounts and balances on generated invoices, against the same rules said slowly."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.business.incentives.applying import (
    apply_discounts,
    draw_prepaid,
    with_rounds,
)
from counterfoil.core.money.allocation import allocate
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.rating.prepaid import PREPAID_SHARED
from counterfoil.platform.engine.duck import Engine, open_engine

CHARGED = """
CREATE TABLE charged (
    row_no BIGINT, applies_to_row BIGINT, section INTEGER, item_id BIGINT,
    billed_account_id BIGINT, account_id BIGINT, root_id BIGINT, account_name VARCHAR,
    site_name VARCHAR, product_id BIGINT, product_name VARCHAR, rate_plan_id BIGINT,
    charge_id BIGINT, charge_name VARCHAR, subscription_id BIGINT, subscription_charge_id BIGINT,
    kind VARCHAR, currency VARCHAR, minor_digits INTEGER, unit VARCHAR, cycle_start DATE,
    cycle_end DATE, service_start DATE, service_end DATE, counts_on DATE, reverses_id BIGINT,
    price_id BIGINT, layer VARCHAR, quantity DECIMAL(38,15), quantity_before DECIMAL(38,15),
    included_quantity DECIMAL(38,15), events BIGINT, days BIGINT, cycle_days BIGINT,
    unit_amount DECIMAL(28,10), list_amount DECIMAL(38,15), exact_amount DECIMAL(38,15),
    amount DECIMAL(20,4), steps VARCHAR, formulas VARCHAR, late BOOLEAN, discount_id BIGINT,
    holder_id BIGINT, commitment_id BIGINT, subject_id BIGINT, prepaid_grant_id BIGINT,
    commitment_part BIGINT, billed_on DATE);
CREATE TABLE discount (
    discount_id BIGINT, external_id VARCHAR, name VARCHAR, kind VARCHAR, percent DECIMAL(9,6),
    amount DECIMAL(20,10), currency VARCHAR, audience VARCHAR, priority BIGINT, valid_from DATE,
    valid_to DATE, cycles BIGINT, maximum_uses BIGINT, holder_uses BIGINT,
    invoice_maximum DECIMAL(20,4), holder_maximum DECIMAL(20,4), basis VARCHAR);
CREATE TABLE discount_scope (account_id BIGINT, discount_id BIGINT, holder_id BIGINT);
CREATE TABLE discount_target (
    discount_id BIGINT, product_id BIGINT, rate_plan_id BIGINT, charge_id BIGINT,
    subscription_id BIGINT);
CREATE TABLE discount_requirement (
    requirement_id BIGINT, discount_id BIGINT, product_id BIGINT, rate_plan_id BIGINT,
    charge_id BIGINT, minimum_quantity DECIMAL(38,15), minimum_amount DECIMAL(20,4));
CREATE TABLE requirement_running (
    requirement_id BIGINT, subscription_id BIGINT, start_date DATE, end_date DATE);
CREATE TABLE discount_basis (
    discount_id BIGINT, basis_id BIGINT, subscription_id BIGINT, holder_id BIGINT);
CREATE TABLE basis_line (
    row_no BIGINT, billed_on DATE, subscription_id BIGINT, product_id BIGINT, rate_plan_id BIGINT,
    charge_id BIGINT, service_start DATE, currency VARCHAR, quantity DECIMAL(38,15),
    amount DECIMAL(20,4), discount_id BIGINT, priority BIGINT);
CREATE TABLE discount_tier (
    discount_id BIGINT, from_amount DECIMAL(20,4), percent DECIMAL(9,6));
CREATE TABLE discount_cycle (
    discount_id BIGINT, subscription_id BIGINT, charge_id BIGINT, cycle_start DATE);
CREATE TABLE discount_use (
    discount_id BIGINT, holder_id BIGINT, uses BIGINT, amount DECIMAL(20,4));
CREATE TABLE seniority (billed_account_id BIGINT, place BIGINT);
CREATE TABLE unmet_discount (row_no BIGINT, discount_id BIGINT);
CREATE TABLE discount_percentage (row_no BIGINT, discount_id BIGINT, percent DECIMAL(9,6));
CREATE TABLE discount_trace (row_no BIGINT, discount_id BIGINT, formulas VARCHAR);
CREATE TABLE prepaid_grant (
    grant_id BIGINT, external_id VARCHAR, name VARCHAR, kind VARCHAR, remaining DECIMAL(20,4));
CREATE TABLE grant_account (
    billed_account_id BIGINT, grant_id BIGINT, start_date DATE, expiry_date DATE, round_no BIGINT);
CREATE TABLE profile (billed_account_id BIGINT, account_name VARCHAR, currency VARCHAR);
"""

TABLES = [part.split()[0] for part in CHARGED.split("CREATE TABLE ")[1:]]


@dataclass(frozen=True, slots=True)
class Off:
    """A discount: a percentage or a fixed amount, at most ``most`` of an invoice."""

    percent: Decimal | None
    amount: Decimal | None
    most: Decimal | None


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine(threads=1) as made:
        made.run(CHARGED)
        yield made


def clear(engine: Engine) -> None:
    engine.run(";".join(f"DELETE FROM {name}" for name in TABLES))
    for view in ("net",):
        engine.run(f"DROP VIEW IF EXISTS {view}")
    for table in ("discount_offer", "requirement_met", "discount_line", "volume_line"):
        engine.run(f"DROP TABLE IF EXISTS {table}")


def add_line(engine: Engine, number: int, account: int, amount: Decimal) -> None:
    engine.run(
        "INSERT INTO charged BY NAME SELECT $no AS row_no, $account AS billed_account_id,"
        " $account AS account_id, 1 AS root_id, 'usage' AS kind, 'EUR' AS currency,"
        " 2 AS minor_digits, DATE '2024-01-01' AS cycle_start, DATE '2024-01-01' AS service_start,"
        " DATE '2024-02-01' AS billed_on, 1 AS quantity,"
        " CAST($amount AS DECIMAL(20,4)) AS amount",
        {"no": number, "account": account, "amount": amount},
    )


def expected(lines: list[Decimal], discounts: list[Off]) -> list[list[Decimal]]:
    """What each discount takes off each line, one after the other."""
    left, taken = list(lines), []
    for one in discounts:
        base = sum(left, Decimal(0))
        if one.percent is None:
            wanted = max(min(one.amount or Decimal(0), base), Decimal(0))
        else:
            wanted = round_half_up(base * one.percent / 100, 2)
        if wanted > 0 and one.most is not None:
            wanted = min(wanted, one.most)
        nothing = wanted == 0 or base == 0
        shares = [Decimal(0)] * len(left) if nothing else allocate(wanted, left, 2)
        taken.append(shares)
        left = [have - share for have, share in zip(left, shares, strict=True)]
    return taken


money = st.integers(0, 50_000).map(lambda cents: Decimal(cents) / 100)
percents = st.integers(1, 100_000_000).map(lambda millionths: Decimal(millionths) / 1_000_000)
offs = st.builds(Off, percents, st.none(), st.none() | money) | st.builds(
    Off, st.none(), money, st.none() | money
)


@settings(max_examples=60)
@given(st.lists(money, min_size=1, max_size=6), st.lists(offs, max_size=3))
def test_shares_add_up_to_the_discount_and_no_line_becomes_negative(
    engine: Engine, lines: list[Decimal], discounts: list[Off]
) -> None:
    clear(engine)
    engine.run("INSERT INTO seniority VALUES (1, 1)")
    for number, amount in enumerate(lines, start=1):
        add_line(engine, number, 1, amount)
    for number, one in enumerate(discounts, start=1):
        engine.run(
            "INSERT INTO discount BY NAME SELECT $id AS discount_id, 'd' AS external_id,"
            " 'd' AS name, $kind AS kind, CAST($percent AS DECIMAL(9,6)) AS percent,"
            " CAST($amount AS DECIMAL(20,10)) AS amount, 'everyone' AS audience, $id AS priority,"
            " CAST($most AS DECIMAL(20,4)) AS invoice_maximum, 'account' AS basis",
            {
                "id": number,
                "kind": "fixed" if one.percent is None else "percentage",
                "percent": one.percent,
                "amount": one.amount,
                "most": one.most,
            },
        )
    apply_discounts(engine)
    made = {
        (int(discount), int(row)): -amount
        for discount, row, amount in engine.rows(
            "SELECT discount_id, applies_to_row, amount FROM charged WHERE kind = 'discount'"
        )
    }
    wanted = {
        (number, row): share
        for number, shares in enumerate(expected(lines, discounts), start=1)
        for row, share in enumerate(shares, start=1)
        if share
    }
    assert made == wanted
    assert min(row[0] for row in engine.rows("SELECT net FROM net")) >= 0


@dataclass(frozen=True, slots=True)
class Grant:
    """An amount that some accounts may draw on, from a day of the month to before another."""

    amount: Decimal
    accounts: frozenset[int]
    first: int
    end: int


some_accounts = st.frozensets(st.integers(1, 4), min_size=1)
grants_given = st.builds(Grant, money, some_accounts, st.integers(1, 5), st.integers(2, 9))


def drawn_slowly(
    owed: dict[tuple[int, int], Decimal], grants: list[Grant]
) -> dict[tuple[int, int, int], Decimal]:
    """What each invoice (day, account) draws of each grant, one invoice after the other."""
    left = [grant.amount for grant in grants]
    drawn = {}
    for day, account in sorted(owed):
        open_amount = owed[day, account]
        for number, grant in enumerate(grants):
            if account in grant.accounts and grant.first <= day < grant.end:
                part = min(open_amount, left[number])
                left[number] -= part
                open_amount -= part
                if part:
                    drawn[day, account, number] = part
    return drawn


@settings(max_examples=25)
@given(
    st.dictionaries(st.tuples(st.integers(1, 8), st.integers(1, 4)), money, max_size=8),
    st.lists(grants_given, max_size=5),
)
def test_invoices_of_many_days_draw_one_after_the_other_and_pay_their_lines(
    engine: Engine, owed: dict[tuple[int, int], Decimal], grants: list[Grant]
) -> None:
    clear(engine)
    for number, ((day, account), amount) in enumerate(owed.items(), start=1):
        for half, part in enumerate((amount - amount // 3, amount // 3)):
            add_line(engine, 2 * number + half, account, part)
            engine.run(
                f"UPDATE charged SET billed_on = DATE '2024-02-0{day}',"
                f" subscription_charge_id = {half} WHERE row_no = {2 * number + half}"
            )
    engine.run("INSERT INTO profile SELECT range, 'A', 'EUR' FROM range(1, 5)")
    usable = pa.Table.from_pylist(
        [
            {
                "billed_account_id": account,
                "grant_id": number,
                "start_date": date(2024, 2, grant.first),
                "expiry_date": date(2024, 2, grant.end),
            }
            for number, grant in enumerate(grants)
            for account in sorted(grant.accounts)
        ],
        pa.schema(
            [
                *((name, pa.int64()) for name in ("billed_account_id", "grant_id")),
                *((name, pa.date32()) for name in ("start_date", "expiry_date")),
            ]
        ),
    )
    engine.register("usable", with_rounds(usable))
    engine.run("INSERT INTO grant_account BY NAME SELECT * FROM usable")
    for number, grant in enumerate(grants):
        engine.run(f"INSERT INTO prepaid_grant VALUES ({number}, 'g', 'g', 'free', {grant.amount})")
    draw_prepaid(engine)
    rows = engine.rows(
        "SELECT day(billed_on), billed_account_id, prepaid_grant_id, -amount FROM charged"
        " WHERE kind = 'prepaid'"
    )
    made = {(day, account, grant): amount for day, account, grant, amount in rows}
    expected_draws = drawn_slowly(owed, grants)
    assert made == expected_draws
    paid = engine.row(f"SELECT coalesce(sum(paid), 0) FROM ({PREPAID_SHARED})")[0]
    assert paid == sum(expected_draws.values())
    over = engine.rows(
        f"SELECT 1 FROM ({PREPAID_SHARED}) GROUP BY subscription_charge_id, cycle_start"
        " HAVING min(paid) < 0"
    )
    assert over == []


@settings(max_examples=40)
@given(
    st.lists(money, min_size=1, max_size=5),
    st.lists(st.tuples(money, st.sets(st.integers(1, 5), min_size=1)), max_size=4),
)
def test_no_cent_of_a_balance_is_drawn_twice(
    engine: Engine, totals: list[Decimal], grants: list[tuple[Decimal, set[int]]]
) -> None:
    clear(engine)
    for number, amount in enumerate(totals, start=1):
        add_line(engine, number, number, amount)
        engine.run(f"INSERT INTO profile VALUES ({number}, 'A', 'EUR')")
    for number, (amount, accounts) in enumerate(grants, start=1):
        engine.run(f"INSERT INTO prepaid_grant VALUES ({number}, 'g', 'g', 'free', {amount})")
        for account in accounts:
            engine.run(
                "INSERT INTO grant_account VALUES"
                f" ({account}, {number}, DATE '2024-01-01', NULL, {number})"
            )
    draw_prepaid(engine)
    for account, left in engine.rows(
        "SELECT billed_account_id, sum(amount) FROM charged GROUP BY billed_account_id"
    ):
        assert left >= 0
        usable = [n for n, (_, accounts) in enumerate(grants, 1) if account in accounts]
        drained = engine.rows(
            "SELECT g.grant_id FROM prepaid_grant g WHERE g.remaining <= (SELECT"
            " coalesce(-sum(amount), 0) FROM charged c WHERE c.prepaid_grant_id = g.grant_id)"
        )
        assert left == 0 or set(usable) <= {int(row[0]) for row in drained}
    overdrawn = engine.rows(
        "SELECT g.grant_id FROM prepaid_grant g JOIN charged c ON c.prepaid_grant_id = g.grant_id"
        " GROUP BY g.grant_id, g.remaining HAVING -sum(c.amount) > g.remaining"
    )
    assert overdrawn == []
