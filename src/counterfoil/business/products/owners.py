"""Who owns a price, layer by layer: the field that names it, and what the notation calls it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """What a price of a layer belongs to.

    ``field`` is the field of ``price`` that names it, ``entity`` the entity it refers to; ""
    where the field holds an external id, because the entity lives in a room above. ``key`` is its
    word in price books.
    """

    layer: str
    field: str
    entity: str
    key: str


OWNERS = (
    Owner("region", "price_region_id", "price_region", "price_region"),
    Owner("template", "pricing_template_id", "pricing_template", "pricing_template"),
    Owner("account", "account_id", "account", "account"),
    Owner("site", "site_id", "site", "site"),
    Owner("contact", "contact_id", "contact", "contact"),
    Owner("contract", "contract_external_id", "", "contract"),
    Owner("subscription", "subscription_external_id", "", "subscription"),
)
"""Of every layer but the list, whose prices belong to nobody."""

OWNER_OF = {owner.layer: owner for owner in OWNERS}

OWNER_FIELDS = tuple(owner.field for owner in OWNERS)

OWNER_JOINS = "".join(
    f" LEFT JOIN {owner.entity} AS {owner.layer}_owner"
    f" ON {owner.layer}_owner.id = price.{owner.field}"
    for owner in OWNERS
    if owner.entity
)
"""Joins the records that own a price to the relation ``price``."""

OWNER_NAME = "coalesce({})".format(
    ", ".join(
        f"{owner.layer}_owner.external_id" if owner.entity else f"price.{owner.field}"
        for owner in OWNERS
    )
)
"""After OWNER_JOINS, the external id of a price's owner; null in the list."""
