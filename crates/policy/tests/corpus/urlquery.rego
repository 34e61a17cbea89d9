package caracal.authz

# `urlquery.decode` leaves `+` as it is in Wasm, so the text here has no space.
text := replace(input.text, " ", "_")

result := {"decision": "allow", "diagnostics": [urlquery.encode(text)]} if urlquery.decode(urlquery.encode(text)) == text
