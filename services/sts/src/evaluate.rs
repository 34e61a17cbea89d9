//! One question to the zone's policies: the input they see, what each of them says, and what it comes to.

use crate::acting::Delegation;
use crate::app::Sts;
use crate::decide::Asked;
use crate::error::Failure;
use crate::graph::Grant;
use crate::step_up::Met;
use caracal_domain::agent::Agent;
use caracal_domain::decision::{PolicyFault, PolicyVerdict, Ruling};
use caracal_domain::policy_input::{
    ActionInput, ChallengeInput, ContextInput, GrantInput, PolicyInput, PrincipalInput, ResourceInput,
    SCHEMA_VERSION, SessionInput, SubjectClaims,
};
use caracal_domain::zone::{Application, Manifest, Resource};
use caracal_domain::{Decision, Refusal, ResourceIdentifier, combine};
use caracal_policy::Allowance;
use serde_json::value::{RawValue, to_raw_value};
use std::sync::Arc;
use std::time::Duration;

/// What the policies said.
pub struct Evaluated {
    /// The set.
    pub manifest: Arc<Manifest>,
    /// Each policy by itself.
    pub verdicts: Vec<PolicyVerdict>,
    /// All together.
    pub ruling: Result<Ruling, PolicyFault>,
    /// The very text they saw.
    pub input: Arc<RawValue>,
    /// How long they took.
    pub elapsed: Duration,
    /// For a delegated request that they allow: what they said to the root issuer asking for the same.
    pub delegator: Option<Box<Evaluated>>,
    /// What the resource's decision has used of its time, all in all.
    pub spent: Duration,
}

impl Evaluated {
    /// What it comes to.
    ///
    /// # Errors
    /// The refusal it amounts to.
    pub fn outcome(&self) -> Result<(), Refusal> {
        let ruling = self.ruling.as_ref().map_err(|fault| Refusal::from(*fault))?;
        match (ruling.decision, ruling.step_up) {
            (Decision::Deny, Some(_)) => Err(Refusal::StepUpRequired),
            (Decision::Deny, None) => Err(Refusal::PolicyDeny),
            (Decision::Allow, _) => self.delegator_outcome(),
        }
    }

    /// At mint the root issuer must itself be allowed; a proof it would have to give is not given here.
    fn delegator_outcome(&self) -> Result<(), Refusal> {
        let Some(delegator) = &self.delegator else {
            return Ok(());
        };
        match &delegator.ruling {
            Ok(ruling) if ruling.decision == Decision::Allow => Ok(()),
            Ok(_) => Err(Refusal::DelegatorNotAuthorized),
            Err(fault) => Err((*fault).into()),
        }
    }
}

/// One resource that may be asked about.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The request it is part of.
    pub asked: &'a Asked<'a>,
    /// The identifier asked for.
    pub identifier: &'a ResourceIdentifier,
    /// The resource it means.
    pub resource: &'a Resource,
    /// The challenge that was met for this request.
    pub met: Option<&'a Met>,
    /// What the resource's decision has used of its time: one deadline holds for all that is asked about it.
    pub spent: Duration,
}

/// Who the policies are asked about: the caller, or the root issuer of its delegation.
struct Asker<'a> {
    application: &'a Application,
    agent: Option<&'a Agent>,
    delegation: Option<&'a Delegation>,
    grant: Option<Arc<Grant>>,
    is_caller: bool,
}

impl Sts {
    /// Asks the active policies, and once they allow a delegated request, whether they allow it to its root too.
    ///
    /// # Errors
    /// When a grant cannot be read.
    pub async fn evaluate(
        &self,
        question: Question<'_>,
        manifest: &Arc<Manifest>,
    ) -> Result<Evaluated, Failure> {
        let asked = question.asked;
        let caller = Asker {
            application: asked.application,
            agent: asked.acting.agent.as_deref(),
            delegation: asked.acting.delegation.as_ref(),
            grant: self.grant_of(question, asked.application).await?,
            is_caller: true,
        };
        let mut evaluated = self.ask(question, &caller, manifest).await;
        if let Some(delegation) = &asked.acting.delegation
            && evaluated.outcome().is_ok()
        {
            let issuer = Asker {
                application: &delegation.issuer,
                agent: delegation.lineage.agents.get(&delegation.root.source_session_id),
                delegation: None,
                grant: self.grant_of(question, &delegation.issuer).await?,
                is_caller: false,
            };
            let question = Question {
                spent: evaluated.spent,
                ..question
            };
            let delegator = self.ask(question, &issuer, manifest).await;
            evaluated.spent = delegator.spent;
            evaluated.delegator = Some(Box::new(delegator));
        }
        Ok(evaluated)
    }

