-- Whatever is shown of a zone moves its version on: clients compare it, and lists are answered from memory by it. The
-- services do so themselves; who writes by hand need not remember.
CREATE FUNCTION caracal_move_zone_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.version := OLD.version + 1;
  RETURN NEW;
END $$;

-- Not asked by what draws an epoch, which is most of what is written to a zone.
CREATE TRIGGER zones_version BEFORE UPDATE
  OF org_id, name, slug, dcr_enabled, pkce_required, login_flow, is_system, mint_rate_per_minute, created_at, updated_at
  ON zones FOR EACH ROW WHEN (NEW.version = OLD.version) EXECUTE FUNCTION caracal_move_zone_version();
