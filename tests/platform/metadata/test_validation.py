"""Values against their declaration: what is taken, what is refused, and in which words."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.platform.metadata import Entity, Field, FieldType, check_values

PRICE = Entity(
    name="price",
    plural="prices",
    fields=(
        Field(name="external_id", required=True, immutable=True, max_length=12),
        Field(name="amount", type=FieldType.DECIMAL, precision=8, scale=2, minimum=0),
        Field(name="cycle_day", type=FieldType.INTEGER, minimum=1, maximum=31, default=1),
        Field(name="model", type=FieldType.CHOICE, choices=("flat", "per_unit")),
        Field(name="valid_from", type=FieldType.DATE),
        Field(name="approved_at", type=FieldType.INSTANT),
        Field(name="taxable", type=FieldType.BOOLEAN, required=True, default=False),
        Field(name="charge_id", type=FieldType.REFERENCE, target="charge"),
        Field(name="notes", type=FieldType.DOCUMENT),
        Field(name="rank", type=FieldType.INTEGER, computed=True),
    ),
)


def codes(values: dict[str, object], *, partial: bool = False) -> dict[str, str]:
    _, problems = check_values(PRICE, values, partial=partial)
    return {problem.field: problem.code for problem in problems}


def test_a_new_price_gets_its_defaults_and_every_declared_field():
    clean, problems = check_values(PRICE, {"external_id": "P-1", "amount": "12.5"})

    assert problems == []
    assert clean == {
        "external_id": "P-1",
        "amount": Decimal("12.50"),
        "cycle_day": 1,
        "model": None,
        "valid_from": None,
        "approved_at": None,
        "taxable": False,
        "charge_id": None,
        "notes": None,
        "rank": None,
    }


def test_changes_hold_only_what_was_given():
    clean, problems = check_values(PRICE, {"amount": 3}, partial=True)

    assert (clean, problems) == ({"amount": Decimal("3.00")}, [])


def test_all_problems_are_told_at_once_with_their_fields():
    assert codes(
        {
            "amount": 0.22,
            "cycle_day": 32,
            "model": "volume",
            "valid_from": "2026-02-30",
            "approved_at": "2026-01-01T00:00:00",
            "taxable": "yes",
            "charge_id": "7",
            "notes": "text",
            "rank": 1,
            "id": 4,
            "colour": "red",
        }
    ) == {
        "external_id": "required",
        "amount": "wrong_type",
        "cycle_day": "too_large",
        "model": "unknown_choice",
        "valid_from": "wrong_type",
        "approved_at": "naive_instant",
        "taxable": "wrong_type",
        "charge_id": "wrong_type",
        "notes": "wrong_type",
        "rank": "computed_field",
        "id": "computed_field",
        "colour": "unknown_field",
    }


def test_unknown_fields_and_choices_name_what_is_allowed():
    _, problems = check_values(PRICE, {"external_id": "P", "model": "tiered", "prize": 1})

    allowed = {problem.field: problem.allowed for problem in problems}
    assert allowed["model"] == ("flat", "per_unit")
    assert "amount" in allowed["prize"]
    assert "rank" not in allowed["prize"]


@pytest.mark.parametrize("name", ["external_id", "taxable"])
@pytest.mark.parametrize("partial", [False, True])
def test_required_fields_cannot_be_emptied(name: str, partial: bool):
    found = codes({"external_id": "P-1", name: None}, partial=partial)

    assert found[name] == ("immutable_field" if partial and name == "external_id" else "required")


def test_an_empty_text_is_not_a_value_for_a_required_field():
    assert codes({"external_id": ""}) == {"external_id": "required"}
    assert codes({"external_id": " \t"}) == {"external_id": "required"}


def test_immutable_fields_are_set_on_create_only():
    assert codes({"external_id": "P-2"}, partial=True) == {"external_id": "immutable_field"}


@pytest.mark.parametrize(
    ("given_amount", "kept"),
    [
        ("0.2200", Decimal("0.22")),
        (Decimal("1E+3"), Decimal("1000.00")),
        (Decimal("-0"), Decimal("0.00")),
        ("0E-15", Decimal("0.00")),
        ("+7.", Decimal("7.00")),
        ("999999.99", Decimal("999999.99")),
    ],
)
def test_decimals_are_kept_exactly(given_amount: object, kept: Decimal):
    clean, problems = check_values(PRICE, {"external_id": "P", "amount": given_amount})

    assert problems == []
    assert str(clean["amount"]) == str(kept)


@pytest.mark.parametrize(
    ("amount", "code"),
    [
        ("0.221", "scale_exceeded"),
        (Decimal("1E-400"), "scale_exceeded"),
        ("1000000", "too_large"),
        (Decimal("1E+999999"), "too_large"),
        (Decimal("NaN"), "wrong_type"),
        (Decimal("Infinity"), "wrong_type"),
        ("1_000", "wrong_type"),
        ("١", "wrong_type"),
        ("1e9999", "wrong_type"),
        (True, "wrong_type"),
        (1.5, "wrong_type"),
        (-1, "too_small"),
    ],
)
def test_decimals_that_do_not_fit_are_refused_and_never_rounded(amount: object, code: str):
    assert codes({"external_id": "P", "amount": amount}) == {"amount": code}


def test_instants_become_utc():
    clean, _ = check_values(PRICE, {"external_id": "P", "approved_at": "2026-01-01T01:30:00+02:00"})

    assert clean["approved_at"] == datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    assert clean["approved_at"].tzinfo is UTC


@pytest.mark.parametrize("text", ["20260101", "2026-W01-1", "2026-1-1", "tomorrow"])
def test_dates_have_one_notation(text: str):
    assert codes({"external_id": "P", "valid_from": text}) == {"valid_from": "wrong_type"}


def test_an_instant_is_not_a_date():
    instant = datetime(2026, 1, 1, tzinfo=UTC)

    assert codes({"external_id": "P", "valid_from": instant}) == {"valid_from": "wrong_type"}
    assert codes({"external_id": "P", "valid_from": date(2026, 1, 1)}) == {}


@pytest.mark.parametrize("text", ["a\x00b", "\ud800"])
def test_characters_that_no_database_keeps_are_refused_in_texts_and_documents(text: str):
    assert codes({"external_id": text}) == {"external_id": "forbidden_character"}
    assert codes({"external_id": "P", "notes": {"a": [text]}}) == {"notes": "forbidden_character"}
    assert codes({"external_id": "P", "notes": {text: 1}}) == {"notes": "forbidden_character"}


def test_texts_are_measured_in_characters():
    assert codes({"external_id": "ä" * 12}) == {}
    assert codes({"external_id": "ä" * 13}) == {"external_id": "too_long"}


def test_numbers_in_documents_stay_as_written():
    clean, problems = check_values(
        PRICE, {"external_id": "P", "notes": {"unit": Decimal("0.10"), "rate": 0.1}}
    )

    assert problems == []
    assert clean["notes"] == {"unit": Decimal("0.10"), "rate": Decimal("0.1")}


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([field.name for field in PRICE.fields]), ANYTHING))
def test_whatever_is_given_the_answer_is_typed_values_or_problems(values: dict[str, object]):
    clean, problems = check_values(PRICE, values, partial=True)
    again, none = check_values(PRICE, clean, partial=True)

    assert set(clean) | {problem.field for problem in problems} >= set(values)
    assert (again, none) == (clean, []) or problems


@pytest.mark.parametrize("flag", ["unique", "indexed"])
def test_a_text_with_an_index_is_as_short_as_the_index_demands(flag: str):
    name = Field(name="x_code", max_length=100_000, **{flag: True})
    coded = Entity(name="x_code", plural="x_codes", fields=(name,))
    assert check_values(coded, {"x_code": "ä" * 1_300})[1] == []
    (problem,) = check_values(coded, {"x_code": "ä" * 1_301})[1]
    assert (problem.code, problem.field) == ("too_long", "x_code")
    assert problem.message == "has 2,602 bytes; at most 2,600 fit into its index"


def test_a_document_is_nested_a_hundred_deep_at_most():
    note: object = "here"
    for _ in range(100):
        note = [note]
    assert codes({"external_id": "P-1", "notes": note}) == {}
    assert codes({"external_id": "P-1", "notes": [note]}) == {"notes": "too_deep"}
