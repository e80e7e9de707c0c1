"""What a draft of a price book would have changed: past periods rated twice and compared.

Each batch of accounts is one rehearsal: the window is rated with the present prices, the draft is
laid over them, the window is rated again, and everything is rolled back. Both sides take the way of
a bill run, so what differs is what the draft changes. What was really billed stands beside it.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal

import pyarrow as pa

from counterfoil.business.billing.invoices_anew import load_kept, make_invoices_anew
from counterfoil.business.billing.loading import (
    accounts_under_template,
    billed_accounts,
    load_line_names,
)
from counterfoil.business.billing.window import (
    BEGINNING,
    ON_BILLS_WITH_BEGINNING,
    Window,
    rate_window,
)
from counterfoil.business.incentives.loading import Present, find_present, load_whole_trees
from counterfoil.business.products.commands import lay_price_book_over
from counterfoil.business.products.price_book_entries import PriceBook
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import Engine, NotComputable, open_engine
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

BATCH_ACCOUNTS = 1000
"""Billed accounts per rehearsal."""

ACCOUNTS_LISTED = 1000
"""Accounts per currency that a report names, those with the greatest change."""

SIDES = ("present", "draft")

OF_THESE = tuple(
    f"{side}_{part}" for part in ("discount", "commitment", "prepaid") for side in SIDES
)
"""Amounts that stand beside: what discounts, commitments and prepaid balances make of a side."""


@dataclass(slots=True)
class Amounts:
    """What the same periods cost: as they were ``billed``, rated with the ``present`` prices, and
    with the ``draft``; in major units of one currency. Of either side what discounts took off, what
    of it commitments add or take off, and what of it prepaid balances pay."""

    billed: Decimal = Decimal(0)
    present: Decimal = Decimal(0)
    draft: Decimal = Decimal(0)
    present_discount: Decimal = Decimal(0)
    draft_discount: Decimal = Decimal(0)
    present_commitment: Decimal = Decimal(0)
    draft_commitment: Decimal = Decimal(0)
    present_prepaid: Decimal = Decimal(0)
    draft_prepaid: Decimal = Decimal(0)

    @property
    def change(self) -> Decimal:
        """What the draft adds."""
        return self.draft - self.present

    def add(self, other: "Amounts") -> None:
        """Take in what a further batch of accounts costs."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a report: its ``names``, a currency and the amounts."""

    names: tuple[str, ...]
    currency: str
    amounts: Amounts

    @property
    def change_percent(self) -> Decimal | None:
        """The change in percent of the present amount, to one decimal; None without one."""
        if not self.amounts.present:
            return None
        return round_half_up(self.amounts.change * 100 / abs(self.amounts.present), 1)

    def document(self, *names: str) -> dict[str, object]:
        """The row as plain values, with these words for its names."""
        return {
            **dict(zip(names, self.names, strict=True)),
            "currency": self.currency,
            "billed": self.amounts.billed,
            "present": self.amounts.present,
            "draft": self.amounts.draft,
            "change": self.amounts.change,
            "change_percent": self.change_percent,
            **{name: getattr(self.amounts, name) for name in OF_THESE},
        }


@dataclass(frozen=True, slots=True)
class SimulationProblem:
    """Why an account is in no sum: ``side`` (present or draft) could not rate it."""

    account: str
    side: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """The change a draft makes.

    ``totals`` has one row per currency, without a name; ``products`` are named by product and
    charge (or commitment), ``accounts`` by external id and name, those with the greatest change
    first and at most ``ACCOUNTS_LISTED`` per currency. ``accounts_rated`` counts billed accounts.
    """

    window: Window
    accounts_rated: int
    totals: tuple[Row, ...]
    products: tuple[Row, ...]
    accounts: tuple[Row, ...]
    problems: tuple[SimulationProblem, ...]

    def document(self) -> dict[str, object]:
        """The report as plain values, amounts as decimals."""
        return {
            "from": self.window.start,
            "to_before": self.window.end,
            "accounts_rated": self.accounts_rated,
            "totals": [row.document() for row in self.totals],
            "products": [row.document("product", "charge") for row in self.products],
            "accounts": [row.document("account", "name") for row in self.accounts],
            "problems": [asdict(problem) for problem in self.problems],
        }


