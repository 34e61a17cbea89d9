//! `POST …/providers/{id}/check`: whether a provider would do its work (contract §1, "provider readiness"). Stores
//! nothing; what it asks outside is asked through the same egress rules as everything else.

use super::dry_run::DryRun;
use crate::actor::{InZone, Read};
use crate::app::Api;
use crate::error::{Failure, Refusal};
use actix_web::HttpResponse;
use actix_web::web::Data;
use caracal_domain::ScopeSet;
use caracal_domain::id::{ApplicationId, ProviderId, ResourceId, ZoneId};
use caracal_domain::upstream_oauth::{ClientAuth, Flow, Grant};
use caracal_domain::zone::ProviderKind;
use caracal_egress::{TokenError, check_url};
use caracal_provider::{OauthProvider, Unasked};
use caracal_storage::providers::ProviderRow;
use caracal_storage::resources::ResourceRow;
use caracal_storage::{Conn, applications, connections, grants, providers, resources};
use caracal_web::{ApiError, OptionalBody, PathId};
use futures::future::join_all;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use validator::Validate;

/// How many of a provider's resources are looked at, and how many of them at once.
const MOST_RESOURCES: i64 = 200;
const AT_ONCE: usize = 32;
/// A code that no server has given out: whoever says `invalid_grant` to it has accepted the client.
const NO_CODE: &str = "caracal-readiness-check";

/// The body of `POST …/providers/{id}/check`.
#[derive(Debug, Default, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckBody {
    /// For whom policy is asked.
    application_id: Option<ApplicationId>,
    /// On whose behalf; also looks for this user's connection.
    #[validate(length(min = 1, max = 512, message = "must be 1 to 512 characters"))]
    user_id: Option<String>,
    /// Only this resource, and the one policy is asked about.
    resource_id: Option<ResourceId>,
    /// What policy is asked for; all of the resource's when absent.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<ScopeSet>,
}

/// Whether a provider would do its work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// `ready` when no check failed.
    #[schema(example = "ready")]
    status: &'static str,
    /// What was looked at.
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Check {
    /// `configuration`, `endpoint`, `credential`, `connection`, `resource` or `policy`.
    name: &'static str,
    /// `passed`, `failed` or `skipped`.
    status: &'static str,
    /// What it was about: a setting, a resource.
    target: String,
    /// What was found.
    detail: String,
}

impl Check {
    fn new(name: &'static str, target: impl Into<String>, outcome: Result<String, String>) -> Self {
        let (status, detail) = match outcome {
            Ok(detail) => ("passed", detail),
            Err(detail) => ("failed", detail),
        };
        Self {
            name,
            status,
            target: target.into(),
            detail,
        }
    }

    fn skipped(name: &'static str, target: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            name,
            status: "skipped",
            target: target.into(),
            detail: why.into(),
        }
    }
}

/// Checks whether a provider would do its work.
///
/// Read-only tokens may.
#[utoipa::path(
    post,
    path = "/v1/zones/{zone_id}/providers/{id}/check",
    request_body = Option<CheckBody>,
    responses(
        (status = 200, description = "What was found, good or bad.", body = Readiness),
        (status = 400, description = "`invalid_body`"),
        (status = 404, description = "`provider_not_found`, `resource_not_found`, `application_not_found`"),
    )
)]
pub(crate) async fn check(
    api: Data<Api>,
    request: InZone<Read, (PathId<ProviderId>, OptionalBody<CheckBody>)>,
) -> Result<HttpResponse, ApiError> {
    let (PathId(id), OptionalBody(body)) = request.rest;
    let checks = api.check_provider(request.zone.id, id, &body).await?;
    let failed = checks.iter().any(|check| check.status == "failed");
    let status = if failed { "not_ready" } else { "ready" };
    Ok(HttpResponse::Ok().json(Readiness { status, checks }))
}

impl Api {
    async fn check_provider(
        &self,
        zone: ZoneId,
        id: ProviderId,
        body: &CheckBody,
    ) -> Result<Vec<Check>, Failure> {
        let mut conn = self.database.acquire(zone).await?;
        let row = providers::find(&mut conn, zone, id)
            .await?
            .ok_or(Refusal::ProviderNotFound)?;
        let (resources, further) = bound(&mut conn, &row, body.resource_id).await?;
        let mut checks = Vec::new();
        if further > 0 {
            let why = format!("{further} more resources are bound; name one as resource_id");
            checks.push(Check::skipped("resource", "", why));
        }
        checks.extend(connection(&mut conn, &row, body).await?);
        let question = question(&mut conn, zone, body).await?;
        let provider = self.oauth_provider(&mut conn, &row).await?;
        // Nothing of the database is held while strangers are asked, or policy.
        drop(conn);
        checks.push(self.check_policy(zone, question).await?);
        let mut found = match provider.flow {
            Flow::ApiKey | Flow::BearerToken => vec![configured_key(&row)],
            Flow::Workload => vec![configured_workload(&row)],
            Flow::AuthorizationCode | Flow::Oidc | Flow::ClientCredentials => {
                self.check_oauth(provider).await
            }
        };
        let looked = resources
            .iter()
            .map(|resource| self.check_resource(&row, resource));
        let looked: Vec<Check> = stream::iter(looked).buffered(AT_ONCE).collect().await;
        found.extend(looked);
        found.append(&mut checks);
        Ok(found)
    }

