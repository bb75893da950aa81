-- compatible with schema 1
-- How far a rotation came before it was turned back. Programs that do not know the column take it for staged.

ALTER TABLE rotations ADD COLUMN verified_at BIGINT;
