"""What is given back of a document: shares of its lines as they were billed.

Pure computation. Nothing is priced again; cumulative rounding and largest remainders make the
credits of a line add up to it to the cent, whatever parts it is credited in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from counterfoil.core.money.allocation import allocate
from counterfoil.core.money.rounding import divide_half_up
from counterfoil.core.money.written import without_zeros
from counterfoil.core.problems import Problem, Refused

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledLine:
    """A line of a final document and what has been given back of it by now.

    ``reversed`` has the sign of ``amount``; ``net`` is what is left of the line together with what
    debit notes and reissued invoices bill for it. ``quantity_credited`` and ``periods_credited``
    are those of earlier credits by quantity and by period.
    """

    position: int
    rated_charge_id: int
    kind: str
    amount: Decimal
    reversed: Decimal
    net: Decimal
    quantity: Decimal
    service_start: date
    service_end: date
    applies_to_id: int | None = None
    quantity_credited: Decimal = NOTHING
    periods_credited: tuple[tuple[date, date], ...] = ()

    @property
    def left(self) -> Decimal:
        """What may still be given back; of the sign of the amount."""
        left = self.amount - self.reversed
        return min(left, max(self.net, NOTHING)) if left > 0 else max(left, min(self.net, NOTHING))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditPart:
    """What is to be credited of the line at a position: an amount, a quantity, the days from
    ``start`` to before ``end``, or, when none of them is given, all that is left."""

    position: int
    amount: Decimal | None = None
    quantity: Decimal | None = None
    start: date | None = None
    end: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is given back of one line: ``amount`` has the line's sign. ``how`` is all, amount,
    quantity or period, and goes_along for what follows another line or the whole document."""

    line: BilledLine
    amount: Decimal
    how: str
    quantity: Decimal = NOTHING
    start: date
    end: date


@dataclass(slots=True)
class _Taking:
    """Shares found so far, by rated charge; the order is that of the lines."""

    lines: Sequence[BilledLine]
    exponent: int
    shares: dict[int, Share] = field(default_factory=dict)

    def give(self, line: BilledLine, amount: Decimal, how: str, **more: object) -> None:
        """Note a share, unless it is nothing."""
        if amount:
            values = {"start": line.service_start, "end": line.service_end, **more}
            self.shares[line.rated_charge_id] = Share(line=line, amount=amount, how=how, **values)  # type: ignore[arg-type]

    def reversed_after(self, line: BilledLine) -> Decimal:
        """What is given back of a line in all, these shares included."""
        share = self.shares.get(line.rated_charge_id)
        return line.reversed + (share.amount if share else NOTHING)

    def in_order(self) -> list[Share]:
        """The shares in the order of the document's lines."""
        return [
            self.shares[line.rated_charge_id]
            for line in self.lines
            if line.rated_charge_id in self.shares
        ]


def credit_everything(lines: Sequence[BilledLine], exponent: int) -> list[Share]:
    """All that is left of every line. Refuses (409) when nothing is left."""
    taking = _Taking(lines, exponent)
    for line in lines:
        if line.kind != "prepaid":
            taking.give(line, line.left, "all", quantity=_whole_quantity(line))
    return _finished(taking)


def credit_rest(lines: Sequence[BilledLine]) -> list[Share]:
    """All that is left of these lines, prepaid balances among them; none when nothing is."""
    return [
        Share(
            line=line,
            amount=line.left,
            how="all",
            quantity=_whole_quantity(line),
            start=line.service_start,
            end=line.service_end,
        )
        for line in lines
        if line.left
    ]


def credit_amount(lines: Sequence[BilledLine], amount: Decimal, exponent: int) -> list[Share]:
    """An amount of the whole document, shared over its lines by what is left of them.

    Refuses (409) more than is left of them together.
    """
    open_lines = [line for line in lines if line.kind != "prepaid" and line.left]
    left = sum((line.left for line in open_lines), NOTHING)
    _demand_left(amount, left, "amount")
    taking = _Taking(lines, exponent)
    shares = allocate(amount, [line.left for line in open_lines], exponent)
    for line, share in zip(open_lines, shares, strict=True):
        taking.give(line, share, "all" if share == line.left else "amount")
    return _finished(taking)


def credit_parts(
    lines: Sequence[BilledLine], parts: Sequence[CreditPart], exponent: int
) -> list[Share]:
    """Parts of chosen lines; minimums, maximums and discounts of a line go along in its share.

    Refuses (422) positions that cannot be credited, (409) more than is left.
    """
    by_position = {line.position: line for line in lines}
    _refuse_unknown(by_position, parts)
    taking = _Taking(lines, exponent)
    for part in parts:
        line = by_position[part.position]
        if part.amount is not None:
            _demand_left(part.amount, line.left, f"lines.{part.position}.amount")
            taking.give(line, part.amount, "amount")
        elif part.quantity is not None:
            _give_quantity(taking, line, part.quantity)
        elif part.start is not None and part.end is not None:
            _give_period(taking, line, part.start, part.end)
        else:
            taking.give(line, line.left, "all", quantity=_whole_quantity(line))
    _take_along(taking)
    return _finished(taking)


def _whole_quantity(line: BilledLine) -> Decimal:
    return NOTHING if line.reversed else line.quantity


