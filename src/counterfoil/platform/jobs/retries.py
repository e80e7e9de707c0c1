"""When something that has failed is tried again: deliveries and jobs alike."""

from datetime import datetime, timedelta

DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""From each failed attempt to the next one, as Standard Webhooks proposes: ten in three days."""


def next_attempt(
    failures: int, attempted_at: datetime, most: int = len(DELAYS) + 1
) -> datetime | None:
    """When to try again after so many failed attempts (from 1); None: it is given up.

    ``most`` is the number of failures after which it is, at most one more than there are delays.
    """
    given_up = failures >= min(most, len(DELAYS) + 1)
    return None if given_up else attempted_at + DELAYS[failures - 1]
