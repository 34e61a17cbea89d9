//! The decision, resource by resource: known → scopes → delegation bounds → rate → provider → policy → step-up
//! (contract §2, "Order"). Each resource is decided alone and for all requested scopes; one that is held for a further
//! proof holds the request.

use crate::acting::Acting;
use crate::app::Sts;
use crate::credential::Holder;
use crate::directive::Directive;
use crate::error::Failure;
use crate::evaluate::{Evaluated, Question};
use crate::exchange::{Exchange, Granted};
use crate::external::User;
use crate::naming::Named;
use crate::narrow::{Ceiling, for_mandate, within_bounds};
use crate::shadow::Shadowed;
use crate::step_up::Met;
use crate::view::ZoneView;
use caracal_domain::decision::ChallengeType;
use caracal_domain::id::EventId;
use caracal_domain::zone::{Application, Resource};
use caracal_domain::{Claims, OAuthCode, Refusal, ResourceIdentifier, ScopeSet};
use std::sync::Arc;
use std::time::Duration;

/// Everything a decision is about.
pub struct Asked<'a> {
    /// The zone.
    pub view: &'a Arc<ZoneView>,
    /// Who asks.
    pub application: &'a Application,
    /// As which agent, under which delegation.
    pub acting: Acting,
    /// The session that is exchanged; `None` on the way to one.
    pub session: Option<&'a Claims>,
    /// The user it acts for; `None` for an application acting for itself.
    pub user: Option<&'a str>,
    /// What its issuer says of the user who signs in with this exchange.
    pub signing_in: Option<&'a User>,
    /// Who acts for the subject.
    pub actor: Option<&'a Claims>,
    /// What that session was limited to.
    pub ceiling: Ceiling,
    /// The resources asked for.
    pub named: &'a [Named],
    /// What every resource is decided for.
    pub scopes: ScopeSet,
    /// The challenge that was met for this request.
    pub met: Option<Met>,
    /// The request.
    pub exchange: &'a Exchange,
    /// Whether a gateway asks, for one call of its own.
    pub for_gateway: bool,
}

impl Asked<'_> {
    /// Every scope that was asked for, also what is a scope of nothing.
    #[must_use]
    pub fn requested_scopes(&self) -> Vec<&str> {
        let ours = self.scopes.iter().map(caracal_domain::Scope::as_str);
        let foreign = self.exchange.request.foreign_scopes.iter().map(String::as_str);
        ours.chain(foreign).collect()
    }
}

/// What came of it: at least one resource was granted, or nothing was named.
pub struct Decided {
    /// Allowed.
    pub granted: Vec<Granted>,
    /// Everything, allowed or not, for the ledger.
    pub findings: Vec<Finding>,
    /// What the shadow set is to be asked after the answer.
    pub shadowed: Vec<Shadowed>,
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

    /// Whether only some of what was asked for was granted.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.granted.is_empty() && self.granted.len() < self.findings.len()
    }
}

/// How one resource was decided.
pub struct Finding {
    /// The record's id.
    pub event_id: EventId,
    /// The identifier asked for.
    pub identifier: ResourceIdentifier,
    /// What it is called.
    pub name: ResourceIdentifier,
    /// Why not, if not.
    pub refusal: Option<Refusal>,
    /// What the policies said, if they were asked.
    pub evaluated: Option<Evaluated>,
    /// What passed everything before policy.
    admitted: Option<(Arc<Resource>, Option<Directive>)>,
    /// How far it came.
    stage: Stage,
    retry_after: Option<u32>,
}

/// How far a resource came along the order of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Known,
    Scopes,
    Delegation,
    Rate,
    Provider,
    Policy,
}

/// Where a resource was refused, and why.
type Stopped = (Stage, Failure);

impl Stage {
    fn stops(self, refusal: Refusal) -> Stopped {
        (self, refusal.into())
    }
}

impl Finding {
    /// The proof that policy asks for.
    fn step_up(&self) -> Option<ChallengeType> {
        let held = self.refusal == Some(Refusal::StepUpRequired);
        let ruling = self.evaluated.as_ref()?.ruling.as_ref().ok()?;
        ruling.step_up.filter(|_| held)
    }
}