@dataclass(slots=True)
class _Sums:
    """Sums of all batches so far."""

    totals: dict[tuple[str, ...], Amounts] = field(default_factory=dict)
    products: dict[tuple[str, ...], Amounts] = field(default_factory=dict)
    accounts: dict[str, list[tuple[Decimal, tuple[str, ...], Amounts]]] = field(
        default_factory=dict
    )
    problems: list[SimulationProblem] = field(default_factory=list)

    def add_account(self, key: tuple[str, ...], amounts: Amounts) -> None:
        """Keep an account if its change is among the greatest of its currency."""
        listed = self.accounts.setdefault(key[-1], [])
        entry = (abs(amounts.change), key, amounts)
        if len(listed) < ACCOUNTS_LISTED:
            heapq.heappush(listed, entry)
        else:
            heapq.heappushpop(listed, entry)


@dataclass(frozen=True, slots=True)
class _Order:
    """One batch of accounts and what is asked about it."""

    accounts: tuple[int, ...]
    within: frozenset[int] | None
    window: Window
    draft: PriceBook
    now: datetime


LineSink = Callable[[pa.Table], None]
"""Takes the lines of a batch: account, account_name, subscription, product, charge, cycle_start,
cycle_end, currency, billed, present, draft, change and ``OF_THESE``; one per subscription charge
and cycle, and per commitment and period, which has its external id as its charge."""


def simulate(
    database: Database,
    store: UsageStore,
    draft: PriceBook,
    window: Window,
    *,
    now: datetime,
    accounts: Sequence[int] | None = None,
    template: str | None = None,
    most_accounts: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    lines: LineSink | None = None,
) -> Simulation:
    """Rate the cycles that begin in the window with the present prices and with the draft.

    ``accounts`` are ids of billed accounts (None: all), ``template`` keeps those accounts only that
    inherit this pricing template. Nothing is stored, and no lock is held that keeps a bill run
    waiting. Refuses a draft that does not fit what is stored (422), an unknown template (404), and
    more billed accounts than ``most_accounts`` (422). ``progress(done, total)`` counts them.
    """
    with database.rehearsal(now=now) as uow:
        lay_price_book_over(uow, draft)
        todo = billed_accounts(uow) if accounts is None else list(accounts)
        within = None
        if template is not None:
            within, under = accounts_under_template(uow, todo, _template_id(uow, template))
            todo = [account for account in todo if account in under]
    if most_accounts is not None and len(todo) > most_accounts:
        message = f"are {len(todo)} billed accounts; at most {most_accounts} are simulated here"
        raise Refused(Problem("too_many_accounts", message, "account"))
    sums = _Sums()
    order = _Order((), within, window, draft, now)
    for start in range(0, len(todo), BATCH_ACCOUNTS):
        batch = tuple(todo[start : start + BATCH_ACCOUNTS])
        for compared in _compare_batch(database, store, replace(order, accounts=batch), sums):
            _add_sums(sums, compared)
            if lines is not None:
                lines(compared)
        if progress is not None:
            progress(start + len(batch), len(todo))
    return _report(window, len(todo), sums)


def _template_id(uow: UnitOfWork, template: str) -> int:
    found = uow.find("pricing_template", external_id=template)
    if found is None:
        problem = Problem(
            "unknown_pricing_template", f"there is no pricing template {template!r}", "template"
        )
        raise Refused(problem, status=404)
    return int(found["id"])


def _compare_batch(
    database: Database, store: UsageStore, order: _Order, sums: _Sums
) -> Iterator[pa.Table]:
    """The lines of a batch; when a side cannot compute an amount, of its halves, down to the
    account that is at fault, which is a problem."""
    side = SIDES[0]
    try:
        with database.rehearsal(now=order.now) as uow:
            present = _rate(uow, store, order)
            side = SIDES[1]
            lay_price_book_over(uow, order.draft)
            draft = _rate(uow, store, order)
            compared, problems = _compare(uow, order, present, draft)
        sums.problems += problems
        yield compared
    except NotComputable as fault:
        if len(order.accounts) > 1:
            half = len(order.accounts) // 2
            for accounts in (order.accounts[:half], order.accounts[half:]):
                yield from _compare_batch(database, store, replace(order, accounts=accounts), sums)
            return
        with database.rehearsal(now=order.now) as uow:
            account = str(uow.get("account", order.accounts[0])["external_id"])
        message = str(fault).splitlines()[0][:1000]
        sums.problems.append(SimulationProblem(account, side, "not_computable", message))