def _refuse_unknown(by_position: Mapping[int, BilledLine], parts: Sequence[CreditPart]) -> None:
    problems = []
    for place, part in enumerate(parts):
        line = by_position.get(part.position)
        if line is None:
            message = f"the document has no line {part.position}"
            allowed = tuple(str(position) for position in by_position)
            problems.append(Problem("unknown_line", message, "lines.line", allowed))
        elif line.amount <= 0:
            message = f"line {part.position} is no charge: it goes along with what it belongs to"
            problems.append(Problem("not_creditable", message, "lines.line"))
        elif part.position in {one.position for one in parts[:place]}:
            message = f"line {part.position} is named twice"
            problems.append(Problem("named_twice", message, "lines.line"))
    if problems:
        raise Refused(problems)


def _give_quantity(taking: _Taking, line: BilledLine, quantity: Decimal) -> None:
    """A share by quantity, counted from what was credited by quantity before."""
    after = line.quantity_credited + quantity
    if quantity <= 0 or after > line.quantity:
        left = line.quantity - line.quantity_credited
        message = f"line {line.position} has {without_zeros(left)} of its quantity left"
        raise Refused(Problem("not_enough_left", message, "lines.quantity"), 409)
    share = _part_of(taking, line, after, line.quantity) - _part_of(
        taking, line, line.quantity_credited, line.quantity
    )
    taking.give(line, min(share, line.left), "quantity", quantity=quantity)


def _give_period(taking: _Taking, line: BilledLine, start: date, end: date) -> None:
    """A share by days of the line's service period."""
    if not line.service_start <= start < end <= line.service_end:
        message = (
            f"line {line.position} is for the days from {line.service_start} to before "
            f"{line.service_end}"
        )
        raise Refused(Problem("outside_period", message, "lines.from"))
    if any(start < to and first < end for first, to in line.periods_credited):
        message = f"days of line {line.position} in that period have been credited before"
        raise Refused(Problem("already_credited", message, "lines.from"), 409)
    days = Decimal((line.service_end - line.service_start).days)
    before = Decimal((start - line.service_start).days)
    after = Decimal((end - line.service_start).days)
    share = _part_of(taking, line, after, days) - _part_of(taking, line, before, days)
    taking.give(line, min(share, line.left), "period", start=start, end=end)


def _part_of(taking: _Taking, line: BilledLine, part: Decimal, whole: Decimal) -> Decimal:
    return share_of(line.amount, part, whole, taking.exponent)


def share_of(amount: Decimal, part: Decimal, whole: Decimal, exponent: int) -> Decimal:
    """``amount`` × ``part`` / ``whole``, rounded half-up once, by whole numbers."""
    (part_top, part_bottom), (top, bottom) = part.as_integer_ratio(), whole.as_integer_ratio()
    (money, money_bottom) = amount.as_integer_ratio()
    scale: int = 10**exponent
    units = divide_half_up(money * part_top * bottom * scale, money_bottom * part_bottom * top)
    return Decimal(units).scaleb(-exponent)


def _take_along(taking: _Taking) -> None:
    """Give back of every line that applies to a credited one the same share of it."""
    by_charge = {line.rated_charge_id: line for line in taking.lines}
    # What applies to a line that itself applies to another follows it, so twice is enough:
    # a discount applies to a charge or to its minimum.
    for line in [*taking.lines, *taking.lines]:
        whole = by_charge.get(line.applies_to_id or 0)
        if whole is None or whole.rated_charge_id not in taking.shares:
            continue
        if line.rated_charge_id in taking.shares or not whole.amount:
            continue
        after = share_of(line.amount, taking.reversed_after(whole), whole.amount, taking.exponent)
        taking.give(line, _between(after - line.reversed, line.left), "goes_along")


def _finished(taking: _Taking) -> list[Share]:
    """With what goes back to prepaid grants. Refuses (409) when nothing is left."""
    if not taking.shares:
        message = "all of it has been credited before"
        raise Refused(Problem("nothing_left", message), 409)
    _return_prepaid(taking)
    return taking.in_order()


def _return_prepaid(taking: _Taking) -> None:
    """What prepaid grants paid of what is credited goes back to them, never to the account."""
    charged = [line for line in taking.lines if line.kind != "prepaid"]
    whole = sum((line.amount for line in charged), NOTHING)
    given = sum((taking.reversed_after(line) for line in charged), NOTHING)
    now = sum((share.amount for share in taking.shares.values()), NOTHING)
    if whole <= 0 or now <= 0:
        return
    for line in taking.lines:
        if line.kind == "prepaid":
            after = share_of(line.amount, given, whole, taking.exponent)
            back = max(_between(after - line.reversed, line.left), -now)
            taking.give(line, back, "goes_along")
            now += back


def _between(amount: Decimal, bound: Decimal) -> Decimal:
    """The amount, between nothing and the bound of either sign."""
    return max(min(amount, NOTHING), bound) if bound < 0 else min(max(amount, NOTHING), bound)


def _demand_left(amount: Decimal, left: Decimal, where: str) -> None:
    if amount <= 0:
        raise Refused(Problem("too_small", "must be above 0", where))
    if amount > left:
        message = f"{without_zeros(left)} is left to be credited"
        raise Refused(Problem("not_enough_left", message, where), 409)
