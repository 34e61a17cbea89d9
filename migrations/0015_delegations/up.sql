-- Bounded transfers of authority between agent sessions. Each end names its agent and that agent's application
-- together, so an edge cannot claim an application its agent does not belong to.
CREATE TABLE delegation_graphs (
  zone_id uuid NOT NULL REFERENCES zones (id),
  epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
  CONSTRAINT delegation_graphs_pkey PRIMARY KEY (zone_id)
);

CREATE TABLE delegation_edges (
  zone_id uuid NOT NULL REFERENCES zones (id),
  id uuid NOT NULL,
  source_session_id uuid NOT NULL,
  target_session_id uuid NOT NULL,
  issuer_application_id uuid NOT NULL,
  receiver_application_id uuid NOT NULL,
  resource_id uuid,
  parent_edge_id uuid,
  -- Every edge from the root of the lineage to this one.
  path uuid[] NOT NULL CHECK (cardinality(path) > 0),
  scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
  -- What is in force, inherited bounds included.
  constraints_json jsonb NOT NULL CHECK (jsonb_typeof(constraints_json) = 'object'),
  max_hops integer NOT NULL CHECK (max_hops BETWEEN 1 AND 10),
  edge_version bigint NOT NULL DEFAULT 1,
  graph_epoch bigint NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz,
  revoked_reason text,
  CONSTRAINT delegation_edges_pkey PRIMARY KEY (zone_id, id),
  CONSTRAINT delegation_edges_source FOREIGN KEY (zone_id, source_session_id, issuer_application_id)
    REFERENCES agent_sessions (zone_id, id, application_id),
  CONSTRAINT delegation_edges_target FOREIGN KEY (zone_id, target_session_id, receiver_application_id)
    REFERENCES agent_sessions (zone_id, id, application_id),
  CONSTRAINT delegation_edges_resource FOREIGN KEY (zone_id, resource_id) REFERENCES resources (zone_id, id),
  CONSTRAINT delegation_edges_parent FOREIGN KEY (zone_id, parent_edge_id) REFERENCES delegation_edges (zone_id, id),
  CONSTRAINT delegation_edges_not_self CHECK (source_session_id <> target_session_id),
  CONSTRAINT delegation_edges_path_ends_here CHECK (path[cardinality(path)] = id),
  CONSTRAINT delegation_edges_path_length CHECK ((parent_edge_id IS NULL) = (cardinality(path) = 1))
);

CREATE INDEX delegation_edges_outbound ON delegation_edges (zone_id, source_session_id);
CREATE INDEX delegation_edges_inbound ON delegation_edges (zone_id, target_session_id);
CREATE INDEX delegation_edges_children ON delegation_edges (zone_id, parent_edge_id) WHERE parent_edge_id IS NOT NULL;

GRANT SELECT, UPDATE ON delegation_edges, delegation_graphs TO caracal_api;
GRANT INSERT ON delegation_graphs TO caracal_api;
GRANT SELECT ON delegation_edges, delegation_graphs TO caracal_sts;
