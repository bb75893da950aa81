-- compatible with schema 1

-- The database that the lineage is of; '': not known. A journal that finds itself in another one was restored from a backup.
ALTER TABLE lineage ADD COLUMN database_id TEXT NOT NULL DEFAULT '';