impl Sts {
    /// Decides every named resource.
    ///
    /// # Errors
    /// When a resource is held for a further proof: the challenge. When nothing is granted: the refusal that came
    /// furthest. Both after recording each finding. Our own faults.
    pub async fn decide(&self, asked: &Asked<'_>) -> Result<Decided, Failure> {
        let mut findings = Vec::with_capacity(asked.named.len());
        for named in asked.named {
            findings.push(self.admit(asked, named).await?);
        }
        self.ask_policies(asked, &mut findings, None).await?;
        if let Some(met) = &asked.met {
            // A proof of another kind than the one asked for now does not count.
            let asked_for = findings.iter().filter_map(Finding::step_up).max();
            if asked_for.is_none_or(|asked_for| asked_for == met.challenge_type) {
                self.ask_policies(asked, &mut findings, Some(met)).await?;
            }
        }
        let shadowed = shadowed(asked, &findings);
        let held = findings.iter().filter_map(Finding::step_up).max();
        let furthest = furthest(&findings);
        if held.is_none() && (furthest.is_none() || findings.iter().any(|finding| finding.refusal.is_none()))
        {
            return Ok(Decided {
                granted: granted(&mut findings),
                findings,
                shadowed,
            });
        }
        let failure = match held {
            Some(challenge_type) => {
                // What would have been allowed is held with the rest.
                for finding in &mut findings {
                    finding.refusal.get_or_insert(Refusal::StepUpRequired);
                }
                Failure::Held(Box::new(self.hold(asked, challenge_type).await?))
            }
            None => denied(asked, furthest.unwrap_or(Refusal::PolicyDeny), &findings),
        };
        self.note_denied(asked, &findings);
        self.shadow.observe(shadowed);
        Err(failure)
    }

    /// Everything before policy.
    async fn admit(&self, asked: &Asked<'_>, named: &Named) -> Result<Finding, Failure> {
        let mut finding = Finding {
            event_id: EventId::mint(&*self.clock),
            identifier: named.asked.clone(),
            name: named.name.clone(),
            refusal: None,
            evaluated: None,
            admitted: None,
            stage: Stage::Policy,
            retry_after: None,
        };
        match self.admissible(asked, named).await {
            Ok(admitted) => finding.admitted = Some(admitted),
            Err((stage, Failure::Refused(refusal))) => {
                (finding.stage, finding.refusal) = (stage, Some(refusal));
            }
            Err((stage, Failure::Wait(refusal, seconds))) => {
                (finding.stage, finding.refusal) = (stage, Some(refusal));
                finding.retry_after = Some(seconds);
            }
            Err((_, fault)) => return Err(fault),
        }
        Ok(finding)
    }

    async fn admissible(
        &self,
        asked: &Asked<'_>,
        named: &Named,
    ) -> Result<(Arc<Resource>, Option<Directive>), Stopped> {
        let config = &asked.view.zone.config;
        let resource = named.resource.as_ref().map(Arc::clone);
        let resource = resource.ok_or_else(|| Stage::Known.stops(Refusal::UnknownResource))?;
        let in_scope = if !asked.exchange.request.foreign_scopes.is_empty() {
            Err(Refusal::ScopeExceedsResource)
        } else if asked.session.is_some() {
            for_mandate(&asked.scopes)
        } else {
            Ok(())
        };
        in_scope
            .and_then(|()| within_bounds(&asked.scopes, &named.name, &resource, &asked.ceiling))
            .map_err(|refusal| Stage::Scopes.stops(refusal))?;
        let method = asked.exchange.request.method.as_deref();
        asked
            .acting
            .within_bounds(&asked.scopes, &named.name, &resource, method)
            .map_err(|refusal| Stage::Delegation.stops(refusal))?;
        let key = (config.id, resource.id, asked.application.id);
        self.quotas
            .mint(key, config.mint_rate_per_minute, asked.exchange.now)
            .map_err(|exceeded| {
                let wait = Failure::Wait(Refusal::RateLimited, exceeded.retry_after_seconds);
                (Stage::Rate, wait)
            })?;
        let directive = if asked.for_gateway {
            let equipped = self.equipped(asked, &named.asked, &resource).await;
            Some(equipped.map_err(|failure| (Stage::Provider, failure))?)
        } else {
            None
        };
        Ok((resource, directive))
    }

