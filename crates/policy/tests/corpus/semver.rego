package caracal.authz

result := {"decision": "allow", "determining_policies": ["semver"]} if {
	semver.is_valid(input.text)
	semver.compare(input.text, "1.2.0") >= 0
}
