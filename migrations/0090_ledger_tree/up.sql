-- The Merkle tree over a zone's ledger (RFC 6962), so that anyone can prove with public keys only that an event is in it
-- and that a later state only added to an earlier one. Kept are the leaves, every eighth level above them (C2SP
-- tlog-tiles), and with the head the right edge, which is all that appending takes.
ALTER TABLE audit_event_ids ADD COLUMN leaf_hash bytea CHECK (octet_length(leaf_hash) = 32);
UPDATE audit_event_ids i SET leaf_hash = sha256('\x00'::bytea || e.canonical)
  FROM audit_events e WHERE e.zone_id = i.zone_id AND e.seq = i.seq;
ALTER TABLE audit_event_ids ALTER COLUMN leaf_hash SET NOT NULL;

-- NULL: the chain is older than the tree, and the tree is still to be grown from the leaves.
ALTER TABLE audit_heads ADD COLUMN frontier bytea CHECK (octet_length(frontier) % 32 = 0);
UPDATE audit_heads SET frontier = '' WHERE seq = 0;
ALTER TABLE audit_heads ALTER COLUMN frontier SET DEFAULT '';

CREATE TABLE audit_tree_nodes (
  zone_id uuid NOT NULL,
  -- The root of 256^level leaves; the leaves themselves are in audit_event_ids.
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 7),
  position bigint NOT NULL CHECK (position >= 0),
  hash bytea NOT NULL CHECK (octet_length(hash) = 32),
  CONSTRAINT audit_tree_nodes_pkey PRIMARY KEY (zone_id, level, position)
);

-- The ledgers' signing keys, one that signs and those that did. Their private halves are sealed under the system zone's
-- DEK; the public ones are for everybody.
CREATE TABLE ledger_keys (
  id uuid NOT NULL,
  name text NOT NULL CHECK (name <> ''),
  public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
  private_key_id text NOT NULL,
  private_sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  retired_at timestamptz,
  CONSTRAINT ledger_keys_pkey PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ledger_keys_one_active ON ledger_keys ((true)) WHERE retired_at IS NULL;

-- The last checkpoint of each zone. A new one is signed only when it follows from this one.
CREATE TABLE audit_checkpoints (
  zone_id uuid NOT NULL,
  size bigint NOT NULL CHECK (size >= 0),
  note text NOT NULL CHECK (note <> ''),
  signed_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT audit_checkpoints_pkey PRIMARY KEY (zone_id),
  CONSTRAINT audit_checkpoints_zone FOREIGN KEY (zone_id) REFERENCES zones (id)
);

SELECT caracal_keep_zones_apart('audit_tree_nodes');
SELECT caracal_keep_zones_apart('audit_checkpoints');

GRANT SELECT, INSERT ON audit_tree_nodes TO caracal_audit;
GRANT SELECT ON audit_tree_nodes TO caracal_api;
GRANT SELECT, INSERT ON ledger_keys TO caracal_api;
GRANT SELECT, INSERT, UPDATE ON audit_checkpoints TO caracal_api;