    /// An application acting for itself has no grant.
    async fn grant_of(
        &self,
        question: Question<'_>,
        application: &Application,
    ) -> Result<Option<Arc<Grant>>, Failure> {
        match question.asked.user {
            Some(user) => {
                self.grant(question.asked.view, application.id, user, question.resource.id)
                    .await
            }
            None => Ok(None),
        }
    }

    async fn ask(&self, question: Question<'_>, asker: &Asker<'_>, manifest: &Arc<Manifest>) -> Evaluated {
        let Ok(input) = to_raw_value(&input(question, asker)) else {
            return unanswered(manifest, question.spent);
        };
        let input: Arc<RawValue> = input.into();
        let allowance = Allowance {
            zone: question.asked.view.zone.config.id,
            spent: question.spent,
        };
        let evaluation = self.engine.decide(manifest, Arc::clone(&input), allowance).await;
        self.metrics.evaluated(evaluation.elapsed);
        Evaluated {
            manifest: Arc::clone(manifest),
            ruling: combine(&evaluation.verdicts),
            verdicts: evaluation.verdicts,
            input,
            elapsed: evaluation.elapsed,
            delegator: None,
            spent: question.spent + evaluation.elapsed,
        }
    }
}

/// An input that cannot be written is a fault like any other: it refuses.
fn unanswered(manifest: &Arc<Manifest>, spent: Duration) -> Evaluated {
    tracing::error!("a policy input cannot be written as JSON");
    Evaluated {
        manifest: Arc::clone(manifest),
        verdicts: Vec::new(),
        ruling: Err(PolicyFault::Error),
        input: RawValue::NULL.to_owned().into(),
        elapsed: Duration::ZERO,
        delegator: None,
        spent,
    }
}

fn input<'a>(question: Question<'a>, asker: &'a Asker<'a>) -> PolicyInput<'a> {
    let (asked, exchange) = (question.asked, question.asked.exchange);
    let session = asked.session.filter(|_| asker.is_caller);
    let grant = asker.grant.as_deref();
    PolicyInput {
        schema_version: SCHEMA_VERSION,
        principal: PrincipalInput::of(asker.application, asked.view.zone.config.id).acting_as(asker.agent),
        resource: ResourceInput {
            resource_type: "resource",
            id: question.resource.id,
            identifier: question.identifier,
            scopes: &question.resource.scopes,
        },
        action: ActionInput {
            id: "TokenExchange",
            method: exchange.request.method.as_deref(),
            path: exchange.request.path.as_deref(),
        },
        session: session.map(|session| SessionInput {
            id: session.sid,
            session_type: session.sub_type,
            subject_id: &session.sub,
            authenticated_at: chrono::DateTime::from_timestamp(session.auth_time.unwrap_or(session.iat), 0)
                .unwrap_or(exchange.now),
        }),
        delegation_edge: asker.delegation.map(|delegation| (&delegation.leaf).into()),
        grant: grant.map(|grant| GrantInput {
            id: grant.id,
            user_id: &grant.user_id,
            scopes: &grant.scopes,
        }),
        context: ContextInput {
            actor_claims: asked.actor.filter(|_| asker.is_caller),
            subject_claims: subject_claims(asked, asker),
            trace_id: exchange.request_id.as_str(),
            session_id: session.map(|session| session.sid),
            agent_session_id: asker.agent.map(|agent| agent.id),
            delegation_edge_id: asker.delegation.map(|delegation| delegation.leaf.id),
            challenge_resolved: question.met.is_some(),
            challenge: question.met.map(|met| ChallengeInput {
                challenge_type: met.challenge_type,
                satisfied_at: met.satisfied_at,
                satisfied_by: &met.satisfied_by,
            }),
            requested_scopes: &asked.scopes,
            time: exchange.now.into(),
        },
    }
}

/// What the caller presented as the subject, as its issuer wrote it.
fn subject_claims<'a>(asked: &'a Asked<'a>, asker: &Asker<'_>) -> Option<SubjectClaims<'a>> {
    let external = asked
        .signing_in
        .map(|user| SubjectClaims::External(&user.claims.all));
    let claims = asked.session.map(SubjectClaims::Session).or(external);
    claims.filter(|_| asker.is_caller)
}
