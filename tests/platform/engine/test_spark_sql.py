"""What Spark is told, and that it comes to DuckDB's digits where the two differ by themselves."""

from decimal import Decimal

import pytest
from tests.conftest import SparkPlace

from counterfoil.core.money.exact_sql import decimal15, half_up, minor_units, raw
from counterfoil.platform.engine.duck import open_engine
from counterfoil.platform.engine.spark_lists import is_path_of_spark
from counterfoil.platform.engine.spark_sql import SETTINGS, in_spark_sql, spark_statements

COLUMNS = {
    "quantity": "DECIMAL(38,15)",
    "size": "BIGINT",
    "day": "DATE",
    "name": "VARCHAR",
    "time": "TIMESTAMP",
    "digits": "INTEGER",
    "sizes": "BIGINT[]",
}
SHAPE = {"usage": COLUMNS}


def told(select: str) -> str:
    window = "WINDOW w AS (PARTITION BY name)" if "OVER" in select else ""
    return " ".join(in_spark_sql(f"SELECT {select} AS x FROM usage {window}", SHAPE).split())


@pytest.mark.parametrize(
    ("duckdb", "spark"),
    [
        ("size // 7", "usage.size DIV 7"),
        ("CAST(quantity AS HUGEINT)", "CAST(usage.quantity AS DECIMAL(38, 0))"),
        (
            "CAST(quantity AS BIGINT)",
            "CAST(CAST(usage.quantity AS DECIMAL(38, 0)) AS BIGINT)",
        ),
        ("day - DATE '2026-01-01'", "DATEDIFF(usage.day, CAST('2026-01-01' AS DATE))"),
        ("quantity - size", "usage.quantity - usage.size"),
        (
            "list_sort(list(name) FILTER (size > 0))",
            "NULLIF(ARRAY_SORT(COLLECT_LIST(usage.name) FILTER(WHERE usage.size > 0)), ARRAY())",
        ),
        (
            "list_sort(list(struct_pack(size := size, name := name)))",
            (
                "NULLIF( TRANSFORM( ARRAY_SORT( TRANSFORM( COLLECT_LIST(STRUCT(usage.size AS "
                "size, usage.name AS name)), one -> STRUCT(one.size IS NULL AS last, "
                "one.name IS NULL AS later, one AS kept) ) ), two -> two.kept ), ARRAY() )"
            ),
        ),
        (
            "list(name ORDER BY size DESC) FILTER (size > 0)",
            (
                "NULLIF( REVERSE( TRANSFORM( ARRAY_SORT( COLLECT_LIST(STRUCT(usage.size AS key, "
                "usage.name AS kept)) FILTER(WHERE usage.size > 0) ), one -> one.kept ) ), "
                "ARRAY() )"
            ),
        ),
        ("len(sizes)", "SIZE(usage.sizes)"),
        ("length(name)", "LENGTH(usage.name)"),
        ("sizes[1]", "usage.sizes[0]"),
        ("sizes[digits]", "TRY_ELEMENT_AT(usage.sizes, CAST(usage.digits AS INT))"),
        (
            "list_sort(list(size))[(count(*) * any_value(digits) + 9) // 10]",
            (
                "TRY_ELEMENT_AT( NULLIF(ARRAY_SORT(COLLECT_LIST(usage.size)), ARRAY()), "
                "CAST(( COUNT(*) * ANY_VALUE(usage.digits) IGNORE NULLS + 9 ) DIV 10 AS INT) )"
            ),
        ),
        ("list_position(sizes, size)", "NULLIF(ARRAY_POSITION(usage.sizes, usage.size), 0)"),
        (
            "list_select(sizes, sizes)",
            ("TRANSFORM(usage.sizes, place -> TRY_ELEMENT_AT(usage.sizes, CAST(place AS INT)))"),
        ),
        ("CAST(unnest(sizes) AS INTEGER)", "EXPLODE(CAST(usage.sizes AS ARRAY<INT>))"),
        ("isodow(time)", "( WEEKDAY(usage.time) + 1 )"),
        ("greatest(size)", "usage.size"),
        ("list(name)", "NULLIF(COLLECT_LIST(usage.name), ARRAY())"),
        ("row_number() OVER ()", "ROW_NUMBER() OVER (ORDER BY 1)"),
        ("sum(size) OVER w - size", "SUM(usage.size) OVER (PARTITION BY usage.name) - usage.size"),
        (
            "max(size) OVER (w ROWS UNBOUNDED PRECEDING)",
            (
                "MAX(usage.size) OVER (PARTITION BY usage.name "
                "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
            ),
        ),
        ("epoch_us(time)", "CAST(UNIX_MICROS(CAST(usage.time AS TIMESTAMP)) AS BIGINT)"),
        (
            "CAST(timezone(name, time AT TIME ZONE 'UTC') AS DATE)",
            "CAST(FROM_UTC_TIMESTAMP(CAST(usage.time AS TIMESTAMP), usage.name) AS DATE)",
        ),
        ("any_value(name)", "ANY_VALUE(usage.name) IGNORE NULLS"),
    ],
)
def test_what_spark_is_told(duckdb: str, spark: str) -> None:
    assert told(duckdb) == f"SELECT {spark} AS x FROM usage AS usage"


