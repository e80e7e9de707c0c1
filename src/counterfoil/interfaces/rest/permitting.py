"""Who may use an endpoint: its command has to be granted, and the record in the path be seen."""

from dataclasses import replace

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.rest.exchange import Answer, Call, Desk, Endpoint, Handler
from counterfoil.interfaces.rest.records import record_id
from counterfoil.platform.metadata import FULL_ACCESS


def permitted(endpoint: Endpoint) -> Handler:
    """The endpoint's handler, for those who may use it.

    A command works with every right: what it does is what was granted.
    """

    def handle(desk: Desk, call: Call) -> Answer:
        desk = desk.acting(call, "rest")
        if endpoint.audience != "granted":
            return endpoint.handler(desk, call)
        call.caller.access.demand_command(endpoint.command)
        if endpoint.subject and not call.caller.access.unrestricted:
            demand_subject(desk, call, endpoint.subject)
        trusted = replace(call.caller, access=FULL_ACCESS, granted=call.caller.access)
        return endpoint.handler(desk, replace(call, caller=trusted))

    return handle


def demand_subject(desk: Desk, call: Call, entity: str) -> None:
    """Refuse (404) a record in the path that the caller does not see."""
    organisation = desk.organisation
    with organisation.database.transaction(
        now=organisation.clock(), access=call.caller.access
    ) as uow:
        external_id = call.variables.get("external_id")
        if external_id is None:
            uow.get(entity, record_id(call))
        elif not uow.ids_by(entity, "external_id", [external_id]):
            message = f"there is no {entity.replace('_', ' ')} {external_id!r}"
            raise Refused(Problem("unknown_record", message, "external_id"), status=404)
