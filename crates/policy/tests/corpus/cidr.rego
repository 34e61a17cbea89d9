package caracal.authz

result := {"decision": "allow", "determining_policies": ["cidr"]} if {
	some range in {"10.0.0.0/8", "192.168.0.0/16"}
	net.cidr_contains(range, input.text)
}