def test_two_lists_side_by_side_are_one_of_pairs() -> None:
    sql = "SELECT DISTINCT size, unnest(sizes) AS a, unnest(range(len(sizes))) AS b FROM usage"
    words = " ".join(in_spark_sql(sql, SHAPE).split())
    assert words.startswith(
        "SELECT DISTINCT unnested.size AS size, unnested.pair.one AS a, unnested.pair.two AS b "
        "FROM ( SELECT usage.size AS size, EXPLODE( ZIP_WITH( usage.sizes, IF("
    )
    assert words.endswith(
        "(one, two) -> STRUCT(one AS one, two AS two) ) ) AS pair FROM usage AS usage ) AS unnested"
    )


def test_what_is_looked_for_in_json() -> None:
    paths = """['$."data"."a b"', '/data/b~1c/0']::VARCHAR[]"""
    assert told(f"json_extract_string(name, {paths})") == (
        "SELECT ARRAY( GET_JSON_OBJECT(usage.name, '$[\\'data\\'][\\'a b\\']'), "
        "COALESCE( GET_JSON_OBJECT(usage.name, '$[\\'data\\'][\\'b/c\\'][\\'0\\']'), "
        "GET_JSON_OBJECT(usage.name, '$[\\'data\\'][\\'b/c\\'][0]') ) ) AS x "
        "FROM usage AS usage"
    )


@pytest.mark.parametrize("path", ["""$."data"."it's\"""", "/data/*", "/data/ a", "/data/"])
def test_paths_that_spark_has_no_words_for(path: str) -> None:
    assert not is_path_of_spark(path)
    assert is_path_of_spark('$."data"."access type"')
    assert is_path_of_spark("/data/a~1b/0")


def test_columns_that_meet_by_name_meet_by_their_place() -> None:
    union = "SELECT size, name FROM usage UNION ALL BY NAME SELECT digits, size FROM usage"
    left, right = " ".join(in_spark_sql(union, SHAPE).split()).split(" UNION ALL ")
    assert left.startswith("SELECT size, name, NULL AS digits FROM ( SELECT usage.size")
    assert right.startswith("SELECT size, NULL AS name, digits FROM ( SELECT usage.digits")


def test_a_statement_knows_the_columns_of_those_before_it() -> None:
    made = dict(
        spark_statements(
            [
                ("counted", "SELECT *, CAST(size AS HUGEINT) AS huge FROM usage"),
                ("shared", "SELECT * EXCLUDE (huge), huge // size AS share FROM counted"),
            ],
            SHAPE,
        )
    )
    assert "counted.huge % CAST(counted.size AS DECIMAL(20, 0))" in " ".join(made["shared"].split())
    assert "counted.huge AS huge" not in made["shared"]


TIES = [
    *(
        "0",
        "0.005",
        "0.015",
        "-0.005",
        "1.004999999999999",
        "-1.005",
        "33.335",
        "0.000000000000001",
    ),
    *("99999999999.999999999999999", "-7.5", "2.5", "9999999999999.995"),
]
EXPRESSIONS = {
    "cents": minor_units(
        half_up(raw("quantity", 15), "(size * 10000000000000::HUGEINT)"), "digits"
    ),
    "seconds": half_up(raw("quantity", 15), "(size * 2678400 * 10000000000000000::HUGEINT)"),
    "units": decimal15(half_up(raw("quantity", 15), "size::HUGEINT")),
    "rounded": "round(quantity, 2)",
    "rest": "quantity % 0.7",
    "cut": "trunc(quantity)",
    "nearest": "CAST(quantity AS BIGINT)",
    "weeks": "CAST(CAST(quantity AS BIGINT) // 7 AS BIGINT)",
    "exact": "quantity * 0.0123456789::DECIMAL(18,10)",
}


