"""Kinds of jobs as values: what can be done later, and what has to be told for it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata.entity import Entity, Field, Record
from counterfoil.platform.metadata.validation import check_values


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind:
    """Something that can be done later: its name, such as ``run_bills``, and what it needs to know.

    ``fields`` declare the payload as those of an entity do. ``most_failures`` is after how many
    failed attempts it is given up. ``command`` is the command that does the same at once: who may
    run it may ask for the job; none is for administrators only. ``lengthy`` ones may take minutes:
    a process does one of them at a time, so that others need not wait. Who does it is registered in
    ``bootstrap``.
    """

    name: str
    help: str
    command: str = ""
    fields: tuple[Field, ...] = ()
    most_failures: int = 10
    lengthy: bool = False

    @property
    def shape(self) -> Entity:
        """The payload as an entity, for typed checking and for descriptions."""
        return Entity(name=self.name, plural=self.name, help=self.help, fields=self.fields)

    def read_payload(self, payload: object) -> Record:
        """The typed payload, defaults filled in; refuses (422) all that is wrong with it."""
        if not isinstance(payload, Mapping):
            raise Refused(Problem("wrong_type", "must be an object", "payload"))
        values, problems = check_values(self.shape, dict(payload))
        if problems:
            raise Refused([replace(one, field=f"payload.{one.field}") for one in problems])
        return values


def unknown_kind(name: str, kinds: tuple[str, ...], field: str = "kind") -> Problem:
    """That there is no such kind of job, and which there are."""
    return Problem("unknown_job_kind", f"there is no kind of job {name!r}", field, kinds)
