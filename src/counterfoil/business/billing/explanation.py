"""The counterfoil: why an invoice line has the amount it has.

Everything but the usage events was stored beside the amount when it was billed. The events are
read back from the usage store and priced one by one by the same tier statements, each as the
difference it made to the cycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from counterfoil.business.billing.adjustment_trace import (
    AdjustmentTrace,
    in_place_sentence,
    read_trace,
    taken_back_sentences,
)
from counterfoil.business.billing.applied_explanation import applied_sentences
from counterfoil.business.billing.entities import APPLIED_KINDS
from counterfoil.business.billing.formula_sentences import formula_sentences
from counterfoil.business.billing.pooled_events import pooled_events
from counterfoil.business.billing.price_explanation import (
    PricedItem,
    price_region_of,
    weigh_prices,
)
from counterfoil.business.billing.relations import (
    make_relation,
    midnight_relation,
    usage_between,
)
from counterfoil.business.usage.store import BUCKETS, UsageStore, visible_segments
from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.rating.itemised import ITEMISED
from counterfoil.core.rating.relations import EVENT, SMALLEST_QUANTITY
from counterfoil.platform.engine.duck import open_engine
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

EVENTS_SHOWN = 1000
"""How many usage events an explanation lists unless told."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """An invoice line's counterfoil.

    ``line`` and ``rated_charge`` are the stored records, ``charge`` and ``price`` those they were
    priced by. ``layers`` lists every price that could have applied on the first day, most
    specific first, with ``wins``. ``events`` are the usage events in time order: source,
    event_id, time, batch_id, line, file_name, quantity (meter units), billed_quantity (priced
    units after minimum and increment), exact_amount (what the event added). ``adjustment`` tells
    what was billed before where a cycle was rated again. ``sentences`` say the same in words.
    ``charge`` is empty for what belongs to no charge, a commitment or a balance.
    """

    line: Record
    rated_charge: Record
    charge: Record
    price: Record | None
    layers: list[Record]
    events: list[Record]
    adjustment: AdjustmentTrace | None
    sentences: tuple[str, ...]


_OWNERS = ("site_id", "contact_id", "contract_id", "subscription_id")

_FACTS = """
SELECT c.id AS charge_id, c.name, c.kind, c.unit, c.unit_size, c.event_minimum,
       c.event_increment, c.meter_id, m.external_id AS meter, m.unit AS meter_unit,
       coalesce(m.aggregation, 'sum') AS aggregation, s.id AS subscription_id,
       s.external_id AS subscription, s.account_id, a.external_id AS account, s.site_id,
       s.contact_id, s.contract_id, c.pooled_over, i.account_id AS billed_account_id,
       (SELECT sum(b.amount) FROM rated_charge b
        WHERE b.subscription_charge_id = r.subscription_charge_id
          AND b.cycle_start = r.cycle_start AND b.id < r.id) AS billed_before
