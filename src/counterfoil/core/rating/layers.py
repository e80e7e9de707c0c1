"""The price layers, from the least to the most specific: the one table of who wins.

Everything that ranks prices (rating, explanations, the choices of ``price.layer``, the checks of
conflicting prices) reads it from here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of prices.

    ``specificity`` is that of the owner nearest to the item; an owner that is further away (an
    ancestor of the account, the base of a template) has one less per step. ``column`` names the
    column of ``charge_item`` that holds the owner, "" where the relation ``price_layer`` tells
    the owners of an account.
    """

    name: str
    specificity: int
    column: str
    help: str


LAYERS = (
    Layer("list", 10_000, "", "the list price of the charge"),
    Layer("region", 20_000, "price_region_id", "the price region of the site, else the account"),
    Layer("template", 30_000, "", "the account's pricing template, then what it builds on"),
    Layer("account", 40_000, "", "the account, then the accounts above it"),
    Layer("site", 50_000, "site_id", "the site of the subscription"),
    Layer("contact", 60_000, "contact_id", "the contact of the subscription"),
    Layer("contract", 70_000, "contract_id", "the contract of the subscription"),
    Layer("subscription", 80_000, "subscription_id", "the subscription itself"),
)

LAYER_NAMES = tuple(layer.name for layer in LAYERS)

SPECIFICITY = {layer.name: layer.specificity for layer in LAYERS}

BILLED = 1_000_000
"""Of a price that the service was billed at: what was billed is never priced anew."""
