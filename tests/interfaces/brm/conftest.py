"""The unmodified client library ``billingplatform``, signed in."""

from collections.abc import Iterator, Mapping, Sequence

import pytest
from billingplatform import BillingPlatform
from tests.interfaces.conftest import Place

from counterfoil.platform.access.users import create_user

PASSWORD = "battery staple horse correct"


@pytest.fixture
def client(place: Place) -> Iterator[BillingPlatform]:
    """A client of the administrator; the organisation's name stands in its address."""
    made = BillingPlatform(
        base_url=f"{place.url}/acme",
        username="admin",
        password=place.password,
        logout_at_exit=False,
    )
    yield made
    made.session.close()


def sign_in_as(
    place: Place,
    name: str,
    grants: Mapping[str, Sequence[str]],
    *,
    unreadable: Mapping[str, Sequence[str]] | None = None,
    rows: Mapping[str, object] | None = None,
    commands: Sequence[str] = (),
) -> BillingPlatform:
    """A client of a new user with one role: operations by entity, restrictions by entity."""
    organisation = place.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        known = {"external_id": name, "commands": list(commands) or None}
        role = uow.create("access_role", known)["id"]
        for entity, operations in grants.items():
            grant = {"access_role_id": role, "entity": entity}
            grant["row_filter"] = (rows or {}).get(entity)
            uow.create("access_grant", {**grant, **{f"may_{one}": True for one in operations}})
        for entity, fields in (unreadable or {}).items():
            rules = [
                {"access_role_id": role, "entity": entity, "field": field, "denies": "read"}
                for field in fields
            ]
            uow.create_many("field_rule", rules)
        create_user(uow, name, password=PASSWORD, roles=[name])
    return BillingPlatform(place.url, name, PASSWORD, logout_at_exit=False)
