use super::{compile, compiler};
use caracal_policy::{CompileError, Compiler, Issue, content_sha256};
use std::path::PathBuf;

const GOOD: &str =
    "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if input.principal.id == \"a\"\n";

async fn issues(content: &str) -> Vec<Issue> {
    match compiler().check(content).await {
        Ok(()) => Vec::new(),
        Err(CompileError::Invalid(issues)) => issues,
        Err(CompileError::Unavailable(why)) => panic!("no compiler: {why}"),
    }
}

#[tokio::test]
async fn a_good_policy_has_one_name_everywhere() {
    let (one, two) = (compile(GOOD).await, compile(GOOD).await);
    assert_eq!(one.name, two.name);
    assert_eq!(one.wasm_sha256, two.wasm_sha256);
    assert_ne!(one.name, compile(&format!("{GOOD}\n# more\n")).await.name);
    assert_eq!(one.opa_version, compiler().version().await.expect("a version"));
    assert!(one.wasm.starts_with(b"\0asm"));
    assert_eq!(content_sha256("").len(), 64);
}

#[tokio::test]
async fn a_syntax_error_has_its_place() {
    let issues = issues("package caracal.authz\n\nresult := {\n  \"decision\" \"allow\"\n}\n").await;
    assert_eq!((issues[0].line, issues[0].column > 1), (4, true), "{issues:?}");
    assert!(!issues[0].message.is_empty());
}

#[tokio::test]
async fn a_type_error_has_its_place() {
    let issues = issues("package caracal.authz\n\nresult := {\"decision\": \"allow\"} if {\n\tx\n}\n").await;
    assert_eq!(
        (issues[0].line, issues[0].message.contains("unsafe")),
        (4, true),
        "{issues:?}"
    );
}

#[tokio::test]
async fn what_is_too_deep_or_too_large_to_read_is_the_policy_s_fault() {
    let sum = vec!["1"; 200].join(" + ");
    let brackets = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    for odd in ["1e400", sum.as_str(), brackets.as_str()] {
        let found = issues(&format!(
            "package caracal.authz\n\nx := {odd}\n\nresult := {{\"decision\": \"deny\"}}\n"
        ))
        .await;
        assert_eq!(found.len(), 1, "{odd}: {found:?}");
        assert!(found[0].line >= 1 && found[0].column >= 1);
    }
}

#[tokio::test]
async fn a_wrong_package_and_a_missing_result_are_both_told() {
    let found = issues("package other\n\nallow := true\n").await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].message.contains("caracal.authz") && found[1].message.contains("result"));
    assert!(
        !issues("package caracal.authz.deeper\n\nresult := 1\n")
            .await
            .is_empty()
    );
    assert!(
        !issues("package caracal.authz\n\nresult(x) := x\n")
            .await
            .is_empty()
    );
    assert_eq!(
        issues("package caracal.authz\n\nresult.decision := \"allow\"\n").await,
        []
    );
}

#[tokio::test]
async fn forbidden_builtins_are_refused_by_name() {
    let calls = [
        (
            "http.send",
            "http.send({\"url\": \"http://x\", \"method\": \"get\"})",
        ),
        ("net.lookup_ip_addr", "net.lookup_ip_addr(\"x\")"),
        ("opa.runtime", "opa.runtime()"),
        ("rand.intn", "rand.intn(\"x\", 5)"),
        ("time.now_ns", "time.now_ns()"),
        ("net.cidr_expand", "net.cidr_expand(\"10.0.0.0/8\")"),
        ("io.jwt.decode", "io.jwt.decode(\"x\")"),
        ("regex.split", "regex.split(\"a\", \"bab\")"),
        ("uuid.rfc4122", "uuid.rfc4122(\"x\")"),
        (
            "crypto.x509.parse_certificates",
            "crypto.x509.parse_certificates(\"x\")",
        ),
    ];
    for (name, call) in calls {
        let content =
            format!("package caracal.authz\n\nresult := {{\"decision\": \"allow\"}} if {{\n\t{call}\n}}\n");
        let found = issues(&content).await;
        assert!(
            found.iter().any(|i| i.line == 4 && i.message.contains(name)),
            "{name}: {found:?}"
        );
    }
}

#[tokio::test]
async fn a_builtin_cannot_be_smuggled_in() {
    let with = "package caracal.authz\n\nresult := {\"decision\": \"allow\"} if count(input.a) == 1 with count as http.send\n";
    assert!(!issues(with).await.is_empty());
    let format = "package caracal.authz\n\nresult := {\"decision\": \"deny\", \"diagnostics\": [sprintf(input.format, [1])]}\n";
    assert!(!issues(format).await.is_empty());
}

#[tokio::test]
async fn a_format_that_is_refused_is_pointed_at() {
    let source = r#"package caracal.authz

# sprintf says why
fine := sprintf("%s", [input.a])

result := {"decision": "deny", "diagnostics": [sprintf(FORMAT, [input.b])]}
"#;
    for format in ["\"b is %v\"", "`b is %v`", "\"\\\"b\\\" is %v\""] {
        let found = issues(&source.replace("FORMAT", format)).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].line, found[0].column), (6, 56), "{format}: {found:?}");
        assert!(found[0].message.contains("no %v"), "{found:?}");
    }
}

#[tokio::test]
async fn sizes_are_bounded() {
    assert!(!issues("").await.is_empty());
    let padding = "#".repeat(262_144 - GOOD.len());
    assert_eq!(issues(&format!("{GOOD}{padding}")).await, []);
    assert!(!issues(&format!("{GOOD}{padding}#")).await.is_empty());
}

#[tokio::test]
async fn hostile_sources_are_issues_and_nothing_worse() {
    let deep = format!(
        "package caracal.authz\nresult := {}1{}",
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for content in [
        "\0",
        "\u{feff}",
        "package",
        "{}",
        "result := 1",
        "package caracal.authz\nresult := 1 2",
        &deep,
    ] {
        assert!(!issues(content).await.is_empty());
    }
}

#[tokio::test]
async fn a_missing_compiler_is_unavailable() {
    let missing = Compiler::new(PathBuf::from("/nonexistent/opa"));
    assert!(matches!(
        missing.check(GOOD).await,
        Err(CompileError::Unavailable(_))
    ));
    let broken = Compiler::new(PathBuf::from("/bin/false"));
    assert!(matches!(
        broken.compile(GOOD).await,
        Err(CompileError::Unavailable(_))
    ));
}

#[tokio::test]
async fn waiting_for_a_turn_is_no_part_of_the_time_a_policy_has() {
    use std::os::unix::fs::PermissionsExt;
    let at = tempfile::tempdir().expect("a directory");
    let slow = at.path().join("opa");
    // Four at once, each a second: the last of 48 begins after eleven.
    let script = "#!/bin/sh\ncase $1 in\n  version) echo 'Version: 0.0.0' ;;\n  capabilities) echo '{}' ;;\n  *) sleep 1; exit 1 ;;\nesac\n";
    std::fs::write(&slow, script).expect("written");
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let compiler = Compiler::new(slow);
    let checks = futures::future::join_all((0..24).map(|_| compiler.check(GOOD))).await;
    for checked in checks {
        let Err(CompileError::Unavailable(why)) = checked else {
            panic!("it says nothing that could be read: {checked:?}");
        };
        assert!(!why.contains("did not finish") && !why.contains("wait"), "{why}");
    }
}
