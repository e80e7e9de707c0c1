"""Formulas of discounts: what is refused, in a file and from any other writer."""

from datetime import UTC, datetime

import pytest

from counterfoil.bootstrap import Organisation
from counterfoil.business.incentives.commands import save_incentives
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.core.problems import Refused

NOW = datetime(2024, 6, 1, tzinfo=UTC)

FILE = """
discounts:
  - id: busy
    name: Busy
    percent_formula: PERCENT
    condition: CONDITION
"""


def told(organisation: Organisation, percent: str, condition: str) -> list[tuple[object, ...]]:
    """Code, file, line and field of the problems of a file."""
    text = FILE.replace("PERCENT", percent).replace("CONDITION", condition)
    file, problems = parse_incentives(text, "discounts.yaml")
    assert problems == []
    try:
        with organisation.database.rehearsal(now=NOW) as uow:
            save_incentives(uow, file)
    except Refused as refused:
        return [(each.code, each.file, each.line, each.field) for each in refused.problems]
    return []


def test_wrong_formulas_are_told_with_file_and_line(organisation: Organisation) -> None:
    assert told(organisation, "usage('minutes', 'root') / 10", "account.status = 5") == [
        ("unknown_name", "discounts.yaml", 5, "discounts[0].percent_formula"),
        ("wrong_type", "discounts.yaml", 6, "discounts[0].condition"),
    ]
    assert told(organisation, "quantity", "true") == [
        ("unknown_name", "discounts.yaml", 5, "discounts[0].percent_formula")
    ]
    assert told(organisation, "contract.months / 12", "site.country = 'DE'") == []


def test_a_percentage_is_a_number_or_a_formula(organisation: Organisation) -> None:
    file, problems = parse_incentives(
        FILE.replace("PERCENT", "5").replace("CONDITION", "true"), "discounts.yaml"
    )
    assert problems == []
    with organisation.database.transaction(now=NOW) as uow:
        save_incentives(uow, file)
        discount = uow.find("discount", external_id="busy")
        assert discount is not None
        for changes, problem in (
            ({"percent": 5}, ("not_for_this_kind", "percent")),
            ({"condition": "no"}, ("unknown_name", "condition")),
            ({"percent_formula": None}, ("missing", "percent")),
        ):
            with pytest.raises(Refused) as refused:
                uow.update("discount", discount["id"], changes)
            assert [(each.code, each.field) for each in refused.value.problems] == [problem]
