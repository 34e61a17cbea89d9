-- The tenancy boundary, and the clock of everything in it.
CREATE SEQUENCE zone_epoch_seq;

CREATE TABLE zones (
  id uuid NOT NULL,
  org_id text NOT NULL CHECK (org_id <> ''),
  name text NOT NULL CHECK (name <> ''),
  slug text NOT NULL CHECK (slug ~ '^[a-z0-9-]+$'),
  dcr_enabled boolean NOT NULL DEFAULT false,
  pkce_required boolean NOT NULL DEFAULT true,
  login_flow text NOT NULL DEFAULT 'default' CHECK (login_flow <> ''),
  is_system boolean NOT NULL DEFAULT false,
  mint_rate_per_minute integer NOT NULL DEFAULT 1000 CHECK (mint_rate_per_minute > 0),
  -- Drawn last in a writing transaction under this row's lock, so epoch order is commit order within the zone.
  epoch bigint NOT NULL DEFAULT nextval('zone_epoch_seq'),
  -- The one before: who stands exactly there can apply a change without reading the zone again.
  previous_epoch bigint NOT NULL DEFAULT 0,
  -- The transaction that drew it: what the slow poll compares with the horizon of its last look.
  changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  -- The ETag; every visible change adds one.
  version bigint NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  archived_at timestamptz,
  CONSTRAINT zones_pkey PRIMARY KEY (id),
  CONSTRAINT zones_epoch_grows CHECK (epoch > previous_epoch),
  CONSTRAINT zones_system_zone_protected CHECK (slug <> 'caracal-sys' OR (is_system AND archived_at IS NULL))
);

CREATE UNIQUE INDEX zones_slug_live ON zones (slug) WHERE archived_at IS NULL;
CREATE INDEX zones_listed ON zones (created_at, id) WHERE archived_at IS NULL;
CREATE INDEX zones_changed ON zones (changed_xid);

GRANT SELECT, INSERT, UPDATE ON zones TO caracal_api;
GRANT SELECT ON zones TO caracal_sts;
-- Revocation by a client (RFC 7009) takes authority away, so the STS draws epochs too.
GRANT UPDATE (epoch, previous_epoch, changed_xid) ON zones TO caracal_sts;
GRANT SELECT (id, slug, epoch, previous_epoch, changed_xid, archived_at) ON zones TO caracal_gateway;
GRANT SELECT (id, slug, is_system, archived_at) ON zones TO caracal_audit;
GRANT USAGE ON SEQUENCE zone_epoch_seq TO caracal_api, caracal_sts;
