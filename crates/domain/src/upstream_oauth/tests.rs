#![expect(clippy::ok_expect, clippy::needless_pass_by_value, reason = "tests")]
use super::*;
use serde_json::json;

fn settings(extra: Value) -> OauthSettings {
    let mut config = json!({
        "authorization_url": "https://as.example/authorize?tenant=1", "token_url": "https://as.example/token",
        "client_id": "cid",
    });
    for (name, value) in extra.as_object().expect("an object") {
        config[name] = value.clone();
    }
    OauthSettings::read(&config).expect("settings")
}

#[test]
fn the_kind_decides_the_flow_and_oauth2_by_its_endpoints() {
    let (none, url) = (json!({}), json!({"authorization_url": "https://a.example"}));
    assert_eq!(ProviderKind::Oauth2.flow(&none), Flow::ClientCredentials);
    assert_eq!(ProviderKind::Oauth2.flow(&url), Flow::AuthorizationCode);
    assert_eq!(
        ProviderKind::Oauth2AuthorizationCode.flow(&none),
        Flow::AuthorizationCode
    );
    assert_eq!(ProviderKind::Apikey.flow(&none), ProviderKind::ApiKey.flow(&none));
}

#[test]
fn the_authorization_url_has_ours_after_theirs() {
    let url = settings(json!({"authorization_params": {"prompt": "consent"}}))
        .authorization_url("https://api.example/cb", "s", "c", &["a".into(), "b".into()])
        .expect("a URL");
    assert_eq!(
        url.query(),
        Some(
            "tenant=1&prompt=consent&response_type=code&client_id=cid&redirect_uri=https%3A%2F%2Fapi.example%2Fcb\
             &state=s&code_challenge=c&code_challenge_method=S256&scope=a+b"
        )
    );
}

#[test]
fn each_way_of_proving_ourselves() {
    let secrets = OauthSecrets {
        client_secret: Some("sec".into()),
        private_key: None,
    };
    let request = |method: &str, assertion: Option<&str>| {
        settings(json!({"client_auth_method": method})).token_request(
            &Grant::ClientCredentials,
            &secrets,
            assertion.map(str::to_owned),
        )
    };
    let has = |request: &TokenRequest, name: &str| request.form.iter().any(|(field, _)| field == name);
    let basic = request("client_secret_basic", None).ok().expect("a request");
    assert!(basic.basic.is_some() && !has(&basic, "client_id"));
    let post = request("client_secret_post", None).ok().expect("a request");
    assert!(post.basic.is_none() && has(&post, "client_secret"));
    let jwt = request("private_key_jwt", Some("a.b.c")).ok().expect("a request");
    assert!(has(&jwt, "client_assertion") && !has(&jwt, "client_secret"));
    assert_eq!(
        request("private_key_jwt", None).err(),
        Some(NotReady::Missing("private_key"))
    );
    let none = request("none", None).ok().expect("a request");
    assert!(none.basic.is_none() && has(&none, "client_id") && !has(&none, "client_secret"));
}

#[test]
fn a_token_host_off_the_list_is_refused() {
    let listed = |hosts: Value| {
        settings(json!({"allowed_token_hosts": hosts}))
            .token_endpoint()
            .map(drop)
    };
    assert_eq!(listed(json!(["as.example"])), Ok(()));
    assert_eq!(listed(json!(["AS.example:443"])), Ok(()));
    assert_eq!(
        listed(json!(["other.example"])),
        Err(NotReady::TokenHostNotAllowed)
    );
    assert_eq!(listed(json!([])), Ok(()));
}

#[test]
fn only_usable_tokens_are_taken() {
    let parse =
        |value: Value| TokenAnswer::parse(value.to_string().as_bytes()).map(|answer| answer.expires_in);
    assert_eq!(
        parse(json!({"access_token": "t", "token_type": "bearer", "expires_in": "60"})),
        Ok(Some(60))
    );
    assert_eq!(parse(json!({"access_token": "t"})), Ok(None));
    for bad in [
        json!({}),
        json!({"access_token": ""}),
        json!({"access_token": "a b"}),
        json!({"access_token": "t\r\nX: y"}),
        json!({"access_token": "t", "token_type": "DPoP"}),
        json!({"access_token": "x".repeat(20_000)}),
    ] {
        assert_eq!(parse(bad), Err(UnusableAnswer));
    }
    assert_eq!(
        token_error(b"{\"error\":\"invalid_client\"}").as_deref(),
        Some("invalid_client")
    );
    assert_eq!(token_error(b"{\"error\":\"<script>\"}"), None);
}

#[test]
fn a_document_of_another_issuer_is_refused() {
    let document = json!({"issuer": "https://a.example", "authorization_endpoint": "https://a.example/a",
        "token_endpoint": "https://a.example/t"});
    let text = document.to_string();
    assert!(Discovery::parse(text.as_bytes(), "https://a.example/").is_ok());
    assert!(Discovery::parse(text.as_bytes(), "https://b.example").is_err());
    assert!(Discovery::parse(b"[]", "https://a.example").is_err());
}
