# ruff: noqa: E501 - a table is read by rows
"""What a formula may not say, and how that is told: read the table.

Every row: the formula, the code of the problem, the words it is told in.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.formulas.speaking import PLAIN, VOCABULARY

from counterfoil.core.formulas.formula import parse_formula
from counterfoil.core.formulas.reading import DEEPEST, LONGEST
from counterfoil.core.formulas.vocabulary import Kind, Vocabulary, number
from counterfoil.core.problems import Problem

REFUSED = """
quantty * 2               ; unknown_name     ; there is no 'quantty' here; did you mean 'quantity'? (at character 1)
1 + account.contry        ; unknown_name     ; there is no 'account.contry' here; did you mean 'account.country'? (at character 5)
amount > 5                ; unknown_name     ; amount needs its arguments in brackets: amount('...')
usage('minute', 'root')   ; unknown_name     ; usage does not know 'minute'; did you mean 'minutes'?
usage('minutes', 'acount'); unknown_scope    ; usage does not know the scope 'acount'; did you mean 'account'?
usage('minutes')          ; bad_arguments    ; usage is written usage('name', 'scope'), with texts in single quotes
usage(minutes, 'root')    ; bad_arguments    ; usage is written usage('name', 'scope'), with texts in single quotes
attribute('a', 'b')       ; bad_arguments    ; attribute is written attribute('name'), with texts in single quotes
attribute('')             ; bad_arguments    ; attribute needs a name
rond(quantity, 2)         ; unknown_function ; there is no function 'rond' here; did you mean 'round'?
read_text('/etc/passwd')  ; unknown_function ; there is no function 'read_text' here
read_csv('/etc/passwd')   ; unknown_function ; there is no function 'read_csv' here
getenv('HOME')            ; unknown_function ; there is no function 'getenv' here
current_setting('x')      ; unknown_function ; there is no function 'current_setting' here
random()                  ; unknown_function ; there is no function
repeat('x', 1000000000)   ; unknown_function ; there is no function 'repeat' here
sqrt(quantity)            ; unknown_function ; there is no function 'sqrt' here
[quantity]                ; unknown_function ; there is no function
quantity * 'two'          ; wrong_type       ; needs a number, not a text
quantity + account.country; wrong_type       ; write cast(... as decimal(18,6)) where a text holds a number
cycle.end - cycle.start   ; wrong_type       ; days between dates are date_diff('day', from, to)
quantity = account.country; wrong_type       ; 'quantity = account.country' mixes a number with a text
quantity and true         ; wrong_type       ; needs a yes/no value, not a number
account.reseller > true   ; wrong_type       ; needs a number, a text or a date, not a yes/no value
case when quantity then 1 end               ; wrong_type; needs a yes/no value, not a number
case when quantity > 1 then 1 else 'x' end  ; wrong_type; mixes a number with a text
case quantity when 'x' then 1 end           ; wrong_type; mixes a number with a text
quantity in (1, 'x')      ; wrong_type       ; mixes a number with a text
quantity between 1 and 'x'; wrong_type       ; mixes a number with a text
coalesce(quantity, 'x')   ; wrong_type       ; mixes a number with a text
greatest('a', 'b')        ; wrong_type       ; needs a number or a date, not a text
upper(quantity)           ; wrong_type       ; needs a text, not a number
quantity like '1%'        ; wrong_type       ; needs a text, not a number
extract(year from 'x')    ; wrong_type       ; needs a date, not a text
quantity = null           ; wrong_type       ; is never true; write 'is null' or 'is not null'
quantity in (1, null)     ; wrong_type       ; write 'is null'
null                      ; wrong_type       ; the formula never has a value
account.country           ; wrong_type       ; must yield a number, but yields a text
quantity > 1              ; wrong_type       ; must yield a number, but yields a yes/no value
sum(quantity)             ; not_allowed      ; a formula sees one row at a time
count(*)                  ; not_allowed      ; a formula sees one row at a time
max(quantity)             ; not_allowed      ; a formula sees one row at a time
sum(quantity) over ()     ; not_allowed      ; a formula sees one row at a time
row_number() over ()      ; not_allowed      ; a formula sees one row at a time
(select 1)                ; not_allowed      ; a formula cannot contain a query
exists(select 1)          ; not_allowed      ; a formula cannot contain a query
quantity in (select 1)    ; not_allowed      ; a formula cannot contain a query
$1                        ; not_allowed      ; parameters are not part of formulas
$name                     ; not_allowed      ; parameters are not part of formulas
?                         ; not_allowed      ; parameters are not part of formulas
:name                     ; not_allowed      ; parameters are not part of formulas
x -> x + 1                ; not_allowed      ; is not part of formulas
quantity[1]               ; not_allowed      ; is not part of formulas
*                         ; not_allowed      ; cannot stand alone
quantity // 2             ; not_allowed      ; write floor(a / b)
quantity ^ 2              ; not_allowed      ; powers are not part of formulas
quantity ** 2             ; not_allowed      ; powers are not part of formulas
1e5                       ; not_allowed      ; the number '1e5' must be written with digits
1.5E-3 * quantity         ; not_allowed      ; must be written with digits
quantity::blob            ; not_allowed      ; cast converts to decimal(digits, decimals), text or date only
cast(quantity as double)  ; not_allowed      ; cast converts to decimal(digits, decimals), text or date only
cast(quantity as json)    ; not_allowed      ; cast converts to decimal(digits, decimals), text or date only
cast(quantity as int)     ; not_allowed      ; cast converts to decimal(digits, decimals), text or date only
cast(quantity as decimal) ; not_allowed      ; write decimal with its digits
cast(quantity as decimal(38,20)) ; not_allowed ; at most 23 before the point and 15 after it
cast(quantity as decimal(30,2))  ; not_allowed ; at most 23 before the point and 15 after it
try_cast(quantity as date); not_allowed      ; write cast(...)
cast(quantity as date)    ; wrong_type       ; needs a date or a text, not a number
date '2026-02-30'         ; bad_date         ; '2026-02-30' is no date like date '2026-01-31'
date '1.2.2026'           ; bad_date         ; is no date like date '2026-01-31'
timestamp '2026-01-01'    ; not_allowed      ; text or date only
interval 3 day            ; not_allowed      ; is not part of formulas
current_date              ; not_allowed      ; a formula cannot ask for today
extract(hour from cycle.start) ; bad_arguments ; extract takes a part of a date, not 'hour'
date_diff('week', cycle.start, cycle.end) ; bad_arguments ; date_diff is written date_diff('day', from, to)
date_diff(cycle.start, cycle.end)         ; bad_formula ; something is missing near ')'
round(quantity, -1)       ; bad_arguments    ; decimals is a number from 0 to 15
round(quantity, 16)       ; bad_arguments    ; decimals is a number from 0 to 15
round(quantity, quantity) ; bad_arguments    ; decimals is a number from 0 to 15
ceil(quantity, 1)         ; not_allowed      ; this form of
account.country ilike 'd%'; not_allowed      ; write lower(text) like 'pattern'
account.country like 'd%' escape '!' ; not_allowed ; 'escape' is not part of formulas
trim(both 'x' from account.country)  ; not_allowed ; this form of
quantity is distinct from 1          ; not_allowed ; is not part of formulas
quantity is 5             ; not_allowed      ; after 'is' stands null, not null, true or false
0.1234567890123456        ; number_too_long  ; at most 23 digits before the point and 15 after it
123456789012345678901234  ; number_too_long  ; at most 23 digits before the point and 15 after it
quantity -- all of it     ; not_allowed      ; comments are not part of a formula (at character 9)
quantity /* all */ * 2    ; not_allowed      ; comments are not part of a formula
"quantity"                ; not_allowed      ; a text in single quotes ('quantity')
quantity *                ; bad_formula      ; something is missing near '*' (at character 10)
quantity quantity         ; bad_formula      ; cannot be read near 'quantity' (at character 10)
quantity as x             ; bad_formula      ; cannot be read near 'as'
quantity, 1               ; bad_formula      ; cannot be read near ','
quantity)                 ; bad_formula      ; cannot be read near ')' (at character 9)
(quantity                 ; bad_formula      ; cannot be read: a bracket is not closed
floor(quantity            ; bad_formula      ; cannot be read: a bracket is not closed
floor()                   ; bad_formula      ; something is missing
select quantity           ; bad_formula      ; cannot be read
drop table usage          ; bad_formula      ; cannot be read
'quantity                 ; bad_formula      ; is a text in single quotes not closed?
"""


def problems_of(text: str, returns: Kind = Kind.NUMBER) -> list[Problem]:
    formula, problems = parse_formula(
        text, returns=returns, vocabulary=VOCABULARY, field="charges.1.price"
    )
    assert formula is None
    return problems


def rows() -> list[tuple[str, ...]]:
    lines = REFUSED.strip().splitlines()
    split = [line.split(";", 2) for line in lines]
    return [tuple(cell.strip() for cell in cells) for cells in split]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_it_is_refused_with_its_reason(row: tuple[str, str, str]) -> None:
    text, code, words = row
    problem = problems_of(text)[0]
    assert (problem.code, problem.field) == (code, "charges.1.price")
    assert words in problem.message


@pytest.mark.parametrize("text", ["quantity; quantity", "quantity;", "quantity; drop table x"])
def test_it_is_one_expression(text: str) -> None:
    assert [problem.message for problem in problems_of(text)] == [
        "must be one expression, without ';' (at character 9)"
    ]


@pytest.mark.parametrize("text", ["", "   ", "\n", "/* nothing */", "-- nothing"])
def test_nothing_is_no_formula(text: str) -> None:
    assert problems_of(text)[0].code in ("empty_formula", "not_allowed")


def test_every_problem_of_a_formula_is_told_at_once() -> None:
    problems = problems_of("quantty + usage('minute', 'root') * upper(5)")
    assert [problem.code for problem in problems] == ["unknown_name", "unknown_name", "wrong_type"]


def test_the_place_counts_lines_as_characters() -> None:
    assert problems_of("quantity\n  * quantty")[0].message.endswith("(at character 14)")


def test_the_allowed_names_are_listed() -> None:
    problem = problems_of("quantities")[0]
    assert problem.allowed == tuple(VOCABULARY.variables)
    assert problems_of("usage('minutes', 'x')")[0].allowed[0] == "subscription"


def test_a_place_without_lookups_has_none() -> None:
    for text in ("usage('minutes', 'root')", "attribute('region')"):
        formula, problems = parse_formula(text, returns=Kind.NUMBER, vocabulary=PLAIN)
        assert formula is None
        assert problems[0].code == "unknown_function"


def test_a_formula_has_limits() -> None:
    assert problems_of("1 + " * LONGEST + "1")[0].code == "formula_too_long"
    assert problems_of("(" * (DEEPEST + 1) + "1" + ")" * (DEEPEST + 1))[0].code == (
        "formula_too_deep"
    )
    assert problems_of("1" + " + 1" * DEEPEST)[0].code == "formula_too_deep"
    assert problems_of("- " * 1500 + "1")[0].code in ("formula_too_deep", "bad_formula")
    assert problems_of("not " * 900 + "true", Kind.BOOLEAN)[0].code in (
        "formula_too_deep",
        "bad_formula",
    )


def test_a_character_nobody_sees_is_refused() -> None:
    for character in ("\u00a0", "\u200b", "\x00", "\ud800"):
        problem = problems_of(f"quantity{character}* 2")[0]
        assert problem.message.startswith("has a character that cannot be printed at character 9")


def test_a_vocabulary_declares_what_can_be_written_and_held() -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        Vocabulary(variables={"unit price": number()})
    with pytest.raises(ValueError, match="wider"):
        number(38, 10)
    with pytest.raises(ValueError, match="wider"):
        number(20, 16)


@given(st.text(max_size=60))
def test_no_text_makes_it_fail(text: str) -> None:
    formula, problems = parse_formula(text, returns=Kind.NUMBER, vocabulary=VOCABULARY)
    assert (formula is None) == bool(problems)
