"""Write the first migration from the declarations. Only until the first release!

From then on a change of a declaration gets a migration of its own.
Run: ``python tools/rewrite_baseline.py``
"""

from pathlib import Path

from sqlalchemy import create_mock_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from counterfoil.bootstrap import CATALOGUE
from counterfoil.platform.records.organisation_schema import MIGRATIONS
from counterfoil.platform.records.schema import build_tables


def baseline_sql() -> str:
    """CREATE TABLE and CREATE INDEX for everything that is declared, targets first."""
    dialect = create_mock_engine("postgresql+psycopg://", lambda *_: None).dialect
    statements: list[str] = []
    for table in build_tables(CATALOGUE).sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements.extend(
            str(CreateIndex(index).compile(dialect=dialect)).strip() for index in indexes
        )
    lines = (line.rstrip() for line in ";\n\n".join(statements).expandtabs(4).splitlines())
    return "\n".join(lines) + ";\n"


if __name__ == "__main__":
    target: Path = MIGRATIONS / "versions" / "0001_baseline.sql"
    target.write_text(baseline_sql(), encoding="utf-8")
    print(f"wrote {target.name}")
