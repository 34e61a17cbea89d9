use super::{ask, compile, manifest, serve, serve_within};
use caracal_domain::combine;
use caracal_domain::decision::PolicyFault;
use caracal_domain::zone::Manifest;
use caracal_policy::{Allowance, Engine, EngineConfig};
use serde_json::json;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

const ENDLESS: &str = "package caracal.authz

result := {\"decision\": \"allow\"} if {
	some a in numbers.range(1, 4000)
	some b in numbers.range(1, 4000)
	some c in numbers.range(1, 4000)
	a * b * c == -1
}
";

/// The contract's own.
const DEADLINE: Duration = Duration::from_millis(50);

const HUNGRY: &str = "package caracal.authz

result := {\"decision\": \"allow\", \"diagnostics\": [count(numbers.range(1, 9000000))]}
";

fn allows(name: &str) -> String {
    format!(
        "package caracal.authz\n\nresult := {{\"decision\": \"allow\", \"determining_policies\": [\"{name}\"]}}\n"
    )
}

#[tokio::test]
async fn an_endless_policy_hits_the_deadline_and_blocks_nobody() {
    let module = compile(ENDLESS).await;
    // Long enough for the ticking thread to get its turn on a busy machine.
    let deadline = Duration::from_millis(300);
    let config = EngineConfig {
        deadline,
        max_instance_bytes: 1 << 30,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    engine
        .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
        .await
        .expect("loads");
    let (manifest, input, started) = (manifest(&[&module]), json!({}), Instant::now());
    let other_task = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        started.elapsed()
    };
    let asking = async {
        let answer = ask(&engine, &manifest, &input).await;
        (answer, started.elapsed())
    };
    let ((answer, answered), other_done) = tokio::join!(asking, other_task);
    assert_eq!(answer, Err(PolicyFault::Deadline));
    assert!(answered >= deadline, "{answered:?}");
    assert!(answered < Duration::from_secs(2), "{answered:?}");
    assert!(other_done < answered, "the thread was blocked: {other_done:?}");
    assert_eq!(ask(&engine, &manifest, &input).await, Err(PolicyFault::Deadline));
}

#[tokio::test]
async fn one_deadline_holds_for_all_policies_of_a_decision() {
    let (endless, plain) = (compile(ENDLESS).await, compile(&allows("x")).await);
    // With memory to spare, so that time is what it runs out of.
    let config = EngineConfig {
        deadline: DEADLINE,
        max_instance_bytes: 1 << 30,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    for module in [&plain, &endless] {
        let loaded = engine
            .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
            .await;
        loaded.expect("loads");
    }
    let manifest = manifest(&[&plain, &endless, &endless, &plain]);
    let evaluation = engine.evaluate(&manifest, &json!({})).await;
    assert_eq!(combine(&evaluation.verdicts), Err(PolicyFault::Deadline));
    assert!(
        evaluation.elapsed < Duration::from_secs(1),
        "{:?}",
        evaluation.elapsed
    );
}

#[tokio::test]
async fn a_hungry_policy_is_refused_memory() {
    let module = compile(HUNGRY).await;
    let config = EngineConfig {
        deadline: Duration::from_secs(5),
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    engine
        .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
        .await
        .expect("loads");
    assert_eq!(
        ask(&engine, &manifest(&[&module]), &json!({})).await,
        Err(PolicyFault::Memory)
    );
}

#[tokio::test]
async fn an_input_beyond_the_memory_is_refused() {
    let module = compile(&allows("x")).await;
    let (engine, manifest) = serve(&[&module]).await;
    let input = json!({ "a": "x".repeat(65 << 20) });
    assert!(ask(&engine, &manifest, &input).await.is_err());
    assert!(ask(&engine, &manifest, &json!({})).await.is_ok());
}

#[tokio::test]
async fn nonsense_and_long_results_are_refused() {
    for nonsense in [
        "result := true",
        "result := \"allow\"",
        "result := {\"decision\": \"allow\", \"diagnostics\": numbers.range(1, 20000)}",
        // What a careless reader takes for an answer by the order of its fields, or for a word.
        "result := [\"allow\"]",
        "result := [\"allow\", \"complete\", [\"x\"], []]",
        "result := {\"allow\"}",
        "result contains \"allow\" if true",
        "result := {\"decision\": {\"allow\": null}}",
        "result := {\"decision\": [\"allow\"]}",
    ] {
        let module = compile(&format!("package caracal.authz\n\n{nonsense}\n")).await;
        let (engine, manifest) = serve(&[&module]).await;
        assert_eq!(
            ask(&engine, &manifest, &json!({})).await,
            Err(PolicyFault::Result),
            "{nonsense}"
        );
    }
}

#[tokio::test]
async fn the_results_of_one_decision_are_bounded_together() {
    let content = "package caracal.authz\n\nresult := {\"decision\": \"allow\", \"diagnostics\": numbers.range(1, 5000)}\n";
    let module = compile(content).await;
    let (engine, two) = serve(&[&module, &module]).await;
    assert!(
        combine(&engine.evaluate(&two, &json!({})).await.verdicts).is_ok(),
        "48 of 64 KiB"
    );
    let three = manifest(&[&module, &module, &module]);
    let verdicts = engine.evaluate(&three, &json!({})).await.verdicts;
    assert_eq!(combine(&verdicts), Err(PolicyFault::Result));
}

#[tokio::test]
async fn an_answer_that_comes_late_is_none() {
    let content =
        "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if sum(numbers.range(1, 3000)) > 1\n";
    let module = compile(content).await;
    // It ends before the first tick, at which it would be stopped, and long after its deadline.
    let (engine, manifest) = serve_within(Duration::from_micros(50), &[&module]).await;
    for _ in 0..5 {
        assert_eq!(
            ask(&engine, &manifest, &json!({})).await,
            Err(PolicyFault::Deadline)
        );
    }
}

#[tokio::test]
async fn a_builtin_that_panics_has_failed() {
    let content = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if time.add_date(0, input.years, 0, 0) > 0\n";
    let module = compile(content).await;
    let (engine, manifest) = serve(&[&module]).await;
    for years in [
        json!(270_000),
        json!(2_147_483_647),
        json!(9_223_372_036_854_775_807_i64),
    ] {
        let input = json!({ "years": years });
        assert_eq!(
            ask(&engine, &manifest, &input).await,
            Err(PolicyFault::Error),
            "{years}"
        );
    }
    assert!(ask(&engine, &manifest, &json!({"years": 1})).await.is_ok());
}

#[tokio::test]
async fn a_policy_that_aborts_errs_and_the_next_question_is_answered() {
    let content = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if semver.compare(input.v, \"1.0.0\") == 0\n";
    let module = compile(content).await;
    let (engine, manifest) = serve(&[&module]).await;
    for _ in 0..3 {
        assert_eq!(
            ask(&engine, &manifest, &json!({"v": "nonsense"})).await,
            Err(PolicyFault::Error)
        );
        assert!(matches!(
            ask(&engine, &manifest, &json!({"v": "1.0.0"})).await,
            Ok(Some(_))
        ));
    }
}

#[tokio::test]
async fn a_zone_has_its_share_of_decisions() {
    let module = compile(ENDLESS).await;
    // With memory to spare, so that time is what it runs out of.
    let config = EngineConfig {
        max_in_flight_per_zone: 1,
        max_instance_bytes: 1 << 30,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    engine
        .load(&module.name, module.wasm.clone(), &module.wasm_sha256)
        .await
        .expect("loads");
    let (own, input) = (manifest(&[&module]), json!({}));
    let (first, second) = tokio::join!(ask(&engine, &own, &input), ask(&engine, &own, &input));
    assert_eq!(
        (first, second),
        (Err(PolicyFault::Deadline), Err(PolicyFault::Busy))
    );
    // What a zone decides is on the zone's account, whichever of its sets is asked.
    let mut another_set = own.clone();
    another_set.policy_set_id = uuid::Uuid::from_u128(9).into();
    let said = tokio::join!(
        decide(&engine, &own, 1, Duration::ZERO),
        decide(&engine, &another_set, 1, Duration::ZERO),
        decide(&engine, &own, 2, Duration::ZERO)
    );
    let (late, busy) = (Some(PolicyFault::Deadline), Some(PolicyFault::Busy));
    assert_eq!(said, (late, busy, late));
}

/// What fails a decision of a zone that has used `spent` of its time before.
async fn decide(engine: &Engine, manifest: &Manifest, zone: u128, spent: Duration) -> Option<PolicyFault> {
    let allowance = Allowance {
        zone: uuid::Uuid::from_u128(zone).into(),
        spent,
    };
    let input = RawValue::from_string("{}".to_owned()).expect("JSON").into();
    let evaluation = engine.decide(manifest, input, allowance).await;
    combine(&evaluation.verdicts).err()
}

#[tokio::test]
async fn what_was_spent_of_the_deadline_before_is_not_there_again() {
    let (endless, plain) = (compile(ENDLESS).await, compile(&allows("x")).await);
    let (engine, _) = serve_within(Duration::from_millis(400), &[&endless, &plain]).await;
    let spent = Duration::from_millis(390);
    let started = Instant::now();
    let late = decide(&engine, &manifest(&[&endless]), 1, spent).await;
    assert_eq!(late, Some(PolicyFault::Deadline));
    assert!(
        started.elapsed() < Duration::from_millis(350),
        "{:?}",
        started.elapsed()
    );
    let used_up = decide(&engine, &manifest(&[&plain]), 1, Duration::from_millis(400)).await;
    assert_eq!(used_up, Some(PolicyFault::Deadline), "however cheap the policy");
    let in_time = decide(&engine, &manifest(&[&plain]), 1, Duration::ZERO).await;
    assert_eq!(in_time, None);
}

/// One thread, as one of those that answer HTTP: what runs wild leaves it at its first tick.
#[tokio::test]
async fn many_endless_policies_take_nothing_of_the_thread_they_were_asked_on() {
    let (endless, plain) = (compile(ENDLESS).await, compile(&allows("x")).await);
    let config = EngineConfig {
        deadline: Duration::from_millis(400),
        max_instance_bytes: 1 << 30,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    for module in [&endless, &plain] {
        let loaded = engine.load(&module.name, module.wasm.clone(), &module.wasm_sha256);
        loaded.await.expect("loads");
    }
    let wild = manifest(&[&endless]);
    let many = futures::future::join_all((0..16).map(|_| decide(&engine, &wild, 1, Duration::ZERO)));
    let cheap = manifest(&[&plain]);
    let other = async {
        let (until, mut count) = (Instant::now() + Duration::from_millis(350), 0);
        while Instant::now() < until {
            assert_eq!(decide(&engine, &cheap, 2, Duration::ZERO).await, None);
            tokio::task::yield_now().await;
            count += 1;
        }
        count
    };
    let (ends, count) = tokio::join!(many, other);
    assert!(
        ends.iter().all(|end| *end == Some(PolicyFault::Deadline)),
        "{ends:?}"
    );
    // Behind 16 that take 2 ms each in turn there would be ten.
    assert!(count > 200, "{count} cheap decisions beside them");
}

/// Of the threads for long policies each zone has its turn, however many decisions another has under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_endless_policies_do_not_cost_a_neighbour_its_deadline() {
    let honest = "package caracal.authz

result := {\"decision\": \"allow\"} if {
	some a in numbers.range(1, 400)
	some b in numbers.range(1, 12)
	a * b == 4800
}
";
    let (endless, honest) = (compile(ENDLESS).await, compile(honest).await);
    let config = EngineConfig {
        deadline: Duration::from_millis(400),
        max_instance_bytes: 1 << 30,
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).expect("an engine");
    for module in [&endless, &honest] {
        let loaded = engine.load(&module.name, module.wasm.clone(), &module.wasm_sha256);
        loaded.await.expect("loads");
    }
    let (wild, own) = (manifest(&[&endless]), manifest(&[&honest]));
    let quiet = engine.evaluate(&own, &json!({})).await.elapsed;
    let flood = futures::future::join_all((0..16).map(|_| async {
        for _ in 0..3 {
            assert_eq!(
                decide(&engine, &wild, 1, Duration::ZERO).await,
                Some(PolicyFault::Deadline)
            );
        }
    }));
    let neighbour = async {
        for _ in 0..20 {
            assert_eq!(
                decide(&engine, &own, 2, Duration::ZERO).await,
                None,
                "takes {quiet:?} when quiet"
            );
        }
    };
    tokio::join!(flood, neighbour);
}

/// What takes long or much in a place where a policy cannot be interrupted, or would like to.
const BOMBS: &[(&str, &str)] = &[
    (
        "a nested repetition",
        "regex.match(`((a{1,500}){1,500}){1,500}`, input.text)",
    ),
    (
        "a backtracker's nightmare",
        "regex.match(`^(a+)+$`, concat(\"\", [input.text, \"b\"]))",
    ),
    (
        "many stars",
        "glob.match(\"**a**a**a**a**a**a**a**b\", [\"/\"], input.text)",
    ),
    (
        "every submatch",
        "count(regex.find_all_string_submatch_n(`(a)(a)(a)`, large, -1)) > 0",
    ),
    ("a digest", "crypto.sha256(large) != \"\""),
    ("a keyed digest", "crypto.hmac.sha512(large, \"k\") != \"\""),
    ("hexadecimal", "hex.encode(large) != \"\""),
    ("an escape", "urlquery.encode(large) != \"\""),
    ("a form", "urlquery.decode_object(large) != {}"),
    ("a format", "sprintf(\"%s%s%s\", [large, large, large]) != \"\""),
    ("a version", "semver.is_valid(large)"),
    ("a duration", "time.parse_duration_ns(large) > 0"),
    ("a unit", "units.parse(large) > 0"),
    ("a date", "time.parse_rfc3339_ns(large) > 0"),
];

#[tokio::test]
async fn bombs_end_soon_after_the_deadline() {
    let input = json!({"text": "a".repeat(4096)});
    for (name, call) in BOMBS {
        let content = format!(
            "package caracal.authz\n\nlarge := concat(\"\", [input.text | some _ in numbers.range(1, 1000)]) if input.text\n\nresult := {{\"decision\": \"allow\"}} if {{\n\t{call}\n}}\n"
        );
        let module = compile(&content).await;
        let (engine, manifest) = serve_within(DEADLINE, &[&module]).await;
        let mut best = Duration::MAX;
        // The best of three: other tests have the processor too.
        for _ in 0..3 {
            let evaluation = engine.evaluate(&manifest, &input).await;
            best = best.min(evaluation.elapsed);
        }
        assert!(best < Duration::from_millis(250), "{name} took {best:?}");
    }
}
