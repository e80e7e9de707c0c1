"""A collector's declaration is checked completely when it is saved."""

from decimal import Decimal

import pytest

from counterfoil.business.usage.collectors import save_collectors
from counterfoil.business.usage.declaration import Placeholder, parse_declaration
from counterfoil.core.problems import Refused

FIELDS = {"event_id": "a", "time": "b", "identifier": "c", "meter": "d", "quantity": "e"}


def whole(**changes):
    return {"format": "csv", "fields": FIELDS, **changes}


def test_minimal_declaration_has_the_usual_defaults():
    declaration, problems = parse_declaration(whole())
    assert problems == []
    assert (declaration.encoding, declaration.delimiter, declaration.time_zone) == (
        "utf-8",
        ",",
        "UTC",
    )
    assert declaration.used_columns() == ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("definition", "code", "field", "allowed"),
    [
        ([], "wrong_type", "definition", "format"),
        ({}, "unknown_format", "format", "jsonl"),
        ({"format": "xml"}, "unknown_format", "format", "focus"),
        (whole(delimeter=";"), "unknown_key", "delimeter", "delimiter"),
        (whole(delimiter="||"), "wrong_value", "delimiter", None),
        (whole(encoding="utf-9"), "unknown_encoding", "encoding", "latin-1"),
        (whole(time_zone="Berlin"), "unknown_time_zone", "time_zone", "Europe/Berlin"),
        (whole(time_formats=["yyyy"]), "unknown_time_format", "time_formats.0", "epoch_seconds"),
        (whole(time_formats=["%Q"]), "unknown_time_format", "time_formats.0", None),
        (whole(decimal_mark=";"), "unknown_value", "decimal_mark", ","),
        (whole(header=False), "missing_field", "columns", None),
        (whole(header="yes"), "wrong_type", "header", "true"),
        (whole(header=False, columns=["a"]), "unknown_column", "fields", "a"),
        (whole(columns=["a"]), "wrong_value", "columns", None),
        (whole(maximum_quantity=-1), "wrong_value", "maximum_quantity", None),
        (whole(maximum_quantity="many"), "wrong_value", "maximum_quantity", None),
        (whole(minimum_quantity=5, maximum_quantity=1), "wrong_value", "maximum_quantity", None),
        (whole(attributes="all"), "unknown_value", "attributes", "none"),
        (whole(fields={}), "missing_field", "fields.meter", "template"),
        (whole(fields={**FIELDS, "unit": "x"}), "unknown_key", "fields.unit", "quantity"),
        (whole(fields={**FIELDS, "meter": 5}), "wrong_type", "fields.meter", "column"),
        (whole(fields={**FIELDS, "meter": {}}), "wrong_value", "fields.meter", "constant"),
        (
            whole(fields={**FIELDS, "meter": {"column": "a", "constant": "b"}}),
            "wrong_value",
            "fields.meter",
            "template",
        ),
        (
            whole(fields={**FIELDS, "meter": {"template": "{a"}}),
            "wrong_value",
            "fields.meter.template",
            None,
        ),
        (
            whole(fields={**FIELDS, "meter": {"template": "call"}}),
            "wrong_value",
            "fields.meter.template",
            None,
        ),
        (
            whole(fields={**FIELDS, "meter": {"content_hash": True}}),
            "wrong_value",
            "fields.meter.content_hash",
            None,
        ),
        (
            whole(fields={**FIELDS, "quantity": {"seconds_between": ["a"]}}),
            "wrong_value",
            "fields.quantity.seconds_between",
            None,
        ),
        (whole(skip=[{"column": "a"}]), "wrong_value", "skip.0", "in"),
        (
            whole(reject=[{"column": "a", "in": ["x"], "reason": "Not OK"}]),
            "wrong_value",
            "reject.0.reason",
            None,
        ),
        (whole(value_maps={"a": ["x"]}), "wrong_type", "value_maps.a", None),
    ],
)
def test_defect_is_named_with_its_field_and_the_allowed_values(definition, code, field, allowed):
    problems = parse_declaration(definition)[1]
    found = [p for p in problems if (p.code, p.field) == (code, field)]
    assert found, problems
    assert allowed is None or allowed in found[0].allowed


def test_template_parts():
    rule = {"template": "{service}/{access|kind|=other}{note|}"}
    declaration, problems = parse_declaration(whole(fields={**FIELDS, "meter": rule}))
    assert problems == []
    assert declaration.fields["meter"].parts == (
        Placeholder(("service",)),
        "/",
        Placeholder(("access", "kind"), "other"),
        Placeholder(("note",), ""),
    )


def test_built_in_formats_need_nothing_else_and_yield_to_own_keys():
    for name in ("focus", "cloudevents"):
        assert parse_declaration({"format": name})[1] == []
    own = {"format": "focus", "fields": {"identifier": "SubAccountId"}, "maximum_quantity": 10}
    declaration = parse_declaration(own)[0]
    assert declaration.fields["identifier"].columns() == ("SubAccountId",)
    assert declaration.fields["quantity"].columns() == ("PricingQuantity",)
    assert declaration.maximum_quantity == Decimal(10)


def test_collector_is_refused_when_saved_as_a_record(database, bridge):
    values = {"external_id": "x", "name": "x", "definition": {"format": "csv"}}
    with database.transaction(now=bridge.now) as uow, pytest.raises(Refused) as refused:
        uow.create("collector", values)
    assert "definition.fields.meter" in {p.field for p in refused.value.problems}


def test_file_of_collectors_names_line_and_saves_nothing(database, bridge):
    document = """collectors:
  - {id: good, format: cloudevents}
  - id: bad
    format: csv
    time_zone: Mars
    fields:
      event_id: a
"""
    with pytest.raises(Refused) as refused, database.transaction(now=bridge.now) as uow:
        save_collectors(uow, document, "mine.yaml")
    found = {(p.file, p.line, p.field) for p in refused.value.problems}
    assert ("mine.yaml", 5, "collectors.1.time_zone") in found
    assert ("mine.yaml", 6, "collectors.1.fields.meter") in found
    with database.transaction(now=bridge.now) as uow:
        assert uow.find("collector", external_id="good") is None


def test_saving_again_changes_the_collector(database, bridge):
    document = "{id: bridge, name: New name, format: cloudevents}"
    with database.transaction(now=bridge.now) as uow:
        assert save_collectors(uow, document) == ["bridge"]
        assert uow.find("collector", external_id="bridge")["name"] == "New name"


def test_broken_yaml_is_refused_with_its_line(database, bridge):
    with pytest.raises(Refused) as refused, database.transaction(now=bridge.now) as uow:
        save_collectors(uow, "id: x\nformat: [csv", "mine.yaml")
    assert refused.value.problems[0].file == "mine.yaml"
    assert refused.value.problems[0].line is not None
