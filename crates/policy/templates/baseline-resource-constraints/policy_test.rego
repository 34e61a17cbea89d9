# Runs cases.json: `opa test templates/base.json templates/<id>/*`. The Wasm host runs the same cases (tests/it).

package caracal.authz_test

import data.caracal.authz

test_every_case if {
	count(data.cases) > 0
	every case in data.cases {
		matches(case, answers(object.union(data.base, object.get(case, "with", {}))))
	}
}

answers(document) := [answer | answer := authz.result with input as document]

matches(case, answers) if {
	case.expect == "none"
	answers == []
}

matches(case, [answer]) if {
	answer.decision == case.expect
	answer.determining_policies != []
	explains(case, answer)
}

explains(case, _) if not case.code

explains(case, answer) if {
	some diagnostic in answer.diagnostics
	diagnostic.code == case.code
}
