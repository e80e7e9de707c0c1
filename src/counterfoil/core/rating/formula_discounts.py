"""What formulas decide of discounts, line by line of the invoices they may take something off."""

from counterfoil.core.formulas.vocabulary import Kind
from counterfoil.core.rating.formula_prices import Formulas, formulas_by_text, union
from counterfoil.core.rating.formula_values import formula_inputs, trace_sql, traces_sql
from counterfoil.core.rating.relations import Relation, Statement

DISCOUNT_CONDITION, DISCOUNT_PERCENT = "discount_condition", "discount_percent"

UNMET_DISCOUNT = Relation(
    "unmet_discount",
    {"row_no": "BIGINT", "discount_id": "BIGINT"},
    "Lines for which the condition of a discount is not met.",
)
DISCOUNT_PERCENTAGE = Relation(
    "discount_percentage",
    {"row_no": "BIGINT", "discount_id": "BIGINT", "percent": "DECIMAL(9,6)"},
    "What the formula of a discount takes off a line, in percent.",
)
DISCOUNT_TRACE = Relation(
    "discount_trace",
    {"row_no": "BIGINT", "discount_id": "BIGINT", "formulas": "VARCHAR"},
    "The formulas of a discount with their values, as a JSON array (see formula_trace).",
)
DISCOUNT_FORMULA_RESULTS = (UNMET_DISCOUNT, DISCOUNT_PERCENTAGE, DISCOUNT_TRACE)
"""What formulas make of discounts; empty without formulas."""


def discount_formulas(formulas: Formulas) -> tuple[Statement, ...]:
    """Make ``DISCOUNT_FORMULA_RESULTS`` for the lines in ``formula_item``, whose item_id is the
    line's row_no. A condition without value is not met; a percentage without takes nothing, and
    none takes less than nothing or more than all.

    Needs what core.rating.formula_values tells.
    """
    columns = formulas.columns
    unmet, percent, traces = [], [], []
    for place in (DISCOUNT_CONDITION, DISCOUNT_PERCENT):
        for formula, discounts in formulas_by_text(formulas.at(place)):
            sql = formula.sql(columns.__getitem__)
            line = "v.item_id AS row_no, unnest([{}]) AS discount_id".format(
                ", ".join(f"{discount}::BIGINT" for discount in sorted(discounts))
            )
            if place == DISCOUNT_CONDITION:
                unmet.append(f"SELECT {line} FROM formula_input v WHERE NOT coalesce({sql}, false)")
            else:
                percent.append(
                    f"SELECT {line}, CAST(coalesce(least(greatest(round({sql}, 6), 0), 100), 0) "
                    "AS DECIMAL(9,6)) AS percent FROM formula_input v"
                )
            kind = Kind.BOOLEAN if place == DISCOUNT_CONDITION else Kind.NUMBER
            entry = trace_sql(place, formula, columns, result=(kind, sql))
            traces.append(
                f"SELECT {line}, '{place}' AS place, {entry} AS entry FROM formula_input v"
            )
    trace = (
        f"SELECT row_no, discount_id, {traces_sql('entry', 'place')} AS formulas "
        f"FROM ({union(traces, '')}) GROUP BY row_no, discount_id"
    )
    return (
        *formula_inputs(formulas.placed, formulas.meanings, formulas.usage),
        Statement(UNMET_DISCOUNT.name, union(unmet, _nothing(UNMET_DISCOUNT))),
        Statement(DISCOUNT_PERCENTAGE.name, union(percent, _nothing(DISCOUNT_PERCENTAGE))),
        Statement(DISCOUNT_TRACE.name, trace),
    )


def _nothing(shape: Relation) -> str:
    columns = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for name, kind in shape.columns.items())
    return f"SELECT {columns} WHERE false"
