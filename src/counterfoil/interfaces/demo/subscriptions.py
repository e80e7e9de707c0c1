"""What the demo's customers have subscribed to, and how that changes within the month."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from random import Random

from counterfoil.business.subscriptions.commands import Activation
from counterfoil.interfaces.demo.organisation import DemoOrganisation, DemoSite
from counterfoil.interfaces.demo.parameters import month_before
from counterfoil.interfaces.demo.usage_files import bridge_code, platform_tenant

_SITES_WITH_ROOMS = 0.45
_ROOMS_ADDED_LATER = 0.25
_ROOMS_CHANGED = 0.06
_ROOMS_CANCELLED = 0.03


@dataclass(frozen=True, slots=True)
class QuantityChange:
    """From ``from_date`` on, a subscription has ``quantity`` managed rooms."""

    subscription: str
    quantity: Decimal
    from_date: date


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A subscription that ends; ``end_date`` is the first day without service."""

    subscription: str
    end_date: date


@dataclass(frozen=True, slots=True)
class DemoSubscriptions:
    """All activations, and the changes and cancellations of managed rooms."""

    activations: list[Activation]
    changes: list[QuantityChange]
    cancellations: list[Cancellation]


def build_subscriptions(
    organisation: DemoOrganisation, first_month: date, seed: int
) -> DemoSubscriptions:
    """Conferencing for every account since the month before; rooms from ``first_month`` on.

    Conferencing begins a month early so that late usage of that month has a subscription.
    """
    rng = Random(f"subscriptions {seed}")  # noqa: S311 - demo data
    conferencing = [
        Activation(
            external_id=f"{account.external_id}-CONF",
            account=account.external_id,
            rate_plan="conferencing",
            start_date=month_before(first_month),
            site=organisation.sites_of[account.external_id][0].external_id,
            identifiers=(bridge_code(index), platform_tenant(account)),
        )
        for index, account in enumerate(organisation.accounts)
    ]
    rooms = [
        _rooms_at(rng, site, first_month)
        for site in organisation.sites
        if rng.random() < _SITES_WITH_ROOMS
    ]
    changes: list[QuantityChange] = []
    cancellations: list[Cancellation] = []
    for room in rooms:
        fate = rng.random()
        day = first_month + timedelta(days=rng.randint(7, 24))
        if room.start_date > first_month:
            continue
        if fate < _ROOMS_CHANGED:
            quantity = room.quantities["room"] + rng.choice((1, 2, 3))
            changes.append(QuantityChange(room.external_id, quantity, day))
        elif fate < _ROOMS_CHANGED + _ROOMS_CANCELLED:
            cancellations.append(Cancellation(room.external_id, day))
    return DemoSubscriptions([*conferencing, *rooms], changes, cancellations)


def _rooms_at(rng: Random, site: DemoSite, first_month: date) -> Activation:
    later = rng.randint(4, 24) if rng.random() < _ROOMS_ADDED_LATER else 0
    rooms = Decimal(rng.choices((1, 2, 3, 4, 6), (45, 25, 15, 10, 5))[0])
    return Activation(
        external_id=f"{site.external_id}-ROOM",
        account=site.account,
        rate_plan="managed-room",
        start_date=first_month + timedelta(days=later),
        site=site.external_id,
        quantities={"room": rooms, "room-installation": rooms},
    )
