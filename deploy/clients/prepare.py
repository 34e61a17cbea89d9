"""Makes what docs/clients.md and docs/ledger.md assume: a zone with an application that has a secret and one that has a key, an issuer of
users, a resource in front of a real upstream, and an active policy. Prints the programs' environment as shell
assignments.

Arguments: the upstream's URL and the key it wants. The environment is the stack's dev.env.
"""

import json
import os
import shlex
import socket
import sys
import urllib.request

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

API = os.environ["CARACAL_API_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['CARACAL_ADMIN_TOKEN']}", "Content-Type": "application/json"}

REFUNDS = """package caracal.authz

result := {"decision": "deny", "diagnostics": [{"step_up_required": "human_approval"}]} if {
	"refund" in input.context.requested_scopes
	not input.context.challenge_resolved
}
"""


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(API + path, data, HEADERS)) as answer:
        return json.load(answer)


def signing_application(zone):
    """An application that proves itself with a key of its own: its id, and the key as a private JWK."""
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = ({"kid": "2026-11"} | ECAlgorithm.to_jwk(half, as_dict=True) for half in (key, key.public_key()))
    agent = {"name": "signing-agent", "registration_method": "managed", "credential_type": "public-key"}
    agent = ask(f"{zone}/applications", agent | {"jwks": {"keys": [public]}, "traits": ["role:reader"]})
    return agent["id"], json.dumps(private)


def subject_issuer(zone):
    """An issuer of users, which the programs play themselves at a port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    registered = {"issuer": issuer, "jwks_uri": f"{issuer}/jwks.json", "audience": "order-agent"}
    ask(f"{zone}/subject-issuers", registered | {"subject_prefix": "staff|"})
    return issuer


def main():
    upstream, key = sys.argv[1:]
    zone = "/v1/zones/" + ask("/v1/zones", {"name": "Clients"})["id"]
    agent = {"name": "order-agent", "registration_method": "managed", "credential_type": "token"}
    agent = ask(f"{zone}/applications", agent | {"traits": ["role:reader"]})
    provider = {"identifier": "orders-key", "kind": "apikey", "config_json": {"location": "header"}}
    provider = ask(f"{zone}/providers", provider | {"secret_config": {"api_key": key}})
    ask(f"{zone}/resources", {"identifier": "resource://invoices", "scopes": ["read"], "upstream_url": upstream})
    resource = {"identifier": "resource://orders", "scopes": ["read", "write", "refund"], "upstream_url": upstream}
    ask(f"{zone}/resources", resource | {"credential_provider_id": provider["id"]})

    roles = next(t for t in ask("/v1/policy-templates") if t["id"] == "role-based")
    policy = ask(f"{zone}/policies", {"name": "roles", "content": roles["content"]})
    guard = ask(f"{zone}/policies", {"name": "refunds", "content": REFUNDS})
    policy_set = f"{zone}/policy-sets/" + ask(f"{zone}/policy-sets", {"name": "main"})["id"]
    manifest = [{"policy_version_id": one["version"]["id"]} for one in (policy, guard)]
    version = ask(f"{policy_set}/versions", {"manifest": manifest})["id"]
    ask(f"{policy_set}/activate", {"version_id": version})

    signing_id, signing_key = signing_application(zone)
    environment = {
        "ISSUER": os.environ["CARACAL_STS_URL"] + zone.removeprefix("/v1"),
        "GATEWAY": os.environ["CARACAL_GATEWAY_URL"],
        "CLIENT_ID": agent["id"],
        "CLIENT_SECRET": agent["client_secret"],
        "RESOURCE": resource["identifier"],
        "SIGNING_CLIENT_ID": signing_id,
        "SIGNING_JWK": signing_key,
        "IDP": subject_issuer(zone),
        "API": API,
        "ADMIN_TOKEN": os.environ["CARACAL_ADMIN_TOKEN"],
        "ZONE": zone.removeprefix("/v1/zones/"),
    }
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")


main()
