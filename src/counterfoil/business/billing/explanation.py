"""The counterfoil: why an invoice line has the amount it has.

Everything but the usage events was stored beside the amount when it was billed. The events are
read back from the usage store and priced one by one by the same tier statements, each as the
difference it made to the cycle.
"""

from dataclasses import dataclass
from decimal import Decimal

from counterfoil.business.billing.adjustment_trace import (
    AdjustmentTrace,
    in_place_sentence,
    read_trace,
    taken_back_sentences,
)
from counterfoil.business.billing.applied_explanation import applied_sentences
from counterfoil.business.billing.change_sentences import fee_sentences, served_seconds
from counterfoil.business.billing.credit_notes import manual_sentences
from counterfoil.business.billing.entities import APPLIED_KINDS, MANUAL_KINDS
from counterfoil.business.billing.formula_sentences import formula_sentences
from counterfoil.business.billing.itemising import itemise_usage
from counterfoil.business.billing.loading import PRICED_BY_EVENT
from counterfoil.business.billing.number_words import money, plain
from counterfoil.business.billing.pooled_events import pooled_events
from counterfoil.business.billing.price_explanation import (
    PricedItem,
    price_region_of,
    weigh_prices,
)
from counterfoil.business.usage.store import UsageStore
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

_FACTS = f"""
SELECT c.id AS charge_id, c.name, c.kind, c.unit, c.unit_size, c.unit_rounding, c.event_minimum,
       c.event_increment, c.meter_id, m.external_id AS meter, m.unit AS meter_unit,
       coalesce(m.aggregation, 'sum') AS aggregation, m.percentile, m.carried_over,
       s.id AS subscription_id, s.external_id AS subscription, s.account_id,
       a.external_id AS account, s.site_id, s.contact_id, s.contract_id, c.pooled_over,
       c.proration, sc.start_date, sc.end_date, sc.start_offset, sc.end_offset,
       i.snapshot ->> 'time_zone' AS time_zone,
       {PRICED_BY_EVENT} AS priced_by_event,
       (SELECT sum(b.amount) FROM rated_charge b
        WHERE b.subscription_charge_id = r.subscription_charge_id
          AND b.cycle_start = r.cycle_start AND b.id < r.id
          AND b.kind NOT IN ('credit', 'debit')) AS billed_before
FROM subscription_charge sc
JOIN subscription s ON s.id = sc.subscription_id
JOIN account a ON a.id = s.account_id
JOIN charge c ON c.id = sc.charge_id
LEFT JOIN meter m ON m.id = c.meter_id
JOIN rated_charge r ON r.subscription_charge_id = sc.id
LEFT JOIN invoice i ON i.id = r.invoice_id
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
    if rated["kind"] in MANUAL_KINDS:
        sentences = manual_sentences(rated, str(rated["currency"]))
        return Explanation(line, rated, found[0] if found else {}, None, [], [], None, sentences)
    facts = {**found[0], **served_seconds(found[0], rated)}
    price = None if rated["price_id"] is None else uow.get("price", int(rated["price_id"]))
    layers = _read_layers(uow, rated, facts)
    draws = uow.query(_DRAWS, rated_charge=rated["id"])
    pooled = facts["pooled_over"] != "subscription"
    by_event = pooled or facts["priced_by_event"] or bool(draws)
    listed: list[Record] = []
    if rated["kind"] == "usage":
        if by_event:
            itemised = pooled_events(
                uow, store, rated, uow.get("invoice", int(rated["invoice_id"]))
            )
        else:
            itemised = itemise_usage(uow, store, [rated["id"]]).drop_columns(["rated_charge_id"])
        listed = itemised.slice(0, events).to_pylist()
        _name_files(uow, listed)
    rated["steps"] = _priced_by(uow, rated)
    trace = read_trace(uow, rated)
    if trace is not None and rated["kind"] == "adjustment":
        sentences = taken_back_sentences(
            trace, rated, lambda step: _step_sentence(step, rated, facts)
        )
    else:
        sentences = fee_sentences(uow, rated) + rated_sentences(rated, facts, price, layers, draws)
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
        if layer["verdict"] in ("wins", "part", "passed_over")
        or layer["price_id"] == rated["price_id"]
    ]


_PARTS = """
SELECT t.from_quantity, f.price_id FROM rated_charge_partial f
JOIN price_tier t ON t.price_id = f.price_id
WHERE f.rated_charge_id = :rated_charge ORDER BY f.position DESC
"""


def _bound(step: Record) -> Decimal | None:
    """Where the tier of a step begins; None of what is priced by event."""
    return None if step["from"] is None else Decimal(str(step["from"]))


def _priced_by(uow: UnitOfWork, rated: Record) -> list[Record]:
    """The steps of a rated charge, each with the price its tier comes from (price_id)."""
    rows = uow.query(_PARTS, rated_charge=rated["id"])
    parts = {row["from_quantity"]: row["price_id"] for row in rows}
    return [
        {**step, "price_id": parts.get(_bound(step), rated["price_id"])} for step in rated["steps"]
    ]


def _name_files(uow: UnitOfWork, events: list[Record]) -> None:
    """Add to every event the name of the file it came in."""
    batches = uow.query(
        "SELECT id, file_name FROM usage_batch WHERE id = ANY(:ids)",
        ids=sorted({event["batch_id"] for event in events}),
    )
    names = {row["id"]: row["file_name"] for row in batches}
    for event in events:
        event["file_name"] = names.get(event["batch_id"])


def rated_sentences(
    rated: Record, facts: Record, price: Record | None, layers: list[Record], draws: list[Record]
) -> tuple[str, ...]:
    """How a rated charge of service came about; ``facts`` are those of its charge."""
    currency = rated["currency"]
    if rated["kind"] == "reversal":
        return (
            f"Rated charge {rated['reverses_id']} was billed beyond the end of service.",
            (
                f"{rated['days']} of its {rated['cycle_days']} days are given back, as a share of "
                f"what was billed: {plain(rated['amount'])} {currency}."
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
        said += _event_sentences(price, rated["currency"])
    said += [_draw_sentence(draw, facts) for draw in draws]
    if price is not None and Decimal(str(price["included_quantity"])) > 0:
        said.append(
            f"{plain(rated['included_quantity'])} {facts['unit']}s are included; without them "
            f"it would be {plain(rated['list_amount'])} {currency}."
        )
    said += formula_sentences(rated, facts["unit"])
    said += [_step_sentence(step, rated, facts) for step in rated["steps"]]
    if facts["seconds"]:
        said.append(f"Served {facts['seconds']} of {facts['cycle_seconds']} seconds.")
    elif rated["days"] != rated["cycle_days"]:
        said.append(f"Served {rated['days']} of {rated['cycle_days']} days.")
    said.append(
        f"{plain(rated['exact_amount'])} {currency} is rounded half-up once to "
        f"{money(rated['amount'], currency)}."
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


_COUNTED_AS = {
    "max": ", the highest of them",
    "latest": ", the last of them",
    "unique_count": ", the different values there at the end",
    "weighted_sum": ", each for the share of the cycle for which it stood",
    "percentile": ", percentile {percentile} of them by nearest rank",
}

_TO_WHOLE = {"up": "rounded up", "half_up": "rounded half-up", "down": "rounded down"}


def _usage_sentence(rated: Record, facts: Record) -> str:
    text = f"{rated['events']} usage events of meter {facts['meter']}"
    each = []
    if facts["event_minimum"] is not None:
        each.append(f"at least {plain(facts['event_minimum'])} {facts['meter_unit']}s")
    if facts["event_increment"] is not None:
        each.append(f"rounded up to {plain(facts['event_increment'])} {facts['meter_unit']}s")
    if each:
        text += f", each {' and '.join(each)},"
    text += f" make {plain(rated['quantity'])} {facts['unit']}s"
    counted_by_time = facts["aggregation"] == "weighted_sum"
    percentile = "" if facts["percentile"] is None else plain(facts["percentile"])
    counted_as = _COUNTED_AS.get(facts["aggregation"], "").format(percentile=percentile)
    text += counted_as
    if counted_as and any(step.get("cell") for step in rated["steps"]):
        text += ", for each part by itself"
    if facts["carried_over"] and facts["proration"] == "by_day" and not counted_by_time:
        text += ", each for the share of the cycle's days for which it stood"
    if facts["unit_rounding"] in _TO_WHOLE:
        text += f", {_TO_WHOLE[facts['unit_rounding']]} to whole {facts['unit']}s"
    if Decimal(str(rated["quantity_before"])) > 0:
        text += f", after {plain(rated['quantity_before'])} earlier in the cycle"
    return text + "."


def _pool_sentences(rated: Record, facts: Record) -> list[str]:
    if facts["pooled_over"] == "subscription":
        return []
    place = f"among all usage of the charge within one {facts['pooled_over']}"
    said = [f"They take their places in the tiers in order of time, {place}."]
    if facts["billed_before"] is not None:
        said.append(
            f"The whole cycle is priced anew; what was billed of it before, "
            f"{plain(facts['billed_before'])} {rated['currency']}, is taken off."
        )
    return said


def _event_sentences(price: Record | None, currency: str) -> list[str]:
    """What a price says of single events."""
    if price is None:
        return []
    said = []
    if price["free_events"]:
        said.append(
            f"Of each cycle the first {price['free_events']} events cost nothing and have no place "
            "in the tiers."
        )
    least, most = price["event_amount_minimum"], price["event_amount_maximum"]
    bounds = [f"at least {money(least, currency)}"] if least is not None else []
    bounds += [f"at most {money(most, currency)}"] if most is not None else []
    if bounds:
        said.append(f"Each event costs {' and '.join(bounds)}.")
    return said


def _draw_sentence(draw: Record, facts: Record) -> str:
    quantity = Decimal(str(draw["quantity"]))
    verb = "are covered by" if quantity > 0 else "are given back to"
    return (
        f"{plain(abs(quantity))} {facts['unit']}s {verb} {draw['name']}, granted for the cycle "
        f"from {draw['granted_cycle_start']}."
    )


def _step_sentence(step: Record, rated: Record, facts: Record) -> str:
    if step["from"] is None:
        return f"Per event, beside their quantity: {plain(step['amount'])} {rated['currency']}."
    upper = "and above" if step["up_to"] is None else f"to {plain(step['up_to'])}"
    text = f"{step['cell']}: t" if step.get("cell") else "T"
    text += f"ier from {plain(step['from'])} {upper}: {plain(step['quantity'])} {facts['unit']}s"
    text += f" × {plain(step['unit_amount'])}"
    flat = Decimal(str(step["flat_amount"]))
    if flat:
        text += f" {'+' if flat > 0 else '-'} {plain(abs(flat))}"
    text += f" = {plain(step['amount'])} {rated['currency']}"
    if step.get("price_id", rated["price_id"]) != rated["price_id"]:
        text += f", by the partial price {step['price_id']}"
    return text + "."
