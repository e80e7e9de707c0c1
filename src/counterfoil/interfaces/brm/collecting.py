"""COLLECTOR_FIELDS: usage records that scripts create like any other record.

They go to the collector of ours that the record names, which reads them by the names they come
with. They are accepted at once; nothing waits for a logout.
"""

from collections.abc import Mapping, Sequence

import msgspec

from counterfoil.business.usage.gathering import accept_cloud_events
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.values import written
from counterfoil.interfaces.brm.words import plain_name
from counterfoil.interfaces.brm.writing import Written
from counterfoil.interfaces.http.exchange import Desk
from counterfoil.platform.metadata import Access
from counterfoil.platform.records.exact_json import plain
from counterfoil.platform.records.pages import Filter

ENTITY = "collectorfields"
COMMAND = "send_usage"

_COLLECTOR = "activitycollectorid"


def collect(desk: Desk, access: Access, rows: Sequence[Mapping[str, object]]) -> list[Written]:
    """What became of each usage record: the id of its batch, or why it was rejected."""
    access.demand_command(COMMAND)
    results: dict[int, Written] = {}
    places: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        given = {plain_name(name): value for name, value in row.items()}
        places.setdefault(written(given.get(_COLLECTOR)), []).append(place)
    names = _collectors(desk, access, list(places))
    for collector, group in places.items():
        name = names.get(collector)
        if name is None:
            message = "has to be the Id of an ACTIVITY_COLLECTOR"
            problem = Problem("unknown_reference", message, "ACTIVITY_COLLECTOR_ID")
            results |= dict.fromkeys(group, Written(problem=problem))
        else:
            results |= _accept(desk, name, [rows[place] for place in group], group)
    return [results[place] for place in range(len(rows))]


def _collectors(desk: Desk, access: Access, ids: Sequence[str]) -> dict[str, str]:
    """Id to external id of the collectors that are there."""
    numbers = [int(one) for one in ids if one.isascii() and one.isdigit() and len(one) < 19]
    organisation = desk.organisation
    with organisation.database.transaction(now=organisation.clock(), access=access) as uow:
        if "collector" not in uow.catalogue.entities:
            return {}
        found = uow.list("collector", filters=[Filter("id", "in", numbers)], limit=1000)
    return {str(row["id"]): row["external_id"] for row in found.records}


def _accept(
    desk: Desk, collector: str, rows: Sequence[Mapping[str, object]], places: Sequence[int]
) -> dict[int, Written]:
    organisation = desk.organisation
    try:
        receipt = accept_cloud_events(
            organisation.database,
            organisation.usage_store,
            msgspec.json.encode(plain(list(rows))),
            now=organisation.clock(),
            collector=collector,
        )
    except Refused as refused:
        return dict.fromkeys(places, Written(problem=refused.problems[0]))
    results = {place: Written(receipt.batch_id, created=True) for place in places}
    for one in receipt.rejected:
        problem = Problem(one.reason, one.message)
        results[places[one.index]] = Written(receipt.batch_id, problem=problem)
    return results
