# ruff: noqa: E501 - a table is read by rows
"""Formulas as an analyst writes them, and what they yield: read the table.

A value that is missing is written ``-``; the result ``-`` means: no value.
"""

import re
from datetime import date
from decimal import Decimal

import pytest
from tests.core.formulas.speaking import computed, formula

from counterfoil.core.formulas.vocabulary import Kind, Value
from counterfoil.platform.engine.duck import Engine

NUMBERS = """
quantity * 0.9                                         | quantity 100                | 90
quantity / 3                                           | quantity 1                  | 0.333333333333333
quantity / 3                                           | quantity 2                  | 0.666666666666667
quantity / 3                                           | quantity -2                 | -0.666666666666667
1 / 3 * 3                                              |                             | 0.999999999999999
quantity * price                                       | quantity 0.0000000005; price 0.000001 | 0.000000000000001
quantity * price                                       | quantity -0.0000000005; price 0.000001 | -0.000000000000001
quantity * price                                       | quantity 0.0000000004; price 0.000001 | 0
greatest(quantity - 100, 0) * 1.5 / 3                  | quantity 130                | 15
greatest(quantity - 100, 0) * 1.5 / 3                  | quantity 99                 | 0
case when usage('hd_minutes', 'account') > 1000 then 0.04 else 0.05 end | usage('hd_minutes', 'account') 1000.0000000001 | 0.04
case when usage('hd_minutes', 'account') > 1000 then 0.04 else 0.05 end | usage('hd_minutes', 'account') 1000 | 0.05
case when usage('hd_minutes', 'account') > 1000 then 0.04 else 0.05 end | usage('hd_minutes', 'account') - | 0.05
case contract.months when 12 then 0.1 when 24 then 0.2 end | contract.months 24       | 0.2
case contract.months when 12 then 0.1 when 24 then 0.2 end | contract.months 36       | -
if(account.reseller, 0.8, 1) * price                   | account.reseller true; price 2.5 | 2
amount('managed_room', 'account') * 0.1                | amount('managed_room', 'account') 129.995 | 12.9995
quantity('seats', 'root') * quantity                   | quantity('seats', 'root') 3; quantity 2.5 | 7.5
attribute('seconds') / 60                              | attribute('seconds') 90     | 1.5
cast(attribute('seats') as decimal(10,0)) * 2          | attribute('seats') '12'     | 24
cast(attribute('seats') as decimal(10,0)) * 2          | attribute('seats') 'many'   | -
quantity / contract.months                             | quantity 5; contract.months 0 | -
coalesce(quantity / contract.months, 0)                | quantity 5; contract.months 0 | 0
quantity % 7                                           | quantity 30.5               | 2.5
quantity % 7                                           | quantity -30.5              | -2.5
quantity % contract.months                             | quantity 1; contract.months 0 | -
round(price, 2)                                        | price 1.005                 | 1.01
round(price, 2)                                        | price -1.005                | -1.01
round(price, 2)                                        | price 1.004999999999999     | 1
round(quantity)                                        | quantity 2.5                | 3
floor(quantity)                                        | quantity -2.5               | -3
ceil(quantity / 100) * 100                             | quantity 201                | 300
abs(quantity) - -quantity                              | quantity -4                 | 0
greatest(quantity, price, 1)                           | quantity 2; price 3         | 3
greatest(quantity, price)                              | quantity 2; price -         | -
least(quantity, coalesce(price, quantity))             | quantity 2; price -         | 2
nullif(quantity, 0)                                    | quantity 0                  | -
quantity + 1                                           | quantity -                  | -
balance * balance                                      | balance 123456789.123456789012345 | 15241578780673678.518670768873649
balance * balance / balance                            | balance 123456789.123456789012345 | 123456789.123456789012345
balance * balance                                      | balance 400000000000        | -
balance + balance                                      | balance 99999999999999999999999 | -
balance / 0.000000000000001                            | balance 99999999            | 99999999000000000000000
date_diff('day', cycle.start, cycle.end)               | cycle.start 2026-02-01; cycle.end 2026-03-01 | 28
date_diff('month', contract.start, cycle.start)        | contract.start 2026-01-15; cycle.start 2026-03-14 | 1
date_diff('month', contract.start, cycle.start)        | contract.start 2026-01-15; cycle.start 2026-03-15 | 2
date_diff('month', contract.start, cycle.start)        | contract.start 2026-01-31; cycle.start 2026-02-28 | 1
date_diff('year', contract.start, cycle.start)         | contract.start 2024-02-29; cycle.start 2025-02-28 | 1
date_diff('day', cycle.end, cycle.start)               | cycle.start 2026-02-01; cycle.end 2026-03-01 | -28
extract(year from cycle.start) * 100 + extract(month from cycle.start) | cycle.start 2026-02-01 | 202602
extract(dow from cycle.start)                          | cycle.start 2026-11-29      | 0
extract(isodow from cycle.start)                       | cycle.start 2026-11-29      | 7
length(account.country)                                | account.country 'DE'        | 2
"""

