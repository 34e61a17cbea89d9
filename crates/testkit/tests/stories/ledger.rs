//! The ledger as a stranger verifies it: with public keys only, and with others' implementations of signed notes (C2SP)
//! and of Merkle tree proofs (RFC 6962), which know nothing of Caracal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use caracal_testkit::stack::Service;
use caracal_testkit::{Answer, Client, Stack, World, eventually};
use serde_json::{Value, json};
use signed_note::{Note, StandardVerifier, VerifierList};
use std::time::Duration;
use tlog_tiles::{Checkpoint, Hash, check_record, check_tree, node_hash, record_hash};

const PATIENCE: Duration = Duration::from_secs(30);
/// More than the 256 leaves above which nodes are kept.
const MANY: u64 = 300;

/// A zone's ledger, seen from outside.
struct Ledger {
    reader: Client,
    keys: Vec<String>,
    zone: String,
}

impl Ledger {
    async fn of(stack: &Stack, zone: &str) -> Self {
        let token = json!({"scope": "zone", "zone_id": zone, "read_only": true});
        let made = stack.admin().post("/v1/admin-tokens", &token).await;
        let public = stack
            .anonymous(Service::Api, 0)
            .get("/.well-known/caracal-ledger-keys")
            .await;
        assert_eq!(public.header("cache-control"), "public, max-age=300");
        let public = public.expect(200);
        Self {
            reader: stack.anonymous(Service::Api, 0).bearer(made.member("token")),
            keys: strings(member(&public, "keys")),
            zone: zone.to_owned(),
        }
    }

    async fn get(&self, below: &str) -> Answer {
        self.reader
            .get(&format!("/v1/zones/{}/ledger/{below}", self.zone))
            .await
    }

    /// The checkpoint, verified.
    async fn checkpoint(&self) -> Checkpoint {
        let answer = self.get("checkpoint").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        self.open(&answer.text)
    }

    fn open(&self, note: &str) -> Checkpoint {
        let note = Note::from_bytes(note.as_bytes()).expect("a note");
        let verifier = |key: &String| -> Box<dyn signed_note::Verifier> {
            Box::new(StandardVerifier::new(key).expect("a verifier key"))
        };
        let known = VerifierList::new(self.keys.iter().map(verifier).collect());
        let (ours, others) = note.verify(&known).expect("signed by a published key");
        assert_eq!((ours.len(), others.len()), (1, 0));
        let checkpoint = Checkpoint::from_bytes(note.text()).expect("a checkpoint");
        let of_zone = format!("/zones/{}", self.zone);
        assert!(checkpoint.origin().ends_with(&of_zone), "{}", checkpoint.origin());
        checkpoint
    }

    /// The checkpoint once the ledger holds so many events.
    async fn grown(&self, size: u64) -> Checkpoint {
        let enough = async || Some(self.checkpoint().await).filter(|now| now.size() >= size);
        eventually("the ledger's growth", PATIENCE, enough).await
    }

    /// The bytes of all entries, and the events' ids, read page by page.
    async fn entries(&self, to: u64) -> (Vec<Vec<u8>>, Vec<String>) {
        let (mut from, mut bytes, mut ids) = (1, vec![], vec![]);
        loop {
            let page = self
                .get(&format!("entries?from={from}&to={to}"))
                .await
                .expect(200);
            for entry in member(&page, "entries").as_array().expect("entries") {
                assert_eq!(member(entry, "seq"), bytes.len() + 1);
                let [id, encoded] = ["id", "bytes"].map(|name| member(entry, name).as_str().expect("a text"));
                let decoded = STANDARD.decode(encoded).expect("base64");
                let event: Value = serde_json::from_slice(&decoded).expect("JSON");
                assert_eq!(
                    (member(&event, "id"), member(&event, "zone_id")),
                    (&json!(id), &json!(self.zone))
                );
                ids.push(id.to_owned());
                bytes.push(decoded);
            }
            match member(&page, "next").as_u64() {
                Some(next) => from = next,
                None => return (bytes, ids),
            }
        }
    }
}

fn member<'a>(object: &'a Value, name: &str) -> &'a Value {
    object.get(name).unwrap_or(&Value::Null)
}

