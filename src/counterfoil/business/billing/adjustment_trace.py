"""What an adjustment says of itself: what was billed before, and what stands in its place."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from counterfoil.core.money.currencies import exponent
from counterfoil.core.money.rounding import round_half_up
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class AdjustmentTrace:
    """The ``adjustment`` of a rated charge, and the rated charges it ``corrected``, each with the
    invoice's number and the position of its line, what was given back of it since, and its steps
    as they were."""

    adjustment: Record
    corrected: list[Record]


_CORRECTED = """
SELECT o.id AS rated_charge_id, o.kind, o.service_start, o.service_end, o.price_id, o.layer,
       o.quantity, o.amount, i.number, l.position, o.steps,
       coalesce((SELECT sum(g.amount) FROM rated_charge g
                 WHERE g.reverses_id = o.id AND g.kind = 'reversal' AND g.id < t.id), 0)
           AS given_back
FROM rated_charge t
JOIN rated_charge o ON o.id = t.reverses_id
JOIN invoice i ON i.id = o.invoice_id
LEFT JOIN invoice_line l ON l.rated_charge_id = o.id
WHERE t.adjustment_id = :adjustment AND t.kind = 'adjustment' ORDER BY o.id
"""


def read_trace(uow: UnitOfWork, rated: Record) -> AdjustmentTrace | None:
    """The trace of the adjustment that a rated charge belongs to; None when to none."""
    if rated["adjustment_id"] is None:
        return None
    adjustment = uow.get("adjustment", int(rated["adjustment_id"]))
    return AdjustmentTrace(adjustment, uow.query(_CORRECTED, adjustment=adjustment["id"]))


def taken_back_sentences(
    trace: AdjustmentTrace, rated: Record, say_step: Callable[[Record], str]
) -> tuple[str, ...]:
    """Why a rated charge of kind adjustment takes back what it does."""
    corrected = next(
        one for one in trace.corrected if one["rated_charge_id"] == rated["reverses_id"]
    )
    money = _Money(str(rated["currency"]))
    said = [f"{_place(corrected)} was billed {money(corrected['amount'])}."]
    if corrected["given_back"]:
        said.append(f"{money(-corrected['given_back'])} of it was given back since.")
    said += [f"Then: {say_step(step)}" for step in corrected["steps"]]
    said.append(
        f"Its cycle was rated again, so all that is left of it is taken back: "
        f"{money(rated['amount'])}."
    )
    return (*said, _sum_sentence(trace))


def in_place_sentence(trace: AdjustmentTrace) -> str:
    """What a rated charge that an adjustment put in place of others stands for."""
    places = ", ".join(_place(one) for one in trace.corrected)
    return f"{_sum_sentence(trace)} " + (
        f"This stands in place of {places}." if places else "Nothing was billed for it before."
    )


def _sum_sentence(trace: AdjustmentTrace) -> str:
    made = trace.adjustment
    money = _Money(str(made["currency"]))
    difference = made["rated_amount"] - made["billed_amount"]
    return (
        f"The cycle from {made['cycle_start']} to before {made['cycle_end']} was billed "
        f"{money(made['billed_amount'])} net and costs {money(made['rated_amount'])} rated again: "
        f"a difference of {money(difference)}."
    )


def _place(corrected: Record) -> str:
    document = corrected["number"] or "a draft"
    line = "" if corrected["position"] is None else f", line {corrected['position']}"
    return f"rated charge {corrected['rated_charge_id']} ({document}{line})"


class _Money:
    """Writes amounts of one currency."""

    def __init__(self, currency: str) -> None:
        self.currency = currency

    def __call__(self, amount: Decimal) -> str:
        return f"{round_half_up(amount, exponent(self.currency)):,f} {self.currency}"
