"""What customers add to the catalogue: merged, refused with all problems, and only widened."""

import pytest

from counterfoil.platform.metadata import (
    Catalogue,
    CustomEntity,
    CustomerModel,
    CustomField,
    Entity,
    Field,
    FieldType,
    build_catalogue,
)
from counterfoil.platform.metadata.changes import plan_changes
from counterfoil.platform.metadata.customer import MOST_FIELDS

ACCOUNT = Entity(name="account", plural="accounts", fields=(Field(name="name", required=True),))
INVOICE = Entity(
    name="invoice", plural="invoices", created_by_command=True, fields=(Field(name="number"),)
)
SYSTEM = (ACCOUNT, INVOICE)
SURVEY = CustomEntity(name="x_survey", plural="x_surveys", label="Survey")


def field(name: str = "x_region", kind: str = "text", **options: object) -> CustomField:
    return CustomField(**{"entity": "account", "name": name, "kind": kind, **options})


def catalogue(*fields: CustomField, entities: tuple[CustomEntity, ...] = ()) -> Catalogue:
    return build_catalogue(SYSTEM, CustomerModel(entities, fields), 7)


def test_custom_fields_stand_behind_the_declared_ones() -> None:
    merged = catalogue(field(), field("x_since", "date"))
    assert [one.name for one in merged.entity("account").fields] == ["name", "x_region", "x_since"]
    assert (merged.version, merged.problems) == (7, ())
    assert [one.name for one in build_catalogue(SYSTEM).entity("account").fields] == ["name"]


def test_a_custom_entity_has_an_external_id_a_name_and_its_fields() -> None:
    detail = field("x_account", "master_detail", entity="x_survey", target="account")
    survey = catalogue(detail, entities=(SURVEY,)).by_plural("x_surveys")
    assert [one.name for one in survey.fields] == ["external_id", "name", "x_account"]
    assert (survey.fields[2].target, survey.fields[2].on_delete) == ("account", "cascade")


def test_an_amount_brings_the_field_of_its_currency() -> None:
    deposit, currency = catalogue(field("x_deposit", "money")).entity("account").fields[1:]
    assert (deposit.precision, deposit.scale) == (20, 4)
    assert deposit.currency_field == currency.name == "x_deposit_currency"
    assert "EUR" in currency.choices


