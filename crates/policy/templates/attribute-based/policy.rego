# Attribute-based access control.
#
# An application may use the resources of its own team: the trait `team:payments` matches the resource
# `resource://payments` and everything below `resource://payments/`. Reading needs no more than that; a scope with any
# other verb also needs the trait `clearance:write`. Self-registered applications only read.
#
# To make it yours, change `owns` (which attribute binds an application to a resource) and `cleared` (what else it needs).

package caracal.authz

reading := {"get", "list", "read"}

result := {
	"decision": "allow",
	"evaluation_status": "complete",
	"determining_policies": ["attribute-based"],
	"diagnostics": [],
} if {
	owns
	every scope in input.context.requested_scopes {
		cleared(scope)
	}
}

owns if {
	some trait in input.principal.traits
	startswith(trait, "team:")
	team := substring(trait, 5, -1)
	team != ""
	named(concat("", ["resource://", team]))
}

named(base) if input.resource.identifier == base

named(base) if startswith(input.resource.identifier, concat("", [base, "/"]))

cleared(scope) if verb(scope) in reading

cleared(_) if {
	"clearance:write" in input.principal.traits
	input.principal.registration_method == "managed"
}

verb(scope) := words[count(words) - 1] if {
	words := split(replace(replace(scope, "/", ":"), ".", ":"), ":")
}