    async fn check_oauth(&self, provider: OauthProvider) -> Vec<Check> {
        let flow = provider.flow;
        let provider = match self.asker.discovered(provider).await {
            Ok(provider) => provider,
            Err(why) => return vec![Check::new("endpoint", "issuer", Err(told(&why)))],
        };
        let mut checks = vec![configured_oauth(&provider)];
        let named = [
            (
                "authorization_endpoint",
                provider.settings.authorization_endpoint.as_ref(),
            ),
            ("token_endpoint", provider.settings.token_endpoint.as_ref()),
            (
                "revocation_endpoint",
                provider.settings.revocation_endpoint.as_ref(),
            ),
        ];
        let asked = named
            .into_iter()
            .filter_map(|(name, url)| Some((name, url?)))
            .map(|(name, url)| async move { Check::new("endpoint", name, self.reach(url.as_str()).await) });
        checks.extend(join_all(asked).await);
        let settled = checks.iter().all(|check| check.status == "passed");
        checks.push(if settled {
            self.check_credential(&provider, flow).await
        } else {
            Check::skipped("credential", "client", "what it needs is not there")
        });
        checks
    }

    /// Asks for a token in earnest; for authorization code with a code nobody has, which tells whether the client is
    /// accepted before the code is refused (RFC 6749 §5.2).
    async fn check_credential(&self, provider: &OauthProvider, flow: Flow) -> Check {
        if flow == Flow::ClientCredentials {
            let asked = self.asker.token(provider, &Grant::ClientCredentials).await;
            let outcome = asked.map(|_| "a token was given".to_owned());
            return Check::new("credential", "client", outcome.map_err(|why| told(&why)));
        }
        if provider.settings.auth() == ClientAuth::None {
            return Check::skipped("credential", "client", "a public client has none");
        }
        let redirect_uri = self.callback_url();
        let grant = Grant::Code {
            code: NO_CODE,
            verifier: NO_CODE,
            redirect_uri: &redirect_uri,
        };
        match self.asker.token(provider, &grant).await {
            Err(Unasked::Asked(TokenError::Refused {
                error: Some(error), ..
            })) if error == "invalid_grant" => {
                Check::new("credential", "client", Ok("the client is accepted".to_owned()))
            }
            Err(why @ Unasked::Asked(TokenError::Refused { .. })) if refuses_client(&why) => {
                Check::new("credential", "client", Err(told(&why)))
            }
            Err(Unasked::Asked(TokenError::Refused { .. })) | Ok(_) => Check::skipped(
                "credential",
                "client",
                "the server does not say whether it accepts the client",
            ),
            Err(why) => Check::new("credential", "client", Err(told(&why))),
        }
    }

    async fn check_resource(&self, provider: &ProviderRow, resource: &ResourceRow) -> Check {
        let outcome = if resource.credential_provider_id == Some(provider.id) {
            match &resource.upstream_url {
                Some(url) => self.reach(url).await,
                None => Err("it has no upstream_url".to_owned()),
            }
        } else {
            Err("the resource is not bound to this provider".to_owned())
        };
        Check::new("resource", &resource.identifier, outcome)
    }

