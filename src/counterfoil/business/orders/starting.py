"""From which day a line is served, and from which it is billed: computation only."""

from dataclasses import dataclass
from datetime import date
from typing import cast

from counterfoil.platform.metadata import Record


@dataclass(frozen=True, slots=True)
class Starting:
    """First day of service (or of the new state), and first day that is billed."""

    served: date
    billed: date


def start_of(line: Record, done: date | None, today: date) -> Starting:
    """When a line begins that was provisioned on a day, None where nothing had to be done.

    It is activated on its effective date, without one on the day it was provisioned, and never
    before that. What is billed from an earlier day is served from then on too.
    """
    effective = cast("date | None", line["effective_date"])
    activated = effective or today if done is None else max(effective or done, done)
    rule = line["billing_start"]
    if rule == "on_acceptance":
        billed = cast("date", line["accepted_on"])
    elif rule == "on_provisioning_done":
        billed = done or activated
    elif rule == "on_date":
        billed = cast("date", line["billing_date"])
    else:
        billed = activated
    return Starting(min(activated, billed), billed)
