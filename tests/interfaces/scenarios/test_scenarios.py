"""Every scenario file of ``tests/scenarios`` plays as it expects, to the cent.

And what every usage event added adds up to what was billed, for all that is priced as a whole.
"""

import re
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.interfaces.scenarios.recordings import Recordings

from counterfoil.bootstrap import Organisation, Settings
from counterfoil.business.billing.itemising import itemise_usage

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PRICED_AS_A_WHOLE = (
    "latest|unique_count|weighted_sum|aggregation: percentile|carried_over|unit_rounding|cells:|"
    "dynamic"
)
FILES = sorted((Path(__file__).parents[2] / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario_plays_as_expected(path: Path, server: Settings, recordings: Recordings) -> None:
    as_a_whole = re.search(PRICED_AS_A_WHOLE, path.read_text()) is not None
    outcome = recordings.play(path, server, events_add_up if as_a_whole else None)
    assert [str(difference) for difference in outcome.differences] == []


def events_add_up(organisation: Organisation) -> None:
    """The last rated charge of each service period tells events that come to what all of them
    billed, to 15 decimals."""
    with organisation.database.transaction(now=NOW) as uow:
        rows = uow.query(
            "SELECT max(r.id) AS id, sum(r.exact_amount) AS exact_amount FROM rated_charge r "
            "JOIN subscription_charge sc ON sc.id = r.subscription_charge_id "
            "JOIN charge c ON c.id = sc.charge_id "
            # Events of a pool are told by the line they stand in: test_counterfoils.py.
            "WHERE r.kind = 'usage' AND c.pooled_over = 'subscription' "
            "GROUP BY r.subscription_charge_id, r.service_start, r.service_end"
        )
        events = itemise_usage(uow, organisation.usage_store, [row["id"] for row in rows])
    told: dict[int, Decimal] = defaultdict(Decimal)
    for event in events.select(["rated_charge_id", "exact_amount"]).to_pylist():
        told[event["rated_charge_id"]] += event["exact_amount"]
    billed = {row["id"]: row["exact_amount"] for row in rows}
    assert told or not rows
    assert {key: billed[key] for key in told} == {
        key: round(amount, 15) for key, amount in told.items()
    }
