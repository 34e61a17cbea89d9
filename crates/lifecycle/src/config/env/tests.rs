use super::*;

fn names(env: Env) -> Vec<String> {
    env.finish()
        .err()
        .map(|m| m.0.into_iter().map(|m| m.name).collect())
        .unwrap_or_default()
}

#[test]
fn every_mistake_is_collected_and_no_value_is_shown() {
    let mut env = Env::from_pairs([
        ("PORT", "70000"),
        ("ALLOW", "perhaps"),
        ("LAG", "-1"),
        ("STS_URL", "ftp://x"),
        ("CARACAL_MODE", "staging"),
        ("ZONE_KEK", "hunter2"),
    ]);
    env.or::<u16>("PORT", 1);
    env.flag("ALLOW", false);
    env.millis("LAG", Duration::from_secs(2), Duration::ZERO);
    env.http_url("STS_URL");
    env.keys("ZONE_KEK", str::parse::<String>);
    env.secret("DATABASE_URL");
    env.required::<u16>("MISSING");
    let mistakes = env.finish().unwrap_err();
    let names: Vec<&str> = mistakes.0.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "CARACAL_MODE",
            "PORT",
            "ALLOW",
            "LAG",
            "STS_URL",
            "ZONE_KEK",
            "DATABASE_URL",
            "MISSING"
        ]
    );
    assert!(!mistakes.0.iter().any(|m| m.message.contains("hunter2")));
}

#[test]
fn a_secret_comes_from_its_file_but_never_from_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let mut env = Env::from_pairs([
        ("TOKEN_FILE", path.to_str().unwrap()),
        ("KEY", "a"),
        ("KEY_FILE", "/x"),
        ("GONE_FILE", "/does/not/exist"),
    ]);
    assert_eq!(env.secret("TOKEN").unwrap().expose_secret(), "s3cret");
    assert!(env.secret("KEY").is_none());
    assert!(env.secret("GONE").is_none());
    assert_eq!(names(env), ["KEY", "GONE_FILE"]);
}

#[test]
fn production_wants_https_off_this_machine() {
    let pairs = [
        ("A", "http://sts.example/"),
        ("B", "http://127.0.0.1:8080/"),
        ("C", "https://sts.example"),
    ];
    let mut env = Env::from_pairs(pairs);
    for name in ["A", "B", "C"] {
        env.http_url(name);
    }
    assert_eq!(names(env), ["A"]);
    let mut env = Env::from_pairs(pairs.into_iter().chain([("CARACAL_MODE", "dev")]));
    env.http_url("A");
    assert_eq!(names(env), Vec::<String>::new());
}

#[test]
fn keys_that_cannot_be_read_are_one_mistake() {
    let good = "3b1f0a9d77c25e8846aa91c0d2f6e3b4185c7d29ef0342b6a8d15c9b70e4f3a1";
    let mut env = Env::from_pairs([("A", good), ("B", good), ("C", "abcd")]);
    assert_eq!(env.keys("A", str::parse), Some(good.to_owned()));
    assert_eq!(env.keys("B", |_| Err::<(), _>("is no good")), None);
    assert_eq!(env.keys("C", |_| Err::<(), _>("is no good")), None);
    assert_eq!(names(env), ["B", "C"]);
}

#[test]
fn private_upstreams_need_an_allow_list_in_production() {
    let pairs = [("ALLOW_PRIVATE_UPSTREAMS", "true")];
    let mut env = Env::from_pairs(pairs);
    env.upstreams();
    assert_eq!(names(env), ["ALLOW_PRIVATE_UPSTREAMS"]);
    let listed = pairs
        .into_iter()
        .chain([("UPSTREAM_HOST_ALLOWLIST", "api.internal")]);
    let mut env = Env::from_pairs(listed);
    assert_eq!(env.upstreams(), (true, vec!["api.internal".to_owned()]));
    assert!(env.finish().is_ok());
    let mut env = Env::from_pairs(pairs.into_iter().chain([("CARACAL_MODE", "dev")]));
    assert_eq!(env.upstreams(), (true, Vec::new()));
    assert!(env.finish().is_ok());
}

#[test]
fn a_place_is_a_host_and_a_port() {
    for (text, holds) in [
        ("", true),
        ("127.0.0.1:3000, api:3000,[::1]:9090", true),
        ("api", false),
        (":3000", false),
        ("api:http", false),
        ("http://api", false),
    ] {
        let mut env = Env::from_pairs([("INTERNAL_ADDRESSES", text)]);
        env.places("INTERNAL_ADDRESSES");
        assert_eq!(env.finish().is_ok(), holds, "{text}");
    }
}

#[test]
fn lists_ignore_blanks() {
    let mut env = Env::from_pairs([("HOSTS", " a.example, ,b.example,")]);
    assert_eq!(env.list::<String>("HOSTS"), ["a.example", "b.example"]);
}
