DROP TABLE delegation_edges;
DROP TABLE delegation_graphs;
