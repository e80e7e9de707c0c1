"""The only road to PostgreSQL."""
