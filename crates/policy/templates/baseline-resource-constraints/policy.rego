# Guard: resources.
#
# Denies resources whose identifier does not begin with `resource:`, `https:` or `urn:`; resources with a segment
# `internal` for applications without the trait `network:internal`; and, when the gateway asks about one call, paths below
# `/admin` for applications without the trait `paths:administrative`.

package caracal.authz

schemes := {"https", "resource", "urn"}

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-resource-constraints"],
	"diagnostics": [violation | some violation in violations],
} if {
	count(violations) > 0
}

violations contains {"code": "scheme_not_allowed"} if {
	not split(input.resource.identifier, ":")[0] in schemes
}

violations contains {"code": "internal_resource"} if {
	some segment in split(replace(input.resource.identifier, ".", "/"), "/")
	segment == "internal"
	not "network:internal" in input.principal.traits
}

violations contains {"code": "administrative_path"} if {
	path := lower(input.action.path)
	segments := split(path, "/")
	segments[1] == "admin"
	not "paths:administrative" in input.principal.traits
}