    /// Any answer will do: the credential is not sent.
    async fn reach(&self, url: &str) -> Result<String, String> {
        check_url(&self.egress, url).map_err(|why| why.to_string())?;
        match self.outside.probe(url).await {
            Ok(status) => Ok(format!("answered {status}")),
            Err(caracal_egress::EgressError::Forbidden(why)) => Err(why.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn check_policy(&self, zone: ZoneId, question: Option<(String, DryRun)>) -> Result<Check, Failure> {
        match question {
            Some((identifier, asked)) => {
                let outcome = self.dry_run(zone, asked).await?;
                Ok(Check::new("policy", identifier, outcome))
            }
            None => Ok(Check::skipped(
                "policy",
                "",
                "needs application_id and resource_id",
            )),
        }
    }
}

/// What to ask policy, and about which resource, if the body says enough.
async fn question(
    conn: &mut Conn,
    zone: ZoneId,
    body: &CheckBody,
) -> Result<Option<(String, DryRun)>, Failure> {
    let Some(application) = body.application_id else {
        return Ok(None);
    };
    let application = applications::find(conn, zone, application)
        .await?
        .ok_or(Refusal::ApplicationNotFound)?;
    let Some(resource) = body.resource_id else {
        return Ok(None);
    };
    let resource = resources::find(conn, zone, resource)
        .await?
        .ok_or(Refusal::ResourceNotFound)?;
    let grant = match &body.user_id {
        Some(user) => grants::find_active(conn, zone, application.id, user, resource.id).await?,
        None => None,
    };
    let (identifier, user, scopes) = (
        resource.identifier.clone(),
        body.user_id.clone(),
        body.scopes.clone(),
    );
    let asked = DryRun::new(application.into(), resource.try_into()?, user, scopes, grant)?;
    Ok(Some((identifier, asked)))
}

/// The resources to look at: the one asked for, which may turn out not to be bound, else those that are; and how many
/// more there are.
async fn bound(
    conn: &mut Conn,
    provider: &ProviderRow,
    wish: Option<ResourceId>,
) -> Result<(Vec<ResourceRow>, i64), Failure> {
    let (zone, provider) = (provider.zone_id, provider.id);
    if let Some(id) = wish {
        let resource = resources::find(conn, zone, id).await?;
        return Ok((vec![resource.ok_or(Refusal::ResourceNotFound)?], 0));
    }
    let rows = resources::of_provider(conn, zone, provider, MOST_RESOURCES).await?;
    let shown = i64::try_from(rows.len()).unwrap_or(MOST_RESOURCES);
    let further = if shown < MOST_RESOURCES {
        0
    } else {
        resources::count_of_provider(conn, zone, provider).await? - shown
    };
    Ok((rows, further))
}

async fn connection(
    conn: &mut Conn,
    provider: &ProviderRow,
    body: &CheckBody,
) -> Result<Option<Check>, Failure> {
    let consented = provider.kind.flow(&provider.config_json).is_consented();
    let (Some(user), Some(resource), true) = (&body.user_id, body.resource_id, consented) else {
        return Ok(None);
    };
    let found = connections::active(conn, provider.zone_id, user, resource, provider.id).await?;
    let outcome = match found {
        Some(row) if row.lapsed_at.is_some() => {
            Err("connection_required: the provider no longer renews the user's connection".to_owned())
        }
        Some(_) => Ok("the user has connected".to_owned()),
        None => Err("connection_required: the user has not connected".to_owned()),
    };
    Ok(Some(Check::new("connection", user, outcome)))
}

fn configured_key(row: &ProviderRow) -> Check {
    let secret = if row.kind == ProviderKind::BearerToken {
        "bearer_token"
    } else {
        "api_key"
    };
    let there = row.secret_config_keys.iter().any(|key| key == secret);
    let outcome = if there {
        Ok("configured".to_owned())
    } else {
        Err("is missing".to_owned())
    };
    Check::new("credential", secret, outcome)
}

fn configured_workload(row: &ProviderRow) -> Check {
    let there = row.config_json.get("audience").is_some();
    let outcome = if there {
        Ok("configured".to_owned())
    } else {
        Err("is missing".to_owned())
    };
    Check::new("configuration", "audience", outcome)
}

fn configured_oauth(provider: &OauthProvider) -> Check {
    let settings = &provider.settings;
    let secret = match settings.auth() {
        ClientAuth::ClientSecretBasic | ClientAuth::ClientSecretPost => provider
            .secrets
            .client_secret
            .is_none()
            .then_some("client_secret"),
        ClientAuth::PrivateKeyJwt => provider.secrets.private_key.is_none().then_some("private_key"),
        ClientAuth::None => None,
    };
    let consents = provider.flow != Flow::ClientCredentials;
    let missing = [
        settings.client_id.is_none().then_some("client_id"),
        (consents && settings.authorization_endpoint.is_none()).then_some("authorization_endpoint"),
        secret,
    ];
    let missing: Vec<&str> = missing.into_iter().flatten().collect();
    let outcome = match (missing.is_empty(), settings.token_endpoint()) {
        (true, Ok(_)) => Ok("complete".to_owned()),
        (true, Err(why)) => Err(why.to_string()),
        (false, _) => Err(format!("missing: {}", missing.join(", "))),
    };
    Check::new("configuration", "oauth", outcome)
}

fn refuses_client(why: &Unasked) -> bool {
    matches!(
        why,
        Unasked::Asked(TokenError::Refused { status, error })
            if *status == 401 || matches!(error.as_deref(), Some("invalid_client" | "unauthorized_client"))
    )
}

/// What went wrong, with what the egress rules say where they are the cause.
fn told(why: &Unasked) -> String {
    let cause = std::error::Error::source(why).map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{why}{cause}")
}
