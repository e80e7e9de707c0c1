"""What every usage event added adds up to what was billed, for all that is priced as a whole."""

import re
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.business.billing.itemising import itemise_usage
from counterfoil.interfaces.scenarios.notation import read_scenario
from counterfoil.interfaces.scenarios.play import SimulatedClock, play_scenario

NOW = datetime(2030, 1, 1, tzinfo=UTC)
WORDS = (
    "latest|unique_count|weighted_sum|aggregation: percentile|carried_over|unit_rounding|cells:|"
    "dynamic"
)
FILES = [
    path
    for path in sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))
    if re.search(WORDS, path.read_text())
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_events_add_up(path: Path, server: Settings) -> None:
    scenario, problems = read_scenario(path)
    assert problems == []
    clock = SimulatedClock()
    with scratch_organisation(server, clock) as organisation:
        play_scenario(scenario, organisation, clock)
        billed, told = billed_and_told(organisation)
    assert told
    assert {key: billed[key] for key in told} == told


def billed_and_told(
    organisation: Organisation,
) -> tuple[dict[int, Decimal], dict[int, Decimal]]:
    """By the last rated charge of each service period: what all of them billed, and the sum of
    what its events added, to 15 decimals."""
    with organisation.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT max(id) AS id, sum(exact_amount) AS exact_amount FROM rated_charge "
            "WHERE kind = 'usage' GROUP BY subscription_charge_id, service_start, service_end"
        )
        events = itemise_usage(uow, organisation.usage_store, [row["id"] for row in rows])
    told: dict[int, Decimal] = defaultdict(Decimal)
    for event in events.select(["rated_charge_id", "exact_amount"]).to_pylist():
        told[event["rated_charge_id"]] += event["exact_amount"]
    billed = {row["id"]: row["exact_amount"] for row in rows}
    return billed, {key: round(amount, 15) for key, amount in told.items()}
