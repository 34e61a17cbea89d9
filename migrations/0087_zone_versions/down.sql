DROP TRIGGER zones_version ON zones;
DROP FUNCTION caracal_move_zone_version();
