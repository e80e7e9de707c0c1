"""Which records may be written as records at all."""

from collections.abc import Iterable

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity


def refuse_made_by_command(
    entity: Entity, changed: Iterable[str] | None = None, *, shown: str = ""
) -> None:
    """Refuse (405) to write what commands make.

    What the customer added to it may be changed: ``changed`` are the fields of a change.
    """
    if not entity.created_by_command:
        return
    if changed is not None and all(name.startswith("x_") for name in changed):
        return
    noun = shown or entity.plural.replace("_", " ")
    message = f"records of {noun} are made by commands and not written directly"
    raise Refused(Problem("made_by_command", message), status=405)
