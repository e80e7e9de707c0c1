"""Trees of accounts as they are stored."""

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork


def find_account(uow: UnitOfWork, external_id: str) -> Record:
    """The account of that external id; refuses (404) an unknown one."""
    account = uow.find("account", external_id=external_id)
    if account is None:
        message = f"there is no account {external_id!r}"
        raise Refused(Problem("unknown_account", message, "account"), status=404)
    return account


def read_ancestors(uow: UnitOfWork, account_id: int) -> list[Record]:
    """The accounts above an account, nearest first."""
    return uow.query(
        "WITH RECURSIVE above AS ("
        "SELECT parent_id, 1 AS distance FROM account WHERE id = :id"
        " UNION ALL SELECT account.parent_id, above.distance + 1 FROM account"
        " JOIN above ON account.id = above.parent_id) "
        "SELECT account.* FROM above JOIN account ON account.id = above.parent_id"
        " ORDER BY above.distance",
        id=account_id,
    )


def read_subtree(uow: UnitOfWork, account_id: int) -> list[Record]:
    """An account and all below it, each after its parent, siblings by external id.

    The fields of the account and ``depth``: 0 for the account asked for.
    """
    return uow.query(
        "WITH RECURSIVE below AS ("
        "SELECT id, 0 AS depth, ARRAY[external_id] AS path FROM account WHERE id = :id"
        " UNION ALL SELECT account.id, below.depth + 1, below.path || account.external_id"
        " FROM account JOIN below ON account.parent_id = below.id) "
        "SELECT account.*, below.depth FROM below JOIN account USING (id) ORDER BY below.path",
        id=account_id,
    )


def read_sites(uow: UnitOfWork, account_ids: list[int]) -> list[Record]:
    """The sites of these accounts, by external id."""
    return uow.query(
        "SELECT * FROM site WHERE account_id = ANY(:accounts) ORDER BY external_id",
        accounts=account_ids,
    )


def list_accounts(uow: UnitOfWork) -> list[Record]:
    """Every account with its parent's external id, currency and number of sites."""
    return uow.query(
        "SELECT account.external_id, account.name, parent.external_id AS parent, account.status,"
        " billing_profile.currency, count(site.id) AS sites FROM account"
        " LEFT JOIN account AS parent ON parent.id = account.parent_id"
        " LEFT JOIN billing_profile ON billing_profile.account_id = account.id"
        " LEFT JOIN site ON site.account_id = account.id"
        " GROUP BY account.id, parent.external_id, billing_profile.currency"
        " ORDER BY account.external_id"
    )
