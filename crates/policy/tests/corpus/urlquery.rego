package caracal.authz

result := {"decision": "allow", "diagnostics": [urlquery.encode(input.text)]} if urlquery.decode(urlquery.encode(input.text)) == input.text
