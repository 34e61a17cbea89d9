//! The decision, resource by resource: known → scopes → rate → provider → policy → composition (contract §2, "Order").
//! Each resource is decided alone and for all requested scopes.

use crate::app::Sts;
use crate::directive::Directive;
use crate::error::Failure;
use crate::exchange::{Exchange, Granted};
use crate::external::User;
use crate::narrow::{Ceiling, within_bounds};
use crate::view::ZoneView;
use caracal_domain::decision::{PolicyVerdict, Ruling};
use caracal_domain::id::{EventId, ResourceId};
use caracal_domain::policy_input::{
    ActionInput, ContextInput, PolicyInput, PrincipalInput, ResourceInput, SCHEMA_VERSION, SessionInput,
    SubjectClaims,
};
use caracal_domain::zone::{Application, Manifest, Resource};
use caracal_domain::{Claims, Decision, OAuthCode, Refusal, ResourceIdentifier, ScopeSet, combine};
use std::sync::Arc;
use std::time::Duration;

/// Everything a decision is about.
pub struct Asked<'a> {
    /// The zone.
    pub view: &'a Arc<ZoneView>,
    /// Who asks.
    pub application: &'a Application,
    /// The session that is exchanged; `None` on the way to one.
    pub session: Option<&'a Claims>,
    /// The user a new session is for, if it is not the application itself.
    pub user: Option<&'a User>,
    /// Who acts for the subject.
    pub actor: Option<&'a Claims>,
    /// What that session was limited to.
    pub ceiling: Ceiling,
    /// What every resource is decided for.
    pub scopes: ScopeSet,
    /// The request.
    pub exchange: &'a Exchange,
    /// Whether a gateway asks, for one call of its own.
    pub for_gateway: bool,
}

/// What came of it: at least one resource was granted, or nothing was named.
pub struct Decided {
    /// Allowed.
    pub granted: Vec<Granted>,
    /// Everything, allowed or not, for the ledger.
    pub findings: Vec<Finding>,
}

impl Decided {
    /// The identifiers that were allowed, in the order asked.
    #[must_use]
    pub fn identifiers(&self) -> Vec<ResourceIdentifier> {
        self.granted
            .iter()
            .map(|granted| granted.identifier.clone())
            .collect()
    }
}

/// How one resource was decided.
pub struct Finding {
    /// The record's id.
    pub event_id: EventId,
    /// The identifier asked for.
    pub identifier: ResourceIdentifier,
    /// Why not, if not.
    pub refusal: Option<Refusal>,
    /// What the policies said, if they were asked.
    pub evaluated: Option<Evaluated>,
}

/// What the policies said.
pub struct Evaluated {
    /// The set.
    pub manifest: Arc<Manifest>,
    /// Each policy by itself.
    pub verdicts: Vec<PolicyVerdict>,
    /// All together; `None` when one failed.
    pub ruling: Option<Ruling>,
    /// What they saw.
    pub input: serde_json::Value,
    /// How long they took.
    pub elapsed: Duration,
}

impl Sts {
    /// Decides every named resource.
    ///
    /// # Errors
    /// When nothing is granted: the refusal that came furthest, after recording each. Our own faults.
    pub async fn decide(&self, asked: &Asked<'_>) -> Result<Decided, Failure> {
        let mut decided = Decided {
            granted: Vec::new(),
            findings: Vec::new(),
        };
        let mut retry_after = None;
        for identifier in &asked.exchange.request.resources {
            let event_id = EventId::mint(&*self.clock);
            let (outcome, evaluated) = self.decide_one(asked, identifier).await;
            let refusal = match outcome {
                Ok((resource, directive)) => {
                    decided.granted.push(Granted {
                        identifier: identifier.clone(),
                        resource,
                        event_id,
                        directive,
                    });
                    None
                }
                Err(Failure::Refused(refusal)) => Some(refusal),
                Err(Failure::Wait(refusal, seconds)) => {
                    retry_after = retry_after.max(Some(seconds));
                    Some(refusal)
                }
                Err(fault) => return Err(fault),
            };
            decided.findings.push(Finding {
                event_id,
                identifier: identifier.clone(),
                refusal,
                evaluated,
            });
        }
        match furthest(&decided) {
            Some(refusal) if decided.granted.is_empty() => {
                self.note_denied(asked, &decided);
                let retry_after = retry_after.filter(|_| refusal.code() == OAuthCode::SlowDown);
                Err(Failure::Denied { refusal, retry_after })
            }
            _ => Ok(decided),
        }
    }

    /// The resource `asked` means: by identifier, or by the gateway's address for it.
    #[must_use]
    pub fn resource(&self, view: &ZoneView, asked: &ResourceIdentifier) -> Option<Arc<Resource>> {
        let config = &view.zone.config;
        if let Some(resource) = config.resource(asked) {
            return Some(Arc::clone(resource));
        }
        let alias = asked
            .as_str()
            .strip_prefix(self.gateway_public_url.as_str())?
            .strip_prefix("/r/")?;
        let (zone, id) = alias.split_once('/')?;
        let id: ResourceId = id.trim_end_matches('/').parse().ok()?;
        let same_zone = zone.parse() == Ok(config.id);
        config
            .resources
            .iter()
            .find(|resource| same_zone && resource.id == id)
            .map(Arc::clone)
    }

