# Guard: resources.
#
# Denies resources whose identifier does not begin with `resource:`, `https:` or `urn:`; resources with `internal` in their
# host or path, or with an escape that may stand for it, for applications without the trait `network:internal`; and, when
# the gateway asks about one call, paths with a detour (`..`), and paths below `/admin`, or with an escape that may stand for
# it, for applications without the trait `paths:administrative`. Escapes, capitals, parameters (`;…`), blanks and superfluous
# slashes do not hide a path.

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
	"internal" in words
	not "network:internal" in input.principal.traits
}

# An identifier is compared as it is written by whoever forwards calls, so what an escape stands for cannot be told here.
violations contains {"code": "escaped_resource"} if {
	contains(input.resource.identifier, "%")
	not "network:internal" in input.principal.traits
}

# What stands between the marks of a URL, in small letters.
words := split(
	strings.replace_n({".": "/", ":": "/", "@": "/", "?": "/", "#": "/", "\\": "/"}, lower(input.resource.identifier)),
	"/",
)

violations contains {"code": "unclean_path"} if ".." in segments

violations contains {"code": "administrative_path"} if {
	segments[0] == "admin"
	not "paths:administrative" in input.principal.traits
}

# Who decodes twice reads another path than who decodes once.
violations contains {"code": "escaped_path"} if {
	contains(path, "%")
	not "paths:administrative" in input.principal.traits
}

# The path decoded, in small letters, without its query.
path := lower(urlquery.decode(split(input.action.path, "?")[0]))

# What it names, without what means nothing to one server or another.
segments := [segment |
	some part in split(replace(path, "\\", "/"), "/")
	segment := trim(split(split(part, ";")[0], "#")[0], " \t\r\n\u0000")
	not segment in {"", "."}
]
