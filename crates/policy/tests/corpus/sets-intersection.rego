package caracal.authz

wanted := {s | some s in input.context.requested_scopes}

offered := {s | some s in input.resource.scopes}

result := {"decision": "allow", "diagnostics": [wanted & offered, offered - wanted, wanted | {"x"}]} if {
	count(wanted) > 0
	count(wanted - offered) == 0
}
