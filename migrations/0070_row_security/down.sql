ALTER TABLE invitations DROP CONSTRAINT invitations_admin_token;
ALTER TABLE invitations ADD CONSTRAINT invitations_admin_token_id_fkey
  FOREIGN KEY (admin_token_id) REFERENCES admin_tokens (id);
ALTER TABLE admin_tokens DROP CONSTRAINT admin_tokens_of_zone;
DROP VIEW audit_ledger;
DO $$
DECLARE
  kept record;
BEGIN
  FOR kept IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_policies WHERE policyname = 'one_zone' LOOP
    EXECUTE format('DROP POLICY one_zone ON %s', kept.name);
    EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', kept.name);
  END LOOP;
END $$;
DROP FUNCTION caracal_keep_zones_apart(regclass, text);
DROP FUNCTION caracal_zone();
