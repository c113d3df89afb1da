"""Seals of rows; their tally; whether times are in doubt; which calibration decides."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SEALED = ("collections", "persons", "person_keys", "consents", "templates", "crops", "writes")


def upgrade() -> None:
    """The columns; what they hold needs the key, see `migrate.seal`."""
    op.add_column("gallery", sa.Column("doubted_since", ID, nullable=True))
    op.add_column("gallery", sa.Column("sealed_tally", sa.LargeBinary(), nullable=True))
    op.add_column("gallery", sa.Column("restored_seq", ID, nullable=True))
    op.add_column("collections", sa.Column("calibration_digest", sa.String(length=64), nullable=True))
    for table in SEALED:
        op.add_column(table, sa.Column("mac", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("an older version would write rows without seals")
