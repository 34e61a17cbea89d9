-- Partitions that were made stay attached; they go with their tables.
DROP FUNCTION caracal_maintain_partitions();
DROP FUNCTION caracal_add_partition(text, text, timestamptz, timestamptz);
