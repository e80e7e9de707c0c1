"""Where the administrator's token is kept: in the environment, or its SHA-256 in a file."""

import os
import secrets
from pathlib import Path

from counterfoil.core.problems import Refused
from counterfoil.platform.access.tokens import AdminToken, token_problems

VARIABLE = "COUNTERFOIL_ADMIN_TOKEN"
DIGEST_FILE = "admin-token.sha256"


def load_admin_token(
    home: Path, from_environment: str | None, *, renew: bool = False
) -> tuple[AdminToken, str | None]:
    """The token to ask for, and its text when it was made just now and has to be shown once.

    ``from_environment`` wins. Otherwise the digest stands in the home folder; where it does not,
    or with ``renew``, a token of 256 random bits is made. Refuses a chosen one that is weak.
    """
    if from_environment:
        problems = token_problems(from_environment, VARIABLE)
        if problems:
            raise Refused(problems)
        return AdminToken.of(from_environment), None
    path = home / DIGEST_FILE
    if path.exists() and not renew:
        return AdminToken(path.read_text(encoding="ascii").strip()), None
    text = secrets.token_urlsafe(32)
    token = AdminToken.of(text)
    home.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token.digest + "\n")
    draft.replace(path)
    return token, text
