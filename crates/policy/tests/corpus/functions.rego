package caracal.authz

verb(s) := v if {
	ws := split(s, ":")
	v := ws[count(ws) - 1]
}

allowed("read", _) if true

allowed("write", p) if "role:writer" in p.traits

allowed(v, p) if {
	some t in p.traits
	t == concat(":", ["verb", v])
}

result := {"decision": "allow", "determining_policies": ["functions"]} if {
	every s in input.context.requested_scopes {
		allowed(verb(s), input.principal)
	}
}
