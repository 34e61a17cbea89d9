-- A module compiled again, from the same source, by a newer OPA. Policy versions and their modules never change: whoever
-- loads a manifest follows the successor, if there is one.
CREATE TABLE policy_module_successors (
  module text NOT NULL REFERENCES policy_modules (name),
  successor text NOT NULL REFERENCES policy_modules (name),
  compiled_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_module_successors_pkey PRIMARY KEY (module),
  CONSTRAINT policy_module_successors_other CHECK (successor <> module)
);

GRANT SELECT, INSERT, UPDATE ON policy_module_successors TO caracal_api;
GRANT SELECT ON policy_module_successors TO caracal_sts;
