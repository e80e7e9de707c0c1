"""Exact decimal arithmetic as SQL text.

DuckDB divides decimals as DOUBLE, so nothing here divides a decimal: a decimal becomes a HUGEINT
count of its smallest unit, is divided as an integer with half-up rounding, and becomes a decimal
again. ``%`` and ``round`` on undivided decimals are exact (docs/decisions/0003).
"""

_E15 = 10**15


def raw(expression: str, scale: int) -> str:
    """HUGEINT of ``expression`` (decimal with at most ``scale`` <= 16 decimals) times 10**scale."""
    unit = 10**scale
    return (
        f"(CAST(trunc({expression}) AS HUGEINT) * {unit}::HUGEINT"
        f" + CAST(CAST({expression} - trunc({expression}) AS DECIMAL(38,{scale}))"
        f" * CAST({unit} AS DECIMAL({scale + 1},0)) AS HUGEINT))"
    )


def decimal15(expression: str) -> str:
    """DECIMAL(38,15) of a HUGEINT that counts 10**-15."""
    return (
        f"CAST(CAST({expression} // {_E15}::HUGEINT AS DECIMAL(38,15))"
        f" + CAST({expression} % {_E15}::HUGEINT AS DECIMAL(16,0))"
        f" * CAST(0.000000000000001 AS DECIMAL(16,15)) AS DECIMAL(38,15))"
    )


def half_up(numerator: str, denominator: str) -> str:
    """HUGEINT quotient of two integer expressions, rounded half away from zero."""
    quotient = f"(2 * abs({numerator}) + {denominator}) // (2 * {denominator})"
    return f"(CASE WHEN {numerator} < 0 THEN -1 ELSE 1 END * ({quotient}))"


def rounded(expression: str, digits: str) -> str:
    """``expression``, an undivided decimal, rounded half-up to the column ``digits`` (0 to 4)."""
    cases = " ".join(
        f"WHEN {n} THEN CAST(round({expression}, {n}) AS DECIMAL(20,4))" for n in (0, 2, 3, 4)
    )
    return f"(CASE {digits} {cases} END)"


def power_of_ten(digits: str, total: int) -> str:
    """HUGEINT 10**(total - digits) for the column ``digits`` (0 to 4)."""
    cases = " ".join(f"WHEN {n} THEN {10 ** (total - n)}::HUGEINT" for n in (0, 2, 3, 4))
    return f"(CASE {digits} {cases} END)"


def minor_units(count: str, digits: str) -> str:
    """DECIMAL(20,4) of a HUGEINT ``count`` of minor units, for the column ``digits`` (0 to 4)."""
    size = (
        f"(CASE {digits} WHEN 0 THEN 1::DECIMAL(5,4) WHEN 2 THEN 0.01::DECIMAL(5,4) "
        "WHEN 3 THEN 0.001::DECIMAL(5,4) WHEN 4 THEN 0.0001::DECIMAL(5,4) END)"
    )
    return f"CAST(CAST({count} AS DECIMAL(20,0)) * {size} AS DECIMAL(20,4))"


FLOORED = """(part - (part % whole + whole) % whole) // whole AS floor_minor,
           (part % whole + whole) % whole AS lost"""
"""Columns of the HUGEINTs ``part`` over ``whole``, rounded down, and what that loses."""


def largest_remainders(order: str) -> str:
    """A share of ``minor`` in minor units, of rows with the columns of ``FLOORED``: those of the
    window ``unit`` add up to it. Of equal remainders the first by ``order`` is rounded up."""
    return (
        f"floor_minor + CASE WHEN row_number() OVER (unit ORDER BY lost DESC, {order}) "
        "<= minor - sum(floor_minor) OVER unit THEN 1 ELSE 0 END"
    )
