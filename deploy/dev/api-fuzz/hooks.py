"""Makes schemathesis reach beyond the doors: most of its requests get ids of objects that are there, made here.

The environment is the stack's dev.env.
"""

import itertools
import json
import os
import threading
import urllib.request
import uuid

import schemathesis

API = os.environ["CARACAL_API_URL"]
HEADERS = {"Authorization": f"Bearer {os.environ['CARACAL_ADMIN_TOKEN']}", "Content-Type": "application/json"}
REGO = 'package caracal.authz\n\nresult := {"decision": "allow", "determining_policies": ["all"]}\n'
# What ends objects finds one of its own, as long as there are any.
SPARE = 12
# One request in so many stays as it was generated.
UNTOUCHED = 5


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(API + path, data, HEADERS)) as answer:
        return json.load(answer)


class Objects:
    """A zone with one of everything, and spare ones to be ended."""

    def __init__(self):
        self.zone = ask("/v1/zones", {"name": "Fuzzed", "dcr_enabled": True})["id"]
        policy = self.make("policies", name="fuzzed", content=REGO)
        policy_set = self.make("policy-sets", name="fuzzed")
        manifest = {"manifest": [{"policy_version_id": policy["version_id"]}]}
        version = self.make(f"policy-sets/{policy_set['id']}/versions", **manifest)
        self.make(f"policy-sets/{policy_set['id']}/activate", version_id=version["id"])
        one = {
            "applications": self.application("fuzzed"),
            "resources": self.make("resources", identifier="resource://fuzzed", scopes=["read"]),
            "providers": self.provider("fuzzed"),
            "policies": policy,
            "policy-sets": policy_set,
            "grants": None,
            "subject-issuers": self.issuer("fuzzed"),
            "invitations": self.invitation(0),
        }
        one["grants"] = self.grant(one, "fuzzed")
        self.ids = {name: made["id"] for name, made in one.items()}
        self.known = {
            "application_id": self.ids["applications"],
            "resource_id": self.ids["resources"],
            "provider_id": self.ids["providers"],
            "credential_provider_id": self.ids["providers"],
            "policy_version_id": policy["version_id"],
            "version_id": version["id"],
            "zone_id": self.zone,
        }
        self.versions = {"policies": policy["version_id"], "policy-sets": version["id"]}
        self.spare = {
            "applications": [self.application(f"spare {n}")["id"] for n in range(SPARE)],
            "resources": [
                self.make("resources", identifier=f"resource://spare-{n}", scopes=["read"])["id"] for n in range(SPARE)
            ],
            "providers": [self.provider(f"spare-{n}")["id"] for n in range(SPARE)],
            "policy-sets": [self.make("policy-sets", name=f"spare {n}")["id"] for n in range(SPARE)],
            "grants": [self.grant(one, f"spare {n}")["id"] for n in range(SPARE)],
            "invitations": [self.invitation(n)["id"] for n in range(1, SPARE)],
        }
        token = {"scope": "zone", "zone_id": self.zone}
        self.spare["admin-tokens"] = [ask("/v1/admin-tokens", token)["id"] for _ in range(SPARE)]
        self.spare_zones = [ask("/v1/zones", {"name": f"Spare {n}"})["id"] for n in range(SPARE)]
        self.lock = threading.Lock()

    def make(self, collection, **body):
        return ask(f"/v1/zones/{self.zone}/{collection}", body)

    def application(self, name):
        return self.make("applications", name=name, registration_method="managed", credential_type="token")

    def provider(self, identifier):
        secrets = {"secret_config": {"api_key": "k"}}
        return self.make("providers", identifier=identifier, kind="apikey", **secrets)

    def issuer(self, prefix):
        return self.make("subject-issuers", issuer="https://idp.example/", audience="a", subject_prefix=f"{prefix}|")

    def invitation(self, n):
        return self.make("invitations", email=f"user{n}@example.com", role="viewer")

    def grant(self, one, user):
        ids = {"application_id": one["applications"]["id"], "resource_id": one["resources"]["id"]}
        return self.make("grants", user_id=user, scopes=["read"], **ids)

    def take(self, pool):
        with self.lock:
            return pool.pop() if pool else str(uuid.uuid4())


OBJECTS = Objects()
COUNT = itertools.count()


def collection_of(path):
    """The collection that a path's {id} is of."""
    before = path.split("/{id}")[0]
    return before.rsplit("/", 1)[-1]


def name_objects(path, method, parameters):
    if "zone_id" in parameters:
        whole = path == "/v1/zones/{zone_id}" and method == "DELETE"
        parameters["zone_id"] = OBJECTS.take(OBJECTS.spare_zones) if whole else OBJECTS.zone
    if "id" in parameters:
        collection = collection_of(path)
        if method == "DELETE":
            parameters["id"] = OBJECTS.take(OBJECTS.spare.get(collection, []))
        elif collection in OBJECTS.ids:
            parameters["id"] = OBJECTS.ids[collection]
    if "version_id" in parameters:
        parameters["version_id"] = OBJECTS.versions.get(collection_of(path), parameters["version_id"])


def name_in_body(body):
    """Ids that a body names, and a policy that is one, wherever the body has a text for them."""
    if isinstance(body, list):
        for item in body:
            name_in_body(item)
    if not isinstance(body, dict):
        return
    for name, value in body.items():
        if isinstance(value, str) and name in OBJECTS.known:
            body[name] = OBJECTS.known[name]
        elif isinstance(value, str) and name == "content":
            body[name] = f"{REGO}# {len(value)}\n"
        else:
            name_in_body(value)


@schemathesis.hook
def before_call(context, case, kwargs):
    if next(COUNT) % UNTOUCHED == 0:
        return
    if isinstance(case.path_parameters, dict):
        name_objects(case.operation.path, case.method.upper(), case.path_parameters)
    name_in_body(case.body)