fn strings(array: &Value) -> Vec<String> {
    let items = array.as_array().into_iter().flatten();
    items.filter_map(|item| Some(item.as_str()?.to_owned())).collect()
}

fn hashes(array: &Value) -> Vec<Hash> {
    let parse = |text: &String| Hash::parse_hash(text).expect("a hash");
    strings(array).iter().map(parse).collect()
}

/// The root as RFC 6962 §2.1 defines it.
fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len().next_power_of_two() / 2);
            node_hash(root(left), root(right))
        }
    }
}

async fn happen(world: &World, admin: &Client, count: u64) {
    for n in 0..count {
        let nothing = json!({"identifier": format!("r-{n}"), "scopes": []});
        let answer = admin.post(&world.path("resources"), &nothing).await;
        assert!([201, 400, 409].contains(&answer.status), "{}", answer.text);
    }
}

#[tokio::test]
async fn anyone_verifies_the_ledger_with_public_keys_only() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let ledger = Ledger::of(&stack, &world.zone_id).await;
    happen(&world, &stack.admin(), MANY).await;
    let checkpoint = ledger.grown(MANY).await;
    let (size, top) = (checkpoint.size(), *checkpoint.hash());

    let (bytes, ids) = ledger.entries(size).await;
    assert_eq!(bytes.len(), usize::try_from(size).expect("few"));
    let leaves: Vec<Hash> = bytes.iter().map(|bytes| record_hash(bytes)).collect();
    assert_eq!(root(&leaves), top);

    for at in [0, 1, 255, 256, leaves.len() - 1] {
        let proof = ledger
            .get(&format!("proof/inclusion?id={}", ids[at]))
            .await
            .expect(200);
        let index = u64::try_from(at).expect("few");
        assert_eq!(
            (&proof["id"], &proof["seq"]),
            (&json!(ids[at]), &json!(index + 1))
        );
        assert_eq!(
            (&proof["leaf_index"], &proof["leaf_hash"]),
            (&json!(index), &json!(leaves[at].to_string()))
        );
        let against = ledger.open(proof["checkpoint"].as_str().expect("a note"));
        assert_eq!(
            (&proof["tree_size"], &proof["root_hash"]),
            (&json!(against.size()), &json!(against.hash().to_string()))
        );
        let path = hashes(&proof["audit_path"]);
        check_record(&path, against.size(), *against.hash(), index, leaves[at]).expect("included");
        check_record(
            &path,
            against.size(),
            *against.hash(),
            index,
            leaves[(at + 1) % leaves.len()],
        )
        .expect_err("another event");
    }
    for (from, to) in [
        (1, size),
        (7, 256),
        (255, 257),
        (256, size),
        (size - 1, size),
        (size, size),
    ] {
        let proof = ledger
            .get(&format!("proof/consistency?from={from}&to={to}"))
            .await
            .expect(200);
        assert_eq!((&proof["from"], &proof["to"]), (&json!(from), &json!(to)));
        let root_of = |size: u64| root(&leaves[..usize::try_from(size).expect("few")]);
        check_tree(
            &hashes(&proof["consistency"]),
            to,
            root_of(to),
            from,
            root_of(from),
        )
        .expect("consistent");
    }

    // What was signed before is the beginning of what is signed now.
    happen(&world, &stack.admin(), 3).await;
    let later = ledger.grown(size + 3).await;
    let proof = ledger
        .get(&format!("proof/consistency?from={size}"))
        .await
        .expect(200);
    let latest = ledger.open(proof["checkpoint"].as_str().expect("a note"));
    assert!(latest.size() >= later.size());
    check_tree(
        &hashes(&proof["consistency"]),
        latest.size(),
        *latest.hash(),
        size,
        top,
    )
    .expect("consistent");
}

