package caracal.authz

result := {"decision": "allow", "determining_policies": ["graph"]} if {
	edges := {"reader": {"writer"}, "writer": {"admin"}, "admin": set()}
	reach := graph.reachable(edges, {trim_prefix(t, "role:") | some t in input.principal.traits})
	"admin" in reach
}