    /// Where the call goes, with its credential: a provider that gives none refuses the call here.
    async fn equipped(
        &self,
        asked: &Asked<'_>,
        identifier: &ResourceIdentifier,
        resource: &Resource,
    ) -> Result<Directive, Failure> {
        let mut directive = Directive::of(asked.view, identifier, resource)?;
        let holder = Holder {
            application: asked.application.id,
            user: asked.user,
            rejected: asked.exchange.request.rejected_credential.as_deref(),
            now: asked.exchange.now,
        };
        // On the heap: asking a provider is rare, and every exchange would carry its future.
        directive.credential = Box::pin(self.credential(asked.view, resource, holder)).await?;
        Ok(directive)
    }

    /// Asks the active set about everything that was admitted.
    async fn ask_policies(
        &self,
        asked: &Asked<'_>,
        findings: &mut [Finding],
        met: Option<&Met>,
    ) -> Result<(), Failure> {
        let manifest = asked.view.zone.config.active.as_ref();
        for finding in findings {
            let Some((resource, _)) = &finding.admitted else {
                continue;
            };
            let Some(manifest) = manifest else {
                finding.refusal = Some(Refusal::NoActivePolicySet);
                continue;
            };
            let question = Question {
                asked,
                identifier: &finding.name,
                resource,
                met,
                spent: finding
                    .evaluated
                    .as_ref()
                    .map_or(Duration::ZERO, |earlier| earlier.spent),
            };
            // Compiled modules may have been evicted; warm, this is one look into a map for each.
            let evaluated = match self.zones.load_modules(manifest).await {
                Ok(()) => self.evaluate(question, manifest).await,
                Err(failure) => Err(failure),
            };
            match evaluated {
                Ok(evaluated) => {
                    finding.refusal = evaluated.outcome().err();
                    finding.evaluated = Some(evaluated);
                }
                Err(Failure::Refused(refusal)) => finding.refusal = Some(refusal),
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

/// What the shadow set is to be asked: everything the active set was.
fn shadowed(asked: &Asked<'_>, findings: &[Finding]) -> Vec<Shadowed> {
    let Some(manifest) = asked.view.zone.config.shadow.as_ref() else {
        return Vec::new();
    };
    let asked_of_policy = findings
        .iter()
        .filter_map(|finding| finding.evaluated.as_ref().map(|said| (&finding.name, said)));
    asked_of_policy
        .map(|(name, said)| Shadowed::of(asked, name, said, manifest))
        .collect()
}

fn granted(findings: &mut [Finding]) -> Vec<Granted> {
    let allowed = findings.iter_mut().filter(|finding| finding.refusal.is_none());
    allowed
        .filter_map(|finding| {
            let (resource, directive) = finding.admitted.take()?;
            Some(Granted {
                identifier: finding.identifier.clone(),
                resource,
                event_id: finding.event_id,
                directive,
            })
        })
        .collect()
}

fn denied(asked: &Asked<'_>, refusal: Refusal, findings: &[Finding]) -> Failure {
    let refusal = if refusal == Refusal::ScopeExceedsResource && every_scope_exists(asked) {
        Refusal::NothingGranted
    } else {
        refusal
    };
    let retry_after = findings.iter().filter_map(|finding| finding.retry_after).max();
    let retry_after = retry_after.filter(|_| refusal.code() == OAuthCode::SlowDown);
    Failure::Denied { refusal, retry_after }
}

/// Whether each scope is one of some resource asked for: then it is their combination that nothing has.
fn every_scope_exists(asked: &Asked<'_>) -> bool {
    let mut scopes = asked.scopes.iter();
    let ours = scopes.all(|scope| {
        let mut known = asked.named.iter().filter_map(|named| named.resource.as_ref());
        known.any(|resource| resource.scopes.contains(scope))
    });
    ours && asked.exchange.request.foreign_scopes.is_empty()
}

/// Of several refusals the one that came furthest along the order of checks tells the caller most; of two that came as
/// far, the one of the resource named first.
fn furthest(findings: &[Finding]) -> Option<Refusal> {
    let refused = findings
        .iter()
        .filter_map(|finding| Some((finding.stage, finding.refusal?)));
    refused
        .reduce(|furthest, next| if next.0 > furthest.0 { next } else { furthest })
        .map(|(_, refusal)| refusal)
}