CONDITIONS = """
contract.months >= 24                                  | contract.months 24          | yes
attribute('region') in ('eu', 'us') and account.country = 'DE' | attribute('region') 'us'; account.country 'DE' | yes
attribute('region') in ('eu', 'us') and account.country = 'DE' | attribute('region') 'us'; account.country 'FR' | no
attribute('region') in ('eu', 'us')                    | attribute('region') -       | -
attribute('region') not in ('eu', 'us')                | attribute('region') 'asia'  | yes
starts_with(attribute('number'), '49')                 | attribute('number') '4930123' | yes
attribute('number') like '49%'                         | attribute('number') '4930123' | yes
attribute('number') not like '49%'                     | attribute('number') '4930123' | no
quantity between 10 and 20                             | quantity 20                 | yes
quantity between 10 and 20                             | quantity 20.0000000001      | no
quantity = price                                       | quantity 1.5; price 1.500000000000000 | yes
quantity <> price                                      | quantity 1.5; price 1.500000000000001 | yes
price is null or price < 1                             | price -                     | yes
price is not null and price < 1                        | price -                     | no
not account.reseller                                   | account.reseller false      | yes
account.reseller is true                               | account.reseller -          | no
account.reseller is not false                          | account.reseller true       | yes
cycle.start >= date '2026-01-01' and cycle.start < date '2027-01-01' | cycle.start 2026-12-31 | yes
cycle.start in (date '2026-01-01', cast('2026-07-01' as date)) | cycle.start 2026-07-01 | yes
contract.months > 0 and quantity / contract.months > 2 | contract.months 0; quantity 9 | no
contract.months = 0 or quantity / contract.months > 2  | contract.months 0; quantity 9 | yes
quantity > 5 = account.reseller                        | quantity 6; account.reseller true | yes
"""

TEXTS = """
upper(account.country) || '-' || cast(contract.months as text) | account.country 'de'; contract.months 12 | 'DE-12'
concat('over ', cast(quantity as text), ' min')        | quantity 0.50               | 'over 0.5 min'
concat('x', account.country)                           | account.country -           | -
lower(trim(account.country))                           | account.country ' ÄÖ '      | 'äö'
cast(cycle.start as text)                              | cycle.start 2026-02-01      | '2026-02-01'
case when quantity >= 100 then 'many' else 'few' end   | quantity 100                | 'many'
'it''s'                                                |                             | 'it's'
"""

DATES = """
greatest(contract.start, cycle.start)                  | contract.start 2026-02-15; cycle.start 2026-02-01 | 2026-02-15
coalesce(contract.start, cycle.start)                  | contract.start -; cycle.start 2026-02-01 | 2026-02-01
cast(attribute('day') as date)                         | attribute('day') '2026-02-01' | 2026-02-01
cast(attribute('day') as date)                         | attribute('day') 'soon'     | -
"""


GIVEN = re.compile(r"([\w.]+(?:\([^)]*\))?) (.*)")


def rows(table: str) -> list[tuple[str, ...]]:
    lines = table.strip().splitlines()
    return [tuple(cell.strip() for cell in line.rsplit(" | ", 2)) for line in lines]


def value(text: str) -> Value:
    words: dict[str, Value] = {"-": None, "yes": True, "true": True, "no": False, "false": False}
    if text in words:
        return words[text]
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    if text.count("-") == 2:
        return date.fromisoformat(text)
    return Decimal(text)


def values(text: str) -> dict[str, Value]:
    given = [GIVEN.fullmatch(part.strip()) for part in text.split(";") if part.strip()]
    return {match[1]: value(match[2]) for match in given if match}


def check(engine: Engine, row: tuple[str, ...], kind: Kind) -> None:
    text, given, expected = row
    assert computed(engine, formula(text, kind), values(given)) == value(expected)


@pytest.mark.parametrize("row", rows(NUMBERS), ids=" | ".join)
def test_numbers(engine: Engine, row: tuple[str, ...]) -> None:
    check(engine, row, Kind.NUMBER)


@pytest.mark.parametrize("row", rows(CONDITIONS), ids=" | ".join)
def test_conditions(engine: Engine, row: tuple[str, ...]) -> None:
    check(engine, row, Kind.BOOLEAN)


@pytest.mark.parametrize("row", rows(TEXTS), ids=" | ".join)
def test_texts(engine: Engine, row: tuple[str, ...]) -> None:
    check(engine, row, Kind.TEXT)


@pytest.mark.parametrize("row", rows(DATES), ids=" | ".join)
def test_dates(engine: Engine, row: tuple[str, ...]) -> None:
    check(engine, row, Kind.DATE)


def test_a_number_has_fifteen_decimals_whatever_went_into_it(engine: Engine) -> None:
    for text in ("1", "1 / 3", "round(1.5, 1)", "length('abc')", "0.04"):
        row = engine.row(f"SELECT typeof({formula(text).sql(str)})")
        assert row == ("DECIMAL(38,15)",)


def test_a_formula_yields_one_value_per_row(engine: Engine) -> None:
    sql = formula("case when quantity > 1 then quantity / 3 else 1 / quantity end").sql(str)
    listed = engine.rows(f"SELECT {sql} FROM (VALUES (0), (1), (2), (NULL)) AS t(quantity)")
    assert [row[0] for row in listed] == [None, Decimal(1), Decimal("0.666666666666667"), None]
