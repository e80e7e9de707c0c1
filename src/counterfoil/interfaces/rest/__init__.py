"""REST under ``/api/v1``: every declared entity, the commands, and their OpenAPI description."""
