-- KEK (outside) -> one data-encryption key per zone -> signing keys and secrets. Only ciphertext is stored.
CREATE TABLE zone_deks (
  zone_id uuid NOT NULL REFERENCES zones (id),
  generation integer NOT NULL CHECK (generation > 0),
  kek_id text NOT NULL CHECK (kek_id <> ''),
  sealed bytea NOT NULL CHECK (octet_length(sealed) > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT zone_deks_pkey PRIMARY KEY (zone_id, generation)
);

CREATE TABLE signing_keys (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  status text NOT NULL CHECK (status IN ('next', 'active', 'retiring', 'retired')),
  -- An uncompressed P-256 point.
  public_point bytea NOT NULL CHECK (octet_length(public_point) = 65),
  private_key_id text NOT NULL CHECK (private_key_id <> ''),
  private_sealed bytea NOT NULL CHECK (octet_length(private_sealed) > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  activates_at timestamptz,
  retires_at timestamptz,
  CONSTRAINT signing_keys_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT signing_keys_life CHECK (
    (status = 'next' OR activates_at IS NOT NULL) AND ((status IN ('retiring', 'retired')) = (retires_at IS NOT NULL))
  )
);

CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (zone_id) WHERE status = 'active';
CREATE UNIQUE INDEX signing_keys_one_next ON signing_keys (zone_id) WHERE status = 'next';

GRANT SELECT, INSERT, UPDATE ON zone_deks, signing_keys TO caracal_api;
GRANT SELECT ON zone_deks, signing_keys TO caracal_sts;