@dataclass(frozen=True, slots=True)
class _Rated:
    """One side: amounts and earlier billed amounts per subscription charge and cycle, or commitment
    and period; commitments that cannot be computed; problems."""

    charged: pa.Table
    billed: pa.Table
    waiting: pa.Table
    problems: pa.Table


_KEY = "subscription_charge_id, commitment_id, subject_id, cycle_start"

_CHARGED = """
SELECT coalesce(c.subscription_charge_id, 0) AS subscription_charge_id,
       coalesce(c.commitment_id, 0) AS commitment_id, coalesce(c.subject_id, 0) AS subject_id,
       c.cycle_start, c.cycle_end, c.billed_account_id,
       coalesce(d.account_id, c.account_id) AS account_id, c.currency,
       CAST(sum(c.amount) AS DECIMAL(28,4)) AS amount,
       CAST(-coalesce(sum(c.amount) FILTER (c.kind = 'discount'), 0) AS DECIMAL(28,4)) AS discount
FROM charged c LEFT JOIN every_charge d USING (subscription_charge_id)
WHERE NOT coalesce(d.tree_only, false) AND c.kind <> 'prepaid' AND c.{beginning} GROUP BY ALL
"""

# A period that was billed something is compared also where nothing is added to it now.
_PERIODS = """
UNION ALL
SELECT 0, p.commitment_id, p.subject_id, p.period_start, p.period_end, k.billed_account_id,
       k.account_id, k.currency, 0, 0
FROM commitment_period p JOIN commitment k USING (commitment_id, subject_id)
WHERE k.billed_account_id IN (SELECT account_id FROM asked) AND p.{beginning}
  AND NOT EXISTS (SELECT 1 FROM charged c WHERE c.commitment_id = p.commitment_id
                  AND c.subject_id = p.subject_id AND c.cycle_start = p.period_start)
"""

_PAID = """
SELECT coalesce(subscription_charge_id, 0) AS subscription_charge_id,
       coalesce(commitment_id, 0) AS commitment_id, coalesce(subject_id, 0) AS subject_id,
       cycle_start, CAST(sum(paid) AS DECIMAL(28,4)) AS paid
FROM prepaid_share GROUP BY ALL
"""

_BILLED = """
SELECT subscription_charge_id, 0 AS commitment_id, 0 AS subject_id, cycle_start,
       CAST(sum(amount) AS DECIMAL(28,4)) AS amount
FROM billed_charge GROUP BY ALL
"""

_COMMITMENTS_BILLED = """
SELECT 0::bigint AS subscription_charge_id, r.commitment_id,
       coalesce(r.subject_id, 0) AS subject_id, r.cycle_start,
       CAST(sum(r.amount) AS numeric(28,4)) AS amount
FROM rated_charge r
WHERE r.commitment_id = ANY(:commitments) AND r.kind NOT IN ('credit', 'debit')
GROUP BY r.commitment_id, r.subject_id, r.cycle_start
"""

_PROBLEMS = """
SELECT * FROM problem WHERE account_id IN (SELECT account_id FROM asked) {members}
"""
_OF_MEMBERS = "OR account_id IN (SELECT billed_account_id FROM commitment_account)"


def _rate(uow: UnitOfWork, store: UsageStore, order: _Order) -> _Rated:
    present = find_present(uow)
    with open_engine() as engine:
        if present.discounts or present.commitments or present.grants:
            return _rate_invoices(uow, engine, store, order, present)
        today, items = order.now.date(), BEGINNING
        rate_window(uow, engine, store, order.accounts, order.window, today=today, items=items)
        charged = engine.arrow(_formatted(_CHARGED, order.window, "c"))
        unpaid = charged.append_column("paid", pa.nulls(charged.num_rows, pa.decimal128(28, 4)))
        return _Rated(
            unpaid,
            engine.arrow(_BILLED),
            engine.arrow("SELECT 0 AS commitment_id, 0 AS subject_id WHERE false"),
            engine.arrow("SELECT * FROM problem"),
        )


