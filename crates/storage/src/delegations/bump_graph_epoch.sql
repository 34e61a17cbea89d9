INSERT INTO delegation_graphs (zone_id, epoch) VALUES ($1, 1)
ON CONFLICT (zone_id) DO UPDATE SET epoch = delegation_graphs.epoch + 1
RETURNING epoch
