"""Runs relational statements over Arrow and Parquet with DuckDB."""