def _rate_invoices(
    uow: UnitOfWork, engine: Engine, store: UsageStore, order: _Order, present: Present
) -> _Rated:
    """The same with what incentives make of the invoices of the window."""
    window, today = order.window, order.now.date()
    accounts = load_whole_trees(uow, order.accounts, drawing=present.grants)
    kept = load_kept(uow, accounts, window, today, drawing=present.grants)
    items = ON_BILLS_WITH_BEGINNING
    rate_window(
        uow, engine, store, accounts, window, today=today, items=items, counted=kept.counted
    )
    make_invoices_anew(uow, engine, store, accounts, window, today, present, kept)
    asked = pa.array(order.accounts, pa.int64())
    engine.register("asked", pa.table({"account_id": asked}))
    engine.run("DELETE FROM charged WHERE billed_account_id NOT IN (SELECT account_id FROM asked)")
    charged = _formatted(_CHARGED, window, "c")
    if kept.commitments.num_rows:
        charged += _formatted(_PERIODS, window, "p", cycle_start="period_start")
    ids = sorted(set(kept.commitments["commitment_id"].to_pylist()))
    engine.register("commitment_billed", uow.read_arrow(_COMMITMENTS_BILLED, commitments=ids))
    return _Rated(
        engine.arrow(f"SELECT * FROM ({charged}) LEFT JOIN ({_PAID}) USING ({_KEY})"),
        engine.arrow(f"{_BILLED} UNION ALL SELECT * FROM commitment_billed"),
        engine.arrow("SELECT * FROM waiting"),
        engine.arrow(_PROBLEMS.format(members=_OF_MEMBERS if kept.commitments.num_rows else "")),
    )


def _formatted(sql: str, window: Window, alias: str, cycle_start: str = "cycle_start") -> str:
    bounds = {"start": window.start.isoformat(), "end": window.end.isoformat()}
    beginning = BEGINNING.format_map(bounds).replace(" AND ", f" AND {alias}.")
    return sql.format(beginning=beginning.replace("cycle_start", cycle_start))


_COMPARED = f"""
WITH rated AS (
    SELECT {_KEY},
           coalesce(d.cycle_end, p.cycle_end) AS cycle_end,
           coalesce(d.billed_account_id, p.billed_account_id) AS billed_account_id,
           coalesce(d.account_id, p.account_id) AS account_id,
           coalesce(d.currency, p.currency) AS currency,
           coalesce(p.amount, 0) AS present, coalesce(d.amount, 0) AS draft,
           coalesce(p.discount, 0) AS present_discount, coalesce(d.discount, 0) AS draft_discount,
           CASE commitment_id WHEN 0 THEN 0 ELSE present END AS present_commitment,
           CASE commitment_id WHEN 0 THEN 0 ELSE draft END AS draft_commitment,
           coalesce(p.paid, 0) AS present_prepaid, coalesce(d.paid, 0) AS draft_prepaid
    FROM present p FULL JOIN draft d USING ({_KEY})
    WHERE NOT EXISTS (SELECT 1 FROM waiting w
                      WHERE w.commitment_id = coalesce(p.commitment_id, d.commitment_id)
                        AND w.subject_id = coalesce(p.subject_id, d.subject_id))
)
SELECT n.account, n.account_name, n.subscription, n.product, n.charge, r.cycle_start,
       r.cycle_end, r.currency, CAST(coalesce(b.amount, 0) AS DECIMAL(28,4)) AS billed,
       CAST(r.present AS DECIMAL(28,4)) AS present, CAST(r.draft AS DECIMAL(28,4)) AS draft,
       CAST(r.draft - r.present AS DECIMAL(28,4)) AS change,
       {", ".join(f"CAST(r.{name} AS DECIMAL(28,4)) AS {name}" for name in OF_THESE)}
FROM rated r
JOIN name n USING (subscription_charge_id, commitment_id, subject_id)
LEFT JOIN billed b USING ({_KEY})
WHERE r.billed_account_id NOT IN (SELECT account_id FROM problem) {{chosen}}
  AND (r.commitment_id = 0 OR present <> 0 OR draft <> 0 OR billed <> 0)
ORDER BY n.account, n.subscription, n.charge, r.cycle_start
"""

_COMMITMENT_NAMES = """
SELECT 0::bigint AS subscription_charge_id, c.id AS commitment_id, k.subject_id,
       a.external_id AS account, a.name AS account_name, s.external_id AS subscription,
       coalesce(p.external_id, '') AS product, c.external_id AS charge
FROM unnest(CAST(:commitments AS bigint[]), CAST(:subjects AS bigint[]))
       AS k(commitment_id, subject_id)
JOIN commitment c ON c.id = k.commitment_id
LEFT JOIN subscription s ON s.id = k.subject_id
JOIN account a ON a.id = coalesce(s.account_id, c.account_id)
LEFT JOIN rate_plan rp ON rp.id = coalesce(c.rate_plan_id, s.rate_plan_id)
LEFT JOIN product p ON p.id = coalesce(c.product_id, rp.product_id)
"""


