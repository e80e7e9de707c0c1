"""Declarations of access: users, roles and what they grant, sessions, API keys."""

from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import (
    EXTERNAL_ID,
    boolean,
    choice,
    document,
    instant,
    integer,
    reference,
    text,
)
from counterfoil.platform.metadata.rules import NOT_RULED

ACCESS_USER = Entity(
    name="access_user",
    apart=True,
    plural="access_users",
    label="user",
    help="Someone who may sign in. The external id is the user name.",
    fields=(
        EXTERNAL_ID,
        text("name"),
        text("email", max_length=254, unique=True, help="Also finds the user at OpenID sign-in."),
        boolean("active", required=True, default=True, help="Nobody comes in while it is not."),
        text("openid_subject", unique=True, help="Issuer and subject, parted by a space."),
        text("password_hash", secret=True, computed=True, help="Argon2id."),
        text("totp_secret", secret=True, computed=True),
        integer("totp_step", secret=True, computed=True, help="Of the last code that was taken."),
    ),
)

ACCESS_ROLE = Entity(
    name="access_role",
    apart=True,
    plural="access_roles",
    label="role",
    help="A named set of grants that users are given.",
    fields=(
        EXTERNAL_ID,
        text("name"),
        boolean("administrator", required=True, default=False, help="Everything is granted."),
        document("commands", help='Commands that may be run: ["run_bills"]; ["*"] means all.'),
    ),
)

ACCESS_GRANT = Entity(
    name="access_grant",
    apart=True,
    plural="access_grants",
    label="grant",
    help="What a role may do with the records of an entity.",
    unique=(("access_role_id", "entity"),),
    fields=(
        reference("access_role", required=True, immutable=True, on_delete="cascade"),
        text("entity", required=True, immutable=True, help="Its name; * for all of business."),
        boolean("may_read", required=True, default=True),
        boolean("may_create", required=True, default=False),
        boolean("may_update", required=True, default=False),
        boolean("may_delete", required=True, default=False),
        document(
            "row_filter",
            help='Only records that meet all of: [{"field": "account_id.country", "op": "eq", '
            '"value": "FR"}]. A field may lead through references.',
        ),
    ),
)

FIELD_RULE = Entity(
    name="field_rule",
    apart=True,
    plural="field_rules",
    label="field rule",
    help="What a role may not do with a field of an entity that it grants. Rules only restrict.",
    unique=(("access_role_id", "entity", "field", "denies"),),
    fields=(
        reference("access_role", required=True, immutable=True, on_delete="cascade"),
        text("entity", required=True, immutable=True),
        text("field", required=True, immutable=True),
        choice(
            "denies", ("read", "write"), required=True, immutable=True, help="read denies both."
        ),
    ),
)

USER_ROLE = Entity(
    name="user_role",
    apart=True,
    plural="user_roles",
    label="user's role",
    help="A role that a user has.",
    unique=(("access_user_id", "access_role_id"),),
    fields=(
        reference("access_user", required=True, immutable=True, on_delete="cascade"),
        reference("access_role", required=True, immutable=True, on_delete="cascade", indexed=True),
    ),
)

ACCESS_SESSION = Entity(
    name="access_session",
    apart=True,
    plural="access_sessions",
    label="session",
    help="A user who has signed in, until the session expires or is ended.",
    created_by_command=True,
    fields=(
        reference("access_user", required=True, on_delete="cascade", indexed=True),
        text("token_hash", required=True, unique=True, secret=True),
        choice("via", ("password", "openid"), required=True),
        instant("expires_at", required=True),
        instant("ended_at"),
    ),
)

API_KEY = Entity(
    name="api_key",
    apart=True,
    plural="api_keys",
    label="API key",
    help="Opens the interfaces for a program, with at most the rights of the user it belongs to.",
    created_by_command=True,
    fields=(
        reference("access_user", required=True, on_delete="cascade", indexed=True),
        text("name", required=True),
        text("prefix", required=True, help="How the key begins, to be known by."),
        text("key_hash", required=True, unique=True, secret=True),
        document("scopes", help='All that it may do: ["invoice:read"]; empty: as its user.'),
        instant("expires_at", required=True),
        instant("revoked_at"),
    ),
)

SIGN_IN_FAILURE = Entity(
    name="sign_in_failure",
    apart=True,
    plural="sign_in_failures",
    help="Failed sign-ins under one name since the last that succeeded, known or not.",
    created_by_command=True,
    history=False,
    fields=(
        text("name_hash", required=True, unique=True, secret=True),
        integer("failures", required=True),
        instant("blocked_until"),
    ),
)

OPENID_SIGN_IN = Entity(
    name="openid_sign_in",
    apart=True,
    plural="openid_sign_ins",
    label="OpenID sign-in",
    help="A sign-in that was sent to the identity provider and has not come back.",
    created_by_command=True,
    history=False,
    fields=(
        text("state_hash", required=True, unique=True, secret=True),
        text("nonce", required=True, secret=True),
        text("verifier", required=True, secret=True),
        instant("expires_at", required=True),
    ),
)

ENTITIES = (
    ACCESS_USER,
    ACCESS_ROLE,
    ACCESS_GRANT,
    FIELD_RULE,
    USER_ROLE,
    ACCESS_SESSION,
    API_KEY,
    SIGN_IN_FAILURE,
    OPENID_SIGN_IN,
)

SECURITY_ENTITIES = frozenset(entity.name for entity in ENTITIES) | NOT_RULED | {"outgoing_event"}
"""Entities that only administrators write: those of access and of the data model."""
