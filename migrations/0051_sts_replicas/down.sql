REVOKE DELETE ON activation_loads FROM caracal_sts;
DROP TABLE sts_replicas;