def test_what_is_retired_is_not_there() -> None:
    assert catalogue(field(retired=True)).entity("account").fields == ACCOUNT.fields
    hidden = CustomEntity(name="x_survey", plural="x_surveys", retired=True)
    merged = catalogue(field("x_score", "number", entity="x_survey"), entities=(hidden,))
    assert (set(merged.entities), merged.problems) == ({"account", "invoice"}, ())


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (field("region"), "bad_name"),
        (field("x_Region"), "bad_name"),
        (field("x_a__b"), "bad_name"),
        (field("x_" + "a" * 47), "name_too_long"),
        (field("x_" + "a" * 40, "money"), "name_too_long"),
        (field(entity="nothing"), "unknown_entity"),
        (field(entity="custom_field"), "unknown_entity"),
        (field(kind="json"), "unknown_kind"),
        (field(kind="choice"), "no_choices"),
        (field(choices=("a",)), "unwelcome_option"),
        (field(kind="choice", choices=("a", "a")), "double_choice"),
        (field(kind="choice", choices=("a,b",)), "bad_choice"),
        (field(kind="lookup", target="nothing"), "unknown_target"),
        (field(kind="lookup", target="account", on_delete="cascade"), "bad_option"),
        (field(kind="master_detail", target="invoice"), "unwelcome_option"),
        (field(kind="decimal", digits=39), "bad_digits"),
        (field(kind="number", minimum=5, maximum=1), "bad_option"),
        (field(kind="number", default="one"), "bad_default"),
        (field(entity="invoice", required=True), "cannot_be_required"),
        (field(kind="formula", returns="number"), "bad_option"),
        (field(kind="formula", returns="number", formula="x_nothing + 1"), "unknown_name"),
        (field(kind="formula", returns="number", formula="name"), "wrong_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_left_out_and_told(wrong: CustomField, code: str) -> None:
    merged = catalogue(wrong, field("x_right"))
    assert code in [problem.code for problem in merged.problems]
    assert all(problem.message and problem.field for problem in merged.problems)
    assert [one.name for one in merged.entity("account").fields] == ["name", "x_right"]


def test_an_entity_has_400_custom_fields_retired_ones_included() -> None:
    fields = [field(f"x_{number}", retired=number == 0) for number in range(MOST_FIELDS + 1)]
    assert [problem.code for problem in catalogue(*fields).problems] == ["too_many_fields"]
    assert catalogue(*fields[:-1]).problems == ()


def test_there_are_200_custom_entities() -> None:
    entities = tuple(CustomEntity(name=f"x_e{n}", plural=f"x_e{n}s") for n in range(201))
    assert [one.code for one in catalogue(entities=entities).problems] == ["too_many_entities"]


def test_two_entities_cannot_have_one_plural() -> None:
    other = CustomEntity(name="x_other", plural="x_surveys")
    assert [one.code for one in catalogue(entities=(SURVEY, other)).problems] == ["double_name"]


@pytest.mark.parametrize("name", ["x_a_x_b", "x_a_id_seq"])
def test_an_entity_is_not_called_like_a_table_or_index_of_another_one(name: str) -> None:
    entity = CustomEntity(name=name, plural="x_many")
    assert [one.code for one in catalogue(entities=(entity,)).problems] == ["bad_name"]


def test_names_with_x_are_not_the_systems() -> None:
    with pytest.raises(Exception, match="x_ belongs to the customer"):
        build_catalogue([Entity(name="site", plural="sites", fields=(Field(name="x_a"),))])


def test_a_plan_tells_each_step_in_words() -> None:
    before = catalogue(field(kind="choice", choices=("emea", "amer")), field("x_old"))
    change, problems = plan_changes(
        before,
        [SURVEY],
        [
            field(kind="choice", choices=("emea", "amer", "apac")),
            field("x_old", retired=True),
            field("x_score", "number", entity="x_survey", minimum=0, indexed=True),
        ],
    )
    assert problems == []
    assert [step.words for step in change.steps] == [
        "add the entity x_survey (Survey)",
        "change account.x_region: choices from [emea, amer] to [emea, amer, apac]",
        "retire account.x_old: hide it, keep its values",
        "add x_survey.x_score: number, indexed",
    ]
    assert change.after.version == 8


def test_the_same_again_is_no_step() -> None:
    change, problems = plan_changes(catalogue(field(help="Where")), [], [field(help="Where")])
    assert (change.steps, problems) == ((), [])


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ({}, {"kind": "number"}, "cannot_change"),
        ({}, {"unique": True}, "cannot_change"),
        ({}, {"required": True}, "only_wider"),
        ({"max_length": 200}, {"max_length": 100}, "only_wider"),
        ({"kind": "number"}, {"kind": "number", "maximum": 5}, "only_wider"),
        ({"kind": "decimal"}, {"kind": "decimal", "digits": 12}, "only_wider"),
        ({"kind": "decimal"}, {"kind": "decimal", "places": 8}, "cannot_change"),
        (
            {"kind": "choice", "choices": ("a", "b")},
            {"kind": "choice", "choices": ("b", "c")},
            "only_wider",
        ),
    ],
)
def test_nothing_is_narrowed(
    before: dict[str, object], after: dict[str, object], code: str
) -> None:
    _, problems = plan_changes(catalogue(field(**before)), [], [field(**after)])
    assert [problem.code for problem in problems] == [code]


def test_an_entity_that_others_point_to_cannot_be_retired() -> None:
    before = catalogue(field("x_survey", "lookup", target="x_survey"), entities=(SURVEY,))
    hidden = CustomEntity(name="x_survey", plural="x_surveys", label="Survey", retired=True)
    _, problems = plan_changes(before, [hidden], [])
    assert [(one.code, one.field) for one in problems] == [
        ("unknown_target", "account.x_survey.target")
    ]


def test_a_field_that_a_formula_reads_cannot_be_retired() -> None:
    doubled = field("x_doubled", "formula", returns="number", formula="x_seats * 2")
    before = catalogue(field("x_seats", "number"), doubled)
    assert before.problems == ()
    _, problems = plan_changes(before, [], [field("x_seats", "number", retired=True)])
    assert [(one.code, one.field) for one in problems] == [
        ("unknown_name", "account.x_doubled.formula")
    ]


def test_types_of_the_kinds() -> None:
    kinds = {
        "text": FieldType.TEXT,
        "number": FieldType.INTEGER,
        "decimal": FieldType.DECIMAL,
        "date": FieldType.DATE,
        "datetime": FieldType.INSTANT,
        "boolean": FieldType.BOOLEAN,
    }
    merged = catalogue(*(field(f"x_{kind}", kind) for kind in kinds)).entity("account")
    assert {one.name[2:]: one.type for one in merged.fields[1:]} == kinds
