"""REST under ``/api/v1``: every declared entity, the commands, and their OpenAPI description."""

from counterfoil.interfaces.rest.app import build_app
from counterfoil.platform.access.tokens import AdminToken

__all__ = ["AdminToken", "build_app"]
