# Role-based access control.
#
# An application has the role `reader` when its traits hold `role:reader`, and so on. A role permits verbs; the verb of a
# scope is what follows its last `:`, `/` or `.`, so `orders:read` and plain `read` both ask to read. A request is allowed
# when every scope it asks for is permitted by one of the application's roles; otherwise this policy has no opinion, and
# without another policy's allow the request is denied.
#
# To make it yours, change the table.

package caracal.authz

roles := {
	"reader": {"get", "list", "read"},
	"writer": {"create", "get", "list", "read", "update", "write"},
	"admin": {"*"},
}

result := {
	"decision": "allow",
	"evaluation_status": "complete",
	"determining_policies": ["role-based"],
	"diagnostics": [],
} if {
	count(verbs) > 0
	every scope in input.context.requested_scopes {
		permits(scope)
	}
}

# Every verb that one of the application's roles permits.
verbs contains verb if {
	some trait in input.principal.traits
	startswith(trait, "role:")
	some verb in roles[substring(trait, 5, -1)]
}

permits(_) if "*" in verbs

permits(scope) if {
	words := split(replace(replace(scope, "/", ":"), ".", ":"), ":")
	words[count(words) - 1] in verbs
}
