"""Whatever is accepted runs: for any values, without a fault, without touching a file.

The engine of these tests may not open files; a formula that tried would fail here.
"""

from itertools import product

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.formulas.speaking import VOCABULARY, column_type

from counterfoil.core.formulas.formula import Formula, parse_formula
from counterfoil.core.formulas.vocabulary import Kind, Reference
from counterfoil.platform.engine.duck import Engine

WORDS = (
    *("quantity", "price", "balance", "contract.months", "account.country", "account.reseller"),
    *("cycle.start", "cycle.end", "usage('minutes', 'root')", "attribute('x')", "null", "true"),
    *("0", "1", "1.5", "0.000000000000001", "99999999999999999999999", "'a'", "''", "'2026-01-31'"),
    *("date '2026-01-31'", "+", "-", "*", "/", "%", "(", ")", ",", "=", "<>", "<", ">=", "||"),
    *("and", "or", "not", "in (", "between", "is null", "is not null", "like", "case", "when"),
    *("then", "else", "end", "coalesce(", "nullif(", "greatest(", "least(", "abs(", "round("),
    *("floor(", "ceil(", "lower(", "trim(", "length(", "concat(", "starts_with(", "cast("),
    *("as decimal(18,6))", "as text)", "as date)", "date_diff('month',", "extract(day from"),
    *("::blob", "select", "from", "read_text('/etc/passwd')", "/etc/passwd", "sum(", "over ()"),
    *("->", "lambda x:", "[1]", "[", "]", "{", "}", ";", "--", "/*", "*/", "$1", "?", "exists("),
    *("1e9", "0x1f", "1_000", "copy", "attach '/tmp/x'", "install httpfs", "pragma", "values", "."),
)
NUMBERS = ("0", "NULL", "5", "-0.5", "(10::HUGEINT ** {whole})::HUGEINT::VARCHAR")
TEXTS = ("''", "NULL", "'a%_\\'", "'2026-01-31'", "'infinity'", "'1e30'", "'NaN'")
DAYS = ("DATE '2026-01-31'", "NULL", "DATE 'infinity'", "DATE '-infinity'", "DATE '0001-01-01'")
VALUES = {Kind.NUMBER: NUMBERS, Kind.TEXT: TEXTS, Kind.DATE: DAYS, Kind.BOOLEAN: ("true", "NULL")}
RESULTS = {
    Kind.NUMBER: "DECIMAL(38,15)",
    Kind.TEXT: "VARCHAR",
    Kind.BOOLEAN: "BOOLEAN",
    Kind.DATE: "DATE",
}


def parsed(text: str) -> Formula | None:
    """The formula, whatever it yields."""
    for kind in RESULTS:
        formula, problems = parse_formula(text, returns=kind, vocabulary=VOCABULARY)
        assert (formula is None) == bool(problems)
        if formula is not None:
            return formula
    return None


def values_of(ref: Reference) -> list[str]:
    """Harmless and extreme values of a reference, as SQL of its declared type."""
    given = list(VALUES[ref.type.kind])
    if ref.type.kind is Kind.NUMBER:
        nines = "9" * ref.type.whole + "." + "9" * ref.type.scale
        given[-1] = nines.rstrip(".")
        given.append("-" + given[-1])
    return [f"CAST({value} AS {column_type(ref)})" for value in given]


def check(engine: Engine, text: str) -> None:
    formula = parsed(text)
    if formula is None:
        return
    columns = {ref: f"c{number}" for number, ref in enumerate(formula.references)}
    rows = list(product(*(values_of(ref) for ref in columns)))[:200]
    sql = formula.sql(columns.__getitem__)
    source = "(VALUES (0)) AS t(c0)"
    if columns:
        listed = ", ".join(f"({', '.join(row)})" for row in rows)
        source = f"(VALUES {listed}) AS t({', '.join(columns.values())})"
    types = engine.rows(f"SELECT DISTINCT typeof({sql}) FROM {source}")
    assert types == [(RESULTS[formula.returns],)]
    engine.rows(f"SELECT {sql} FROM {source}")
    told = formula.told(dict.fromkeys(formula.references))
    assert not any(str(ref) in told for ref in formula.references if ref.name == "usage")


@settings(max_examples=500)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=14))
def test_words_in_any_order(engine: Engine, words: list[str]) -> None:
    check(engine, " ".join(words))


numbers = st.sampled_from(
    (
        *("quantity", "price", "balance", "contract.months", "usage('minutes', 'root')", "0.3"),
        *("attribute('seconds')", "0", "7", "99999999999999999999999"),
        "cast(attribute('x') as decimal(9,2))",
    )
)
texts = st.sampled_from(["account.country", "attribute('x')", "'a%'", "''"])
dates = st.sampled_from(["cycle.start", "date '2026-01-31'", "cast(attribute('d') as date)"])


SHAPES = (
    *("({} + {})", "({} * {})", "({} / {})", "({} % {})", "({} < {})", "({} = {})", "-{} - {}"),
    *("greatest({}, {})", "coalesce({}, {})", "nullif({}, {})", "({} and {})", "({} || {})"),
    *("date_diff('month', {}, {})", "({} like {})", "starts_with({}, {})", "round({} * {}, 2)"),
    *("case when {} > 1 then {} end", "case {} when 1 then 2 else {} end", "({} in (1, {}))"),
    *("cast({} as text) || cast({} as text)", "length(lower({})) + extract(year from {})"),
    *("floor({}) - ceil({})", "({} is null or {} > 2)"),
    "cast(cast({} as text) as decimal(9,3)) / {}",
)


def grown(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Formulas of the right shape, with parts that may or may not be of the right kind."""
    shapes = st.sampled_from(SHAPES)
    return st.builds(lambda shape, a, b: shape.format(a, b), shapes, part, part)


@settings(max_examples=250)
@given(st.recursive(st.one_of(numbers, numbers, texts, dates), grown, max_leaves=6))
# Eighteen digits times three: DuckDB would multiply them in 64 bits.
@example("(quantity % (quantity * price))")
def test_formulas_of_the_right_shape(engine: Engine, text: str) -> None:
    check(engine, text)


def test_the_deepest_formula_is_rendered_in_reasonable_length(engine: Engine) -> None:
    text = "balance"
    for operation in ("/", "*") * 14:
        text = f"greatest({text} {operation} balance, price)"
    formula = parsed(text)
    assert formula is not None
    sql = formula.sql(lambda _: "b")
    assert len(sql) < 200_000
    assert engine.row(f"SELECT {sql} FROM (VALUES (CAST(1 AS DECIMAL(38,15)))) AS t(b)")[0] == 1
