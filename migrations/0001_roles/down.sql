-- The roles stay: other databases of the cluster may use them. Without privileges they can do nothing here.
DROP FUNCTION caracal_refuse_update();

ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;

DO $$
DECLARE
  service text;
BEGIN
  EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
  FOREACH service IN ARRAY ARRAY['caracal_api', 'caracal_sts', 'caracal_gateway', 'caracal_audit', 'caracal_relay'] LOOP
    EXECUTE format('REVOKE ALL ON SCHEMA public FROM %I', service);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM %I', current_database(), service);
  END LOOP;
END $$;
