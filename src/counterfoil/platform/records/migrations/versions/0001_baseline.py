"""The first schema: all tables of the first release, as they stand in 0001_baseline.sql."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create all tables."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text("utf-8"))


def downgrade() -> None:
    """Schema changes are additive; there is no way back."""
    raise NotImplementedError
