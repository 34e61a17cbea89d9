# Guard: session state.
#
# Denies sessions whose subject proved itself more than twelve hours ago or, by more than a minute, in the future, and
# sessions of an application other than the acting one. On the way to a session there is none yet; that passes.

package caracal.authz

result := {
	"decision": "deny",
	"evaluation_status": "complete",
	"determining_policies": ["baseline-session-state"],
	"diagnostics": [violation | some violation in violations],
} if {
	count(violations) > 0
}

session := input.session if is_object(input.session)

proved := session.authenticated_at

now := input.context.time.rfc3339

# Both are nanoseconds, as the builtin gives them. It is the dearest thing here, so it is left to what is not plainly of
# today.
age := (input.context.time.unix * 1000000000) - time.parse_rfc3339_ns(proved) if not of_today

# Times of one spelling, in UTC, stand in the order of their letters.
of_today if {
	endswith(proved, "Z")
	count(proved) == count(now)
	proved <= now
	proved >= concat("", [substring(now, 0, 11), twelve_before, substring(now, 13, -1)])
}

# The hour twelve hours before this one, while that is the same day.
twelve_before := object.get(
	{
		"12": "00", "13": "01", "14": "02", "15": "03", "16": "04", "17": "05",
		"18": "06", "19": "07", "20": "08", "21": "09", "22": "10", "23": "11",
	},
	substring(now, 11, 2), "00",
)

violations contains {"code": "session_too_old", "most_seconds": 43200} if age > 43200000000000

violations contains {"code": "session_from_the_future"} if age < -60000000000

violations contains {"code": "session_of_another"} if {
	session.type == "application"
	session.subject_id != input.principal.id
}

violations contains {"code": "session_without_subject"} if session.subject_id == ""
