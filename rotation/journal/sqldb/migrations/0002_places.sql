-- compatible with schema 1
-- Whether another policy's target is the same place is asked at every watch.

CREATE INDEX targets_by_place ON targets (place) WHERE place <> '';
