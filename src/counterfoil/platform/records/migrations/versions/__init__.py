"""The migrations, in order; not imported but loaded by Alembic."""