    async fn decide_one(
        &self,
        asked: &Asked<'_>,
        identifier: &ResourceIdentifier,
    ) -> (
        Result<(Arc<Resource>, Option<Directive>), Failure>,
        Option<Evaluated>,
    ) {
        let (resource, directive) = match self.admit(asked, identifier) {
            Ok(admitted) => admitted,
            Err(failure) => return (Err(failure), None),
        };
        let Some(manifest) = asked.view.zone.config.active.clone() else {
            return (Err(Refusal::NoActivePolicySet.into()), None);
        };
        // Compiled modules may have been evicted; warm, this is one look into a map for each.
        if let Err(failure) = self.zones.load_modules(&manifest).await {
            return (Err(failure), None);
        }
        let evaluated = self.evaluate(asked, identifier, &resource, manifest).await;
        let outcome = ruled(&evaluated)
            .map(|()| (resource, directive))
            .map_err(Failure::from);
        (outcome, Some(evaluated))
    }

    /// Everything before policy.
    fn admit(
        &self,
        asked: &Asked<'_>,
        identifier: &ResourceIdentifier,
    ) -> Result<(Arc<Resource>, Option<Directive>), Failure> {
        let config = &asked.view.zone.config;
        let resource = self
            .resource(asked.view, identifier)
            .ok_or(Refusal::UnknownResource)?;
        within_bounds(&asked.scopes, identifier, &resource, &asked.ceiling)?;
        let key = (config.id, resource.id, asked.application.id);
        self.quotas
            .mint(key, config.mint_rate_per_minute, asked.exchange.now)
            .map_err(|exceeded| Failure::Wait(Refusal::RateLimited, exceeded.retry_after_seconds))?;
        let directive = if asked.for_gateway {
            Some(self.directive(asked.view, identifier, &resource)?)
        } else {
            None
        };
        Ok((resource, directive))
    }

    async fn evaluate(
        &self,
        asked: &Asked<'_>,
        identifier: &ResourceIdentifier,
        resource: &Resource,
        manifest: Arc<Manifest>,
    ) -> Evaluated {
        let input = input(asked, identifier, resource);
        let evaluation = self.engine.evaluate(&manifest, &input).await;
        self.metrics.evaluated(evaluation.elapsed);
        Evaluated {
            ruling: combine(&evaluation.verdicts).ok(),
            manifest,
            verdicts: evaluation.verdicts,
            input: serde_json::to_value(&input).unwrap_or_default(),
            elapsed: evaluation.elapsed,
        }
    }
}

fn ruled(evaluated: &Evaluated) -> Result<(), Refusal> {
    let ruling = combine(&evaluated.verdicts)?;
    match (ruling.decision, ruling.step_up) {
        (Decision::Allow, _) => Ok(()),
        (Decision::Deny, Some(_)) => Err(Refusal::StepUpRequired),
        (Decision::Deny, None) => Err(Refusal::PolicyDeny),
    }
}

/// Of several refusals the one that came furthest along the order of checks tells the caller most.
fn furthest(decided: &Decided) -> Option<Refusal> {
    const ORDER: [OAuthCode; 6] = [
        OAuthCode::InvalidTarget,
        OAuthCode::InvalidScope,
        OAuthCode::SlowDown,
        OAuthCode::TemporarilyUnavailable,
        OAuthCode::AccessDenied,
        OAuthCode::InteractionRequired,
    ];
    let stage = |refusal: &Refusal| ORDER.iter().position(|code| *code == refusal.code());
    decided
        .findings
        .iter()
        .filter_map(|finding| finding.refusal)
        .max_by_key(stage)
}

fn input<'a>(
    asked: &'a Asked<'_>,
    identifier: &'a ResourceIdentifier,
    resource: &'a Resource,
) -> PolicyInput<'a> {
    let exchange = asked.exchange;
    PolicyInput {
        schema_version: SCHEMA_VERSION,
        principal: PrincipalInput::of(asked.application, asked.view.zone.config.id),
        resource: ResourceInput {
            resource_type: "resource",
            id: resource.id,
            identifier,
            scopes: &resource.scopes,
        },
        action: ActionInput {
            id: "TokenExchange",
            method: exchange.request.method.as_deref(),
            path: exchange.request.path.as_deref(),
        },
        session: asked.session.map(|session| SessionInput {
            id: session.sid,
            session_type: session.sub_type,
            subject_id: &session.sub,
            authenticated_at: chrono::DateTime::from_timestamp(session.auth_time.unwrap_or(session.iat), 0)
                .unwrap_or(exchange.now),
        }),
        delegation_edge: None,
        grant: None,
        context: ContextInput {
            actor_claims: asked.actor,
            subject_claims: subject_claims(asked),
            trace_id: exchange.request_id.as_str(),
            session_id: asked.session.map(|session| session.sid),
            agent_session_id: None,
            delegation_edge_id: None,
            challenge_resolved: false,
            challenge: None,
            requested_scopes: &asked.scopes,
            time: exchange.now.into(),
        },
    }
}

/// What was presented as the subject, as its issuer wrote it.
fn subject_claims<'a>(asked: &Asked<'a>) -> Option<SubjectClaims<'a>> {
    let external = asked.user.map(|user| SubjectClaims::External(&user.claims.all));
    asked.session.map(SubjectClaims::Session).or(external)
}