FROM subscription_charge sc
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
JOIN charge c ON c.id = sc.charge_id
LEFT JOIN meter m ON m.id = c.meter_id
JOIN rated_charge r ON r.subscription_charge_id = sc.id
JOIN invoice i ON i.id = r.invoice_id
WHERE r.id = :rated_charge
"""


_DRAWS = """
SELECT e.name, d.granted_cycle_start, d.quantity
FROM allowance_draw d JOIN entitlement e ON e.id = d.entitlement_id
WHERE d.rated_charge_id = :rated_charge ORDER BY d.id
"""


def explain_line(
    uow: UnitOfWork, store: UsageStore, line_id: int, *, events: int = EVENTS_SHOWN
) -> Explanation:
    """The counterfoil of an invoice line, with at most ``events`` usage events; refuses (404) an
    unknown line."""
    line = uow.get("invoice_line", line_id)
    rated = uow.get("rated_charge", int(line["rated_charge_id"]))
    found = uow.query(_FACTS, rated_charge=rated["id"])
    if rated["kind"] in APPLIED_KINDS:
        facts = found[0] if found else {}
        return Explanation(line, rated, facts, None, [], [], None, applied_sentences(rated))
    facts = found[0]
    price = None if rated["price_id"] is None else uow.get("price", int(rated["price_id"]))
    layers = _read_layers(uow, rated, facts)
    draws = uow.query(_DRAWS, rated_charge=rated["id"])
    by_event = facts["pooled_over"] != "subscription" or bool(draws)
    listed: list[Record] = []
    if rated["kind"] == "usage":
        if by_event:
            itemised = pooled_events(uow, store, rated, facts["billed_account_id"])
        else:
            itemised = itemise_usage(uow, store, [rated["id"]]).drop_columns(["rated_charge_id"])
        listed = itemised.slice(0, events).to_pylist()
        _name_files(uow, listed)
    trace = read_trace(uow, rated)
    if trace is not None and rated["kind"] == "adjustment":
        sentences = taken_back_sentences(
            trace, rated, lambda step: _step_sentence(step, facts, rated["currency"])
        )
    else:
        sentences = _sentences(rated, facts, price, layers, draws)
        sentences += () if trace is None else (in_place_sentence(trace),)
    return Explanation(line, rated, facts, price, layers, listed, trace, sentences)


def _read_layers(uow: UnitOfWork, rated: Record, facts: Record) -> list[Record]:
    """The prices that could have applied on the first day, most specific first."""
    item = PricedItem(
        account_id=facts["account_id"],
        charge_id=facts["charge_id"],
        currency=rated["currency"],
        day=rated["service_start"],
        owners={
            **{name: facts[name] for name in _OWNERS},
            "price_region_id": price_region_of(uow, facts["account_id"], facts["site_id"]),
        },
    )
    layers, _ = weigh_prices(uow, item)
    return [
        {**layer, "wins": layer["price_id"] == rated["price_id"]}
        for layer in layers
        if layer["verdict"] in ("wins", "passed_over") or layer["price_id"] == rated["price_id"]
    ]


# Late usage is itemised together with what its service period was billed for before.
_ITEMISABLE = """
SELECT r.id AS item_id, s.id AS subscription_id, c.meter_id, m.aggregation,
       coalesce(c.event_minimum, 0)::numeric(38,15) AS event_minimum,
       coalesce(c.event_increment, CAST(:smallest AS numeric))::numeric(38,15) AS event_increment,
       c.unit_size, r.price_id,
       (CASE WHEN NOT r.late THEN r.quantity_before ELSE 0 END)::numeric(38,15) AS quantity_before,
       NOT r.late AND r.service_start > greatest(r.cycle_start, sc.start_date) AS begun,
       r.service_start, r.service_end, p.time_zone, a.root_id
