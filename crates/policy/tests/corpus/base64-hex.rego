package caracal.authz

result := {"decision": "allow", "diagnostics": [base64.encode(input.text), base64url.encode(input.text), hex.encode(input.text), crypto.sha256(input.text)]} if {
	input.text != ""
	base64.is_valid(base64.encode(input.text))
}