#[tokio::test]
async fn what_is_not_in_the_ledger_has_no_proof() {
    let stack = Stack::start().await;
    let (mine, other) = (World::new(&stack).await, World::new(&stack).await);
    let ledger = Ledger::of(&stack, &mine.zone_id).await;
    let others = Ledger::of(&stack, &other.zone_id).await;
    let size = ledger.grown(3).await.size();
    others.grown(3).await;
    let (_, foreign) = others.entries(1).await;
    for id in ["0198c0de-0000-7000-8000-000000000000", &foreign[0]] {
        let answer = ledger.get(&format!("proof/inclusion?id={id}")).await;
        assert_eq!((answer.status, answer.member("error")), (404, "event_not_found"));
    }
    let beyond = size + 1_000_000;
    for query in [
        "proof/inclusion".to_owned(),
        "proof/inclusion?id=1".to_owned(),
        "proof/consistency".to_owned(),
        "proof/consistency?from=-1".to_owned(),
        "proof/consistency?from=2&to=1".to_owned(),
        format!("proof/consistency?from=1&to={beyond}"),
        format!("proof/consistency?from={beyond}"),
        format!("proof/consistency?from={}&to={}", u64::MAX, u64::MAX),
        "entries?from=0".to_owned(),
        "entries?from=2&to=1".to_owned(),
        "entries?from=x".to_owned(),
        "entries?from=9223372036854775808".to_owned(),
        "entries?limit=1".to_owned(),
        "checkpoint?size=1".to_owned(),
    ] {
        let answer = ledger.get(&query).await;
        assert_eq!(
            (answer.status, answer.member("error")),
            (400, "invalid_query"),
            "{query}"
        );
    }
    let nothing = ledger.get(&format!("entries?from={beyond}")).await.expect(200);
    assert_eq!(nothing, json!({"entries": [], "next": null}));
    let empty = ledger.get("proof/consistency?from=0&to=2").await.expect(200);
    assert_eq!(empty["consistency"], json!([]));
    let page = ledger.get("entries?from=2&to=2").await.expect(200);
    assert_eq!(
        (page["entries"][0]["seq"].as_u64(), page["next"].as_u64()),
        (Some(2), None)
    );
}

#[tokio::test]
async fn a_ledger_that_was_tampered_with_is_not_signed() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let ledger = Ledger::of(&stack, &world.zone_id).await;
    ledger.grown(3).await;
    // Nothing more happens, and the ledger is as it was last signed.
    let settled = async || {
        let size = ledger.checkpoint().await.size();
        tokio::time::sleep(Duration::from_millis(500)).await;
        (ledger.checkpoint().await.size() == size).then_some(size)
    };
    eventually("quiet", PATIENCE, settled).await;
    let owner = stack.database().connect().await;
    let zone = &world.zone_id;
    let keep = format!(
        "CREATE TABLE heads AS SELECT * FROM audit_heads WHERE zone_id = '{zone}';
         CREATE TABLE notes AS SELECT * FROM audit_checkpoints WHERE zone_id = '{zone}'"
    );
    owner.batch_execute(&keep).await.expect("kept");
    let restore = "UPDATE audit_heads h SET seq = o.seq, hash = o.hash, frontier = o.frontier FROM heads o WHERE h.zone_id = o.zone_id;
         UPDATE audit_checkpoints c SET size = o.size, note = o.note FROM notes o WHERE c.zone_id = o.zone_id";
    let of_zone = format!("WHERE zone_id = '{zone}'");
    for tampering in [
        // Another past of the same length, a shorter one, and one that goes on from another.
        format!(
            "UPDATE audit_heads SET frontier = decode(repeat('ab', octet_length(frontier)), 'hex') {of_zone}"
        ),
        format!("UPDATE audit_heads SET seq = 1, frontier = substr(frontier, 1, 32) {of_zone}"),
        format!(
            "UPDATE audit_heads SET seq = 2 * seq, frontier = decode(repeat('ab', octet_length(frontier)), 'hex') {of_zone}"
        ),
        // A checkpoint that we did not sign, of the past that somebody would like.
        format!(
            "UPDATE audit_checkpoints SET note = replace(note, E'\\n' || size || E'\\n', E'\\n1\\n') {of_zone}"
        ),
    ] {
        owner.batch_execute(&tampering).await.expect("tampered");
        let answer = ledger.get("checkpoint").await;
        assert_eq!(answer.status, 500, "{tampering}: {}", answer.text);
        owner.batch_execute(restore).await.expect("restored");
        ledger.checkpoint().await;
    }
    let answer = ledger.get("checkpoint").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}