FROM (SELECT *, part > 0 AND adjustment_id IS NULL AS late FROM rated_charge) r
JOIN subscription_charge sc ON sc.id = r.subscription_charge_id
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
JOIN charge c ON c.id = sc.charge_id
JOIN meter m ON m.id = c.meter_id
JOIN invoice i ON i.id = r.invoice_id
JOIN billing_profile p ON p.account_id = i.account_id
WHERE r.id = ANY(:ids) AND r.kind = 'usage'
"""

_USAGE_EPOCH = """
SELECT i.*, b.instant AS start_at, e.instant AS end_at
FROM itemisable i
JOIN midnight b ON b.time_zone = i.time_zone AND b.day = i.service_start
JOIN midnight e ON e.time_zone = i.time_zone AND e.day = i.service_end
"""

_BILLED_PRICES = """
SELECT id AS price_id, model, package_size, included_quantity FROM price WHERE id = ANY(:ids)
"""

_BILLED_TIERS = """
SELECT price_id, from_quantity, up_to, unit_amount, flat_amount
FROM price_tier WHERE price_id = ANY(:ids)
"""


def itemise_usage(uow: UnitOfWork, store: UsageStore, rated_charges: Sequence[int]) -> pa.Table:
    """Every usage event of these rated charges (ids), priced one by one; all of them at once.

    Columns: rated_charge_id, source, event_id, time TIMESTAMP (UTC), batch_id, line, attributes,
    quantity DECIMAL(38,15) in meter units, billed_quantity DECIMAL(38,15) in priced units,
    exact_amount and list_amount DECIMAL(38,25); charge by charge in the order in which the events
    stand in the tiers.
    """
    charges = uow.read_arrow(_ITEMISABLE, ids=list(rated_charges), smallest=SMALLEST_QUANTITY)
    rows = charges.select(["time_zone", "service_start", "service_end", "root_id"]).to_pylist()
    midnights = midnight_relation(
        {(row["time_zone"], row[end]) for row in rows for end in ("service_start", "service_end")}
    )
    buckets = sorted({row["root_id"] % BUCKETS for row in rows})
    select = usage_between(visible_segments(uow), store, midnights, buckets=buckets)
    prices = sorted(set(charges.column("price_id").to_pylist()))
    with open_engine(threads=1 if len(rated_charges) == 1 else None) as engine:
        make_relation(engine, "usage", EVENT, select)
        engine.register("itemisable", charges)
        engine.register("midnight", midnights)
        engine.register("price", uow.read_arrow(_BILLED_PRICES, ids=prices))
        engine.register("price_tier", uow.read_arrow(_BILLED_TIERS, ids=prices))
        engine.run(f"CREATE TABLE usage_epoch AS {_USAGE_EPOCH}")
        for statement in ITEMISED:
            engine.run(statement.create)
        return engine.arrow("SELECT * EXCLUDE (event_no) FROM itemised ORDER BY event_no")


def _name_files(uow: UnitOfWork, events: list[Record]) -> None:
    """Add to every event the name of the file it came in."""
    batches = uow.query(
        "SELECT id, file_name FROM usage_batch WHERE id = ANY(:ids)",
        ids=sorted({event["batch_id"] for event in events}),
    )
    names = {row["id"]: row["file_name"] for row in batches}
    for event in events:
        event["file_name"] = names.get(event["batch_id"])


def _money(rated: Record) -> str:
    amount = round_half_up(Decimal(str(rated["amount"])), exponent(rated["currency"]))
    return f"{amount:,f} {rated['currency']}"


def _plain(value: object) -> str:
    """A decimal as people write it: thousands separated, no trailing zeros."""
    number = Decimal(str(value)).normalize()
    return f"{number:,f}"


def _sentences(
    rated: Record, facts: Record, price: Record | None, layers: list[Record], draws: list[Record]
) -> tuple[str, ...]:
    currency = rated["currency"]
    if rated["kind"] == "reversal":
        return (
            f"Rated charge {rated['reverses_id']} was billed beyond the end of service.",
            (
                f"{rated['days']} of its {rated['cycle_days']} days are given back, as a share of "
                f"what was billed: {_plain(rated['amount'])} {currency}."
            ),
        )
    said = []
    owner = next((layer["owner"] for layer in layers if layer["wins"]), None)
    said.append(
        f"Price {rated['price_id']} of layer {rated['layer']}"
        + (f" ({owner})" if owner else "")
        + f" applies{_passed_over(len(layers) - 1)}."
    )
    if rated["kind"] == "usage":
        said += [_usage_sentence(rated, facts), *_pool_sentences(rated, facts)]
    said += [_draw_sentence(draw, facts) for draw in draws]
    if price is not None and Decimal(str(price["included_quantity"])) > 0:
        said.append(
            f"{_plain(rated['included_quantity'])} {facts['unit']}s are included; without them "
            f"it would be {_plain(rated['list_amount'])} {currency}."
        )
    said += formula_sentences(rated, facts["unit"])
    said += [_step_sentence(step, facts, currency) for step in rated["steps"]]
    if rated["days"] != rated["cycle_days"]:
        said.append(f"Served {rated['days']} of {rated['cycle_days']} days.")
    said.append(
        f"{_plain(rated['exact_amount'])} {currency} is rounded half-up once to {_money(rated)}."
    )
    return tuple(said)


def _passed_over(count: int) -> str:
    if count < 1:
        return ""
    return (
        "; 1 less specific price does not"
        if count == 1
        else (f"; {count} less specific prices do not")
    )


def _usage_sentence(rated: Record, facts: Record) -> str:
    text = f"{rated['events']} usage events of meter {facts['meter']}"
    if facts["event_increment"] is not None:
        text += f", each rounded up to {_plain(facts['event_increment'])} {facts['meter_unit']}s,"
    text += f" make {_plain(rated['quantity'])} {facts['unit']}s"
    if Decimal(str(rated["quantity_before"])) > 0:
        text += f", after {_plain(rated['quantity_before'])} earlier in the cycle"
    return text + "."


def _pool_sentences(rated: Record, facts: Record) -> list[str]:
    if facts["pooled_over"] == "subscription":
        return []
    place = f"among all usage of the charge within one {facts['pooled_over']}"
    said = [f"They take their places in the tiers in order of time, {place}."]
    if facts["billed_before"] is not None:
        said.append(
            f"The whole cycle is priced anew; what was billed of it before, "
            f"{_plain(facts['billed_before'])} {rated['currency']}, is taken off."
        )
    return said


def _draw_sentence(draw: Record, facts: Record) -> str:
    quantity = Decimal(str(draw["quantity"]))
    verb = "are covered by" if quantity > 0 else "are given back to"
    return (
        f"{_plain(abs(quantity))} {facts['unit']}s {verb} {draw['name']}, granted for the cycle "
        f"from {draw['granted_cycle_start']}."
    )


def _step_sentence(step: Record, facts: Record, currency: object) -> str:
    upper = "and above" if step["up_to"] is None else f"to {_plain(step['up_to'])}"
    text = f"Tier from {_plain(step['from'])} {upper}: {_plain(step['quantity'])} {facts['unit']}s"
    text += f" × {_plain(step['unit_amount'])}"
    if Decimal(str(step["flat_amount"])) != 0:
        text += f" + {_plain(step['flat_amount'])}"
    return text + f" = {_plain(step['amount'])} {currency}."
