"""Rules of webhooks and mail rules: reachable, and listening to events there are."""

import ipaddress
import re
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from counterfoil.business.automation.network import SETTING, is_public
from counterfoil.business.automation.signing import read_secret
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Record
from counterfoil.platform.outbox.emitting import EventType
from counterfoil.platform.records.unit_of_work import RecordCheck, UnitOfWork

ALL = "*"

_EMAIL = re.compile(r"[^@\s<>,;:\"\\]+@[^@\s<>,;:\"\\]+", re.ASCII)


def subscriber_checks(
    event_types: Collection[EventType], *, private: bool
) -> dict[str, RecordCheck]:
    """The checks of webhooks, mail rules and what provisioning calls, for an organisation with
    these event types.

    ``private``: webhooks may go to private addresses and without TLS.
    """
    names = (ALL, *(event_type.name for event_type in event_types))

    def called(row: Record) -> Iterator[Problem]:
        yield from _url_problems(str(row["url"]), private=private)
        try:
            read_secret(str(row["secret"]))
        except ValueError as fault:
            yield Problem("wrong_value", str(fault), "secret")

    def webhook(row: Record) -> Iterator[Problem]:
        yield from called(row)
        yield from _type_problems(row["event_types"], names)

    def mail_rule(row: Record) -> Iterator[Problem]:
        if not _EMAIL.fullmatch(str(row["email"])):
            yield Problem("wrong_value", "must be one mail address", "email")
        yield from _type_problems(row["event_types"], names)

    def check_webhooks(
        _uow: UnitOfWork, rows: list[Record], _old: list[Record | None]
    ) -> list[Problem]:
        return [problem for row in rows for problem in webhook(row)]

    def check_mail_rules(
        _uow: UnitOfWork, rows: list[Record], _old: list[Record | None]
    ) -> list[Problem]:
        return [problem for row in rows for problem in mail_rule(row)]

    def check_steps(
        _uow: UnitOfWork, rows: list[Record], _old: list[Record | None]
    ) -> list[Problem]:
        return [problem for row in rows if row["kind"] == "webhook" for problem in called(row)]

    return {
        "webhook": check_webhooks,
        "mail_rule": check_mail_rules,
        "provisioning_step": check_steps,
    }


def _type_problems(listed: object, names: tuple[str, ...]) -> Iterator[Problem]:
    if not isinstance(listed, list) or not listed:
        yield Problem("wrong_value", "must be a list of event types", "event_types", names)
        return
    for name in listed:
        if name not in names:
            yield Problem("unknown_choice", f"{name!r} is not an event type", "event_types", names)


def _url_problems(url: str, *, private: bool) -> Iterator[Problem]:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isascii() or not url.isprintable() or " " in url:
        yield Problem("wrong_value", "must be a URL such as https://example.com/hooks", "url")
        return
    schemes = ("https", "http") if private else ("https",)
    if parts.scheme not in schemes:
        message = "must begin with https://"
        message += "" if private else f"; {SETTING}=yes also allows http and private addresses"
        yield Problem("wrong_value", message, "url", schemes)
    if parts.username is not None or parts.password is not None:
        yield Problem("wrong_value", "must not hold a user or password", "url")
    if not private and not _may_be_public(host):
        message = f"{host} is not in the public network; {SETTING}=yes allows it"
        yield Problem("private_address", message, "url")


def _may_be_public(host: str) -> bool:
    """Whether a host may be public; other names are resolved and judged at each attempt."""
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")
