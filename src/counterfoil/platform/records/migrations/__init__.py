"""Alembic migrations of the system's own tables and columns."""
