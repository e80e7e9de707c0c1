"""REST under ``/api/v1``: every declared entity, the commands, and their OpenAPI description."""

from counterfoil.interfaces.http.authentication import AdminToken
from counterfoil.interfaces.rest.app import build_app

__all__ = ["AdminToken", "build_app"]