@pytest.mark.slow
@pytest.mark.xdist_group("Spark in one Java machine")
def test_spark_comes_to_the_same_digits(spark_place: SparkPlace) -> None:
    cases = ", ".join(
        f"({number}, {tie}::DECIMAL(38,15), {size}::BIGINT, DATE '2026-01-31', '{size}', 2)"
        for number, (tie, size) in enumerate((t, s) for t in TIES for s in (1, 3, 60, 7))
    )
    usage = (
        "SELECT * FROM (VALUES "
        + cases
        + ") v(number, quantity, size, day, name, digits) ORDER BY number"
    )
    columns = ", ".join(f"{sql} AS {name}" for name, sql in EXPRESSIONS.items())
    select = f"SELECT number, {columns} FROM usage"
    with open_engine(threads=1) as engine:
        engine.run(f"CREATE TABLE usage AS {usage}")
        expected = [tuple(map(plain, row)) for row in engine.rows(f"{select} ORDER BY number")]
    session = spark_place.session()
    for name, value in SETTINGS.items():
        session.conf.set(name, value)
    session.sql(in_spark_sql(usage, {})).createOrReplaceTempView("usage")
    rows = session.sql(in_spark_sql(select, {"usage": {"number": "INTEGER", **COLUMNS}})).collect()
    assert sorted(tuple(map(plain, row)) for row in rows) == expected


DOCUMENTS = (
    '{"data": {"access": "toll", "a b": 1, "list": [5, {"x": "y"}]}, "access": "outside"}',
    '{"access": "it\'\'s", "data": {"access": null, "a b": 1.50, "list": {"1": true}}}',
    '{"data": {"access": {"deep": [1, 2]}, "a b": "x\\"y"}}',
    "{}",
)
PATHS = ('$."data"."access"', '$."access"', '$."data"."a b"', "/data/list/1", "/data/list/1/x")
LISTS = {
    "found": f"json_extract_string(document, {list(PATHS)}::VARCHAR[])",
    "weekday": "isodow(time) || '-' || hour(time) * 60",
    "chosen": "list_select(places, places)",
    "last": "places[number]",
    "places_of": "list_position(places, number) + len(places)",
}
OF_EACH = "SELECT number, unnest(places) AS one, unnest(range(len(places))) AS two FROM usage"
LISTED = "SELECT list(number ORDER BY number DESC) FILTER (number > 1) AS listed FROM usage"


@pytest.mark.slow
@pytest.mark.xdist_group("spark")
def test_spark_comes_to_the_same_lists(spark_place: SparkPlace) -> None:
    cases = ", ".join(
        f"({number}, '{document}', TIMESTAMP '2026-11-{22 + number} 05:30:00', [3, 1, 2])"
        for number, document in enumerate((*DOCUMENTS, *DOCUMENTS[:3]), start=1)
    )
    usage = f"SELECT * FROM (VALUES {cases}) v(number, document, time, places)"
    selects = [
        f"SELECT number, {', '.join(f'{sql} AS {name}' for name, sql in LISTS.items())} FROM usage",
        OF_EACH,
        LISTED,
    ]
    with open_engine(threads=1) as engine:
        engine.run(f"CREATE TABLE usage AS {usage}")
        described = {str(row[0]): str(row[1]) for row in engine.rows("DESCRIBE usage")}
        expected = [sorted(engine.rows(select)) for select in selects]
        rows = engine.arrow("SELECT * FROM usage").to_pylist()
    session = spark_place.session()
    for name, value in SETTINGS.items():
        session.conf.set(name, value)
    kinds = "number INT, document STRING, time TIMESTAMP_NTZ, places ARRAY<INT>"
    session.createDataFrame(rows, kinds).createOrReplaceTempView("usage")
    got = [session.sql(in_spark_sql(select, {"usage": described})) for select in selects]
    assert [sorted(tuple(row) for row in each.collect()) for each in got] == expected


def plain(value: object) -> object:
    """Whole numbers may be BIGINT here and DECIMAL there; their value counts."""
    return Decimal(value) if isinstance(value, int) else value
