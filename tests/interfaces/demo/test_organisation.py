"""The demo's customers: as many as promised, everywhere, and the same every time."""

from collections import Counter
from zoneinfo import ZoneInfo

import pycountry
import pytest

from counterfoil.core.money.currencies import CURRENCIES as KNOWN_CURRENCIES
from counterfoil.interfaces.demo.organisation import DemoOrganisation, build_organisation
from counterfoil.interfaces.demo.places import CURRENCIES, HOME_WEIGHTS, places_by_country


@pytest.fixture(scope="module")
def organisation() -> DemoOrganisation:
    return build_organisation(1000, 1)


def test_every_place_has_a_real_country_zone_and_currency() -> None:
    places = [place for group in places_by_country().values() for place in group]
    assert len(places_by_country()) == 130
    for place in places:
        assert pycountry.countries.get(alpha_2=place.country), place
        assert ZoneInfo(place.time_zone), place
        assert place.currency in CURRENCIES, place
        assert (place.p_code is not None) == (place.country == "US"), place
    assert set(HOME_WEIGHTS) <= set(places_by_country())
    assert set(CURRENCIES) <= set(KNOWN_CURRENCIES)


def test_a_thousand_accounts_and_three_thousand_sites_in_130_countries(
    organisation: DemoOrganisation,
) -> None:
    assert len(organisation.accounts) == 1000
    assert 2900 <= len(organisation.sites) <= 3100
    assert len(organisation.countries) == 130
    assert {profile["currency"] for profile in organisation.billing_profiles} == set(CURRENCIES)


def test_parents_come_before_their_divisions(organisation: DemoOrganisation) -> None:
    seen: set[str] = set()
    for account in organisation.accounts:
        assert account.parent is None or account.parent in seen
        seen.add(account.external_id)
    assert set(Counter(account.depth for account in organisation.accounts)) == {0, 1, 2}


def test_an_account_without_profile_is_billed_in_its_parents_currency(
    organisation: DemoOrganisation,
) -> None:
    by_id = {account.external_id: account for account in organisation.accounts}
    profiles = {str(row["account"]): row["currency"] for row in organisation.billing_profiles}
    without = [account for account in organisation.accounts if not account.has_profile]
    assert len(without) > 100
    assert set(profiles) == {a.external_id for a in organisation.accounts if a.has_profile}
    for account in organisation.accounts:
        assert profiles[account.billed_by] == account.currency
        if not account.has_profile:
            assert account.parent is not None
            assert account.billed_by == by_id[account.parent].billed_by


def test_names_and_ids_are_unique(organisation: DemoOrganisation) -> None:
    names = [account.name for account in organisation.accounts]
    assert len(set(names)) == 1000
    for rows in (organisation.contacts, organisation.billing_profiles):
        key = "external_id" if "external_id" in rows[0] else "account"
        assert len({row[key] for row in rows}) == len(rows)
    assert len({site.external_id for site in organisation.sites}) == len(organisation.sites)


def test_the_same_seed_gives_the_same_organisation(organisation: DemoOrganisation) -> None:
    again = build_organisation(1000, 1)
    assert again.accounts == organisation.accounts
    assert again.sites == organisation.sites
    assert again.contacts == organisation.contacts
    assert again.billing_profiles == organisation.billing_profiles
    assert build_organisation(1000, 2).accounts != organisation.accounts
