-- compatible with schema 1
-- The keys that an order speaks of. Programs that do not know the column give no such order, and refuse one.

ALTER TABLE orders ADD COLUMN key_ids TEXT NOT NULL DEFAULT '';