def _load_names(uow: UnitOfWork, charged: pa.Table) -> pa.Table:
    """How people call the subscription charges and commitments in ``charged``."""
    keys = ["subscription_charge_id", "commitment_id", "subject_id"]
    found = charged.select(keys).group_by(keys).aggregate([]).to_pylist()
    kept = [row for row in found if row["commitment_id"]]
    commitments = uow.read_arrow(
        _COMMITMENT_NAMES,
        commitments=[row["commitment_id"] for row in kept],
        subjects=[row["subject_id"] for row in kept],
    )
    charges = load_line_names(uow, [row[keys[0]] for row in found if row[keys[0]]])
    none = pa.repeat(pa.scalar(0, pa.int64()), charges.num_rows)
    charges = charges.append_column("commitment_id", none).append_column("subject_id", none)
    return pa.concat_tables([charges.select(commitments.column_names), commitments])


def _compare(
    uow: UnitOfWork, order: _Order, present: _Rated, draft: _Rated
) -> tuple[pa.Table, list[SimulationProblem]]:
    """Both sides line by line, without accounts that have a problem on either."""
    charged = pa.concat_tables([present.charged, draft.charged])
    names = _load_names(uow, charged)
    with open_engine() as engine:
        for name, table in (
            ("present", present.charged),
            ("draft", draft.charged),
            ("billed", present.billed),
            ("waiting", pa.concat_tables([present.waiting, draft.waiting])),
            ("name", names),
            ("problem", pa.concat_tables([present.problems, draft.problems])),
        ):
            engine.register(name, table)
        engine.register("within", pa.table({"id": pa.array(order.within or (), pa.int64())}))
        chosen = "" if order.within is None else "AND r.account_id IN (SELECT id FROM within)"
        compared = engine.arrow(_COMPARED.format(chosen=chosen))
    return compared, _problems(uow, zip(SIDES, (present, draft), strict=True))


def _problems(uow: UnitOfWork, sides: Iterable[tuple[str, _Rated]]) -> list[SimulationProblem]:
    found = [(side, row) for side, rated in sides for row in rated.problems.to_pylist()]
    accounts = {
        row["id"]: row["external_id"]
        for row in uow.query(
            "SELECT id, external_id FROM account WHERE id = ANY(:ids)",
            ids=sorted({row["account_id"] for _, row in found}),
        )
    }
    return [
        SimulationProblem(accounts[row["account_id"]], side, row["code"], row["message"])
        for side, row in found
    ]


_SUMS = ", ".join(f"sum({one.name})" for one in fields(Amounts))


def _add_sums(sums: _Sums, compared: pa.Table) -> None:
    with open_engine(threads=1) as engine:
        engine.register("compared", compared)
        for into, names in ((sums.totals, ()), (sums.products, ("product", "charge"))):
            columns = ", ".join((*names, "currency"))
            many = len(names) + 1
            for row in engine.rows(f"SELECT {columns}, {_SUMS} FROM compared GROUP BY {columns}"):
                into.setdefault(row[:many], Amounts()).add(Amounts(*row[many:]))
        for row in engine.rows(
            f"SELECT account, account_name, currency, {_SUMS} FROM compared GROUP BY ALL"
        ):
            sums.add_account(row[:3], Amounts(*row[3:]))


def _report(window: Window, accounts: int, sums: _Sums) -> Simulation:
    listed = [(key, amounts) for entries in sums.accounts.values() for _, key, amounts in entries]
    return Simulation(
        window,
        accounts,
        _rows(sums.totals.items()),
        _rows(sums.products.items()),
        _rows(listed),
        tuple(sums.problems),
    )


def _rows(sums: Iterable[tuple[tuple[str, ...], Amounts]]) -> tuple[Row, ...]:
    """Rows currency by currency, the greatest change first, in places of their currency."""
    rows = []
    for key, amounts in sums:
        digits = exponent(key[-1])
        rounded = Amounts(
            *(round_half_up(getattr(amounts, one.name), digits) for one in fields(amounts))
        )
        rows.append(Row(key[:-1], key[-1], rounded))
    return tuple(sorted(rows, key=lambda row: (row.currency, -abs(row.amounts.change), row.names)))
