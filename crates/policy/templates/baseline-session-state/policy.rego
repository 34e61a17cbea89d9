# Guard: session state.
#
# Denies sessions whose subject proved itself more than twelve hours ago or, by more than a minute, in the future, and
# sessions of an application other than the acting one. On the way to a session there is none yet; that passes.

package caracal.authz

most_seconds := (12 * 60) * 60

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-session-state"],
	"diagnostics": [violation | some violation in violations],
} if {
	count(violations) > 0
}

session := input.session if is_object(input.session)

# The comparison is in nanoseconds, as the builtin gives them.
age := (input.context.time.unix * 1000000000) - time.parse_rfc3339_ns(session.authenticated_at)

violations contains {"code": "session_too_old", "most_seconds": most_seconds} if age > most_seconds * 1000000000

violations contains {"code": "session_from_the_future"} if age < -60 * 1000000000

violations contains {"code": "session_of_another"} if {
	session.type == "application"
	session.subject_id != input.principal.id
}

violations contains {"code": "session_without_subject"} if session.subject_id == ""
