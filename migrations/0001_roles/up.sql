-- One role per service, each with no more than it needs; every later migration grants beside the table it makes.
-- Roles belong to the cluster, tables to a database: several databases may migrate at once, so creating tolerates both
-- a role that is there and one that appears meanwhile. Passwords are set by `caracal-migrate`, never here.
DO $$
DECLARE
  service text;
BEGIN
  FOREACH service IN ARRAY ARRAY['caracal_api', 'caracal_sts', 'caracal_gateway', 'caracal_audit', 'caracal_relay'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = service) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I LOGIN', service);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;
      END;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), service);
    EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', service);
  END LOOP;
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- Refuses every change of a row: the body of the triggers on tables whose rows never change.
CREATE FUNCTION caracal_refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % never change', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;
