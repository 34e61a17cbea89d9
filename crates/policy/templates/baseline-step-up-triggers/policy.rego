# Guard: step-up.
#
# Asks for a person's approval before money moves or data is destroyed (verbs `delete`, `refund`, `transfer`), and for a
# second factor before administrative acts (verbs `admin`, `manage`). Once the challenge has been met for this request, it
# passes.

package caracal.authz

proof_for := {
	"delete": "human_approval",
	"refund": "human_approval",
	"transfer": "human_approval",
	"admin": "mfa",
	"manage": "mfa",
}

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-step-up-triggers"],
	"diagnostics": [{"step_up_required": proof} | some proof in proofs],
} if {
	count(proofs) > 0
	not input.context.challenge_resolved == true
}

proofs contains proof if {
	some scope in input.context.requested_scopes
	words := split(replace(replace(scope, "/", ":"), ".", ":"), ":")
	proof := proof_for[words[count(words) - 1]]
}
