//! How the verdicts of a zone's policies become one ruling. Every policy is evaluated by itself; an error anywhere
//! fails closed, an explicit deny beats any allow, otherwise one allow allows, otherwise deny (as Cedar composes).

use crate::id::PolicyVersionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;

/// What a policy set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "Cow<'_, str>")]
pub enum Decision {
    /// Authority may be issued.
    Allow,
    /// It may not.
    Deny,
}

/// The text is none of the words it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of the words it may be")]
pub struct UnknownWord;

// Read from a text only: what serde derives for an enum also takes `{"allow": null}`.
impl TryFrom<Cow<'_, str>> for Decision {
    type Error = UnknownWord;

    fn try_from(word: Cow<'_, str>) -> Result<Self, UnknownWord> {
        match &*word {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err(UnknownWord),
        }
    }
}

/// Why a policy could not answer. Each one refuses the request (contract §2, `temporarily_unavailable`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum PolicyFault {
    /// It aborted, or its module cannot be loaded.
    #[error("policy_error")]
    Error,
    /// It ran past the deadline of the decision.
    #[error("policy_deadline")]
    Deadline,
    /// It asked for more memory than it may have.
    #[error("policy_memory")]
    Memory,
    /// It handed more to a builtin of the host than such a one takes.
    #[error("policy_builtin_input")]
    BuiltinInput,
    /// Its result is not of the agreed shape, or too large.
    #[error("policy_result")]
    Result,
    /// The zone's share of evaluation threads is taken.
    #[error("policy_busy")]
    Busy,
}

/// A proof a principal must give before it may go on. Ordered: of several, the greatest is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "Cow<'_, str>")]
pub enum ChallengeType {
    /// A proof of the software that runs.
    SoftwareAttestation,
    /// A second factor.
    Mfa,
    /// A person's approval.
    HumanApproval,
}

impl ChallengeType {
    /// The name stored and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SoftwareAttestation => "software_attestation",
            Self::Mfa => "mfa",
            Self::HumanApproval => "human_approval",
        }
    }
}

impl TryFrom<Cow<'_, str>> for ChallengeType {
    type Error = UnknownWord;

    fn try_from(word: Cow<'_, str>) -> Result<Self, UnknownWord> {
        let all = [Self::SoftwareAttestation, Self::Mfa, Self::HumanApproval];
        let named = all.into_iter().find(|known| known.as_str() == word);
        named.ok_or(UnknownWord)
    }
}

/// What one policy answered: `data.caracal.authz.result`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyAnswer {
    /// Allow or deny.
    pub decision: Decision,
    /// The rule's own word for how it came to it.
    #[serde(default = "complete")]
    pub evaluation_status: String,
    /// Names of what decided, as the policy gives them.
    #[serde(default)]
    pub determining_policies: Vec<Value>,
    /// Explanations, as the policy gives them.
    #[serde(default)]
    pub diagnostics: Vec<Value>,
}

const COMPLETE: &str = "complete";

fn complete() -> String {
    COMPLETE.to_owned()
}

impl PolicyAnswer {
    /// Nobody allows what they could not evaluate.
    fn meant(&self) -> Result<&Self, PolicyFault> {
        if self.evaluation_status == COMPLETE {
            Ok(self)
        } else {
            Err(PolicyFault::Result)
        }
    }

    fn has_opinion(&self) -> bool {
        self.decision == Decision::Allow
            || !self.determining_policies.is_empty()
            || !self.diagnostics.is_empty()
    }

    fn step_up(&self) -> Option<ChallengeType> {
        self.diagnostics
            .iter()
            .filter_map(|d| ChallengeType::deserialize(d.get("step_up_required")?).ok())
            .max()
    }
}

/// One policy version's answer; `None` when its `result` is undefined, which is no opinion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVerdict {
    /// Who answered.
    pub policy_version_id: PolicyVersionId,
    /// What it said.
    pub answer: Result<Option<PolicyAnswer>, PolicyFault>,
}

/// What the set as a whole says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Allow or deny.
    pub decision: Decision,
    /// Everything the deciding policies named.
    pub determining_policies: Vec<Value>,
    /// Everything the deciding policies explained.
    pub diagnostics: Vec<Value>,
    /// On a deny that a proof would lift: which.
    pub step_up: Option<ChallengeType>,
}

/// Combines the verdicts of every policy in a set.
///
/// # Errors
/// The first [`PolicyFault`] in the set's order: an error anywhere refuses, and so does an allow whose policy says itself
/// that its evaluation was not `complete`.
pub fn combine(verdicts: &[PolicyVerdict]) -> Result<Ruling, PolicyFault> {
    let mut denies = Vec::new();
    let mut allows = Vec::new();
    for verdict in verdicts {
        match verdict.answer.as_ref().map_err(|fault| *fault)? {
            Some(answer) if answer.decision == Decision::Allow => allows.push(answer.meant()?),
            Some(answer) if answer.has_opinion() => denies.push(answer),
            Some(_) | None => {}
        }
    }
    let liftable = !denies.is_empty() && denies.iter().all(|deny| deny.step_up().is_some());
    let step_up = denies
        .iter()
        .filter_map(|deny| deny.step_up())
        .max()
        .filter(|_| liftable);
    let (decision, deciding) = if denies.is_empty() && !allows.is_empty() {
        (Decision::Allow, allows)
    } else {
        (Decision::Deny, denies)
    };
    Ok(Ruling {
        decision,
        determining_policies: deciding
            .iter()
            .flat_map(|a| a.determining_policies.iter().cloned())
            .collect(),
        diagnostics: deciding
            .iter()
            .flat_map(|a| a.diagnostics.iter().cloned())
            .collect(),
        step_up,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn verdict(answer: Result<Option<PolicyAnswer>, PolicyFault>) -> PolicyVerdict {
        PolicyVerdict {
            policy_version_id: PolicyVersionId::from(uuid::Uuid::nil()),
            answer,
        }
    }

    fn answer(decision: Decision, determining: &[&str], diagnostics: Vec<Value>) -> PolicyAnswer {
        PolicyAnswer {
            decision,
            evaluation_status: complete(),
            determining_policies: determining.iter().map(|d| json!(d)).collect(),
            diagnostics,
        }
    }

    fn any_verdict() -> impl Strategy<Value = PolicyVerdict> {
        prop_oneof![
            Just(verdict(Ok(None))),
            Just(verdict(Ok(Some(answer(Decision::Deny, &[], vec![]))))),
            Just(verdict(Ok(Some(answer(Decision::Deny, &["guard"], vec![]))))),
            Just(verdict(Ok(Some(answer(
                Decision::Deny,
                &[],
                vec![json!({"step_up_required": "mfa"})]
            ))))),
            Just(verdict(Ok(Some(answer(Decision::Allow, &["rbac"], vec![]))))),
            Just(verdict(Err(PolicyFault::Deadline))),
        ]
    }

    proptest! {
        #[test]
        fn allow_needs_an_allow_and_nothing_against_it(verdicts in proptest::collection::vec(any_verdict(), 0..6)) {
            let faulty = verdicts.iter().any(|v| v.answer.is_err());
            let said = |want: Decision| verdicts.iter().any(|v| matches!(&v.answer, Ok(Some(a)) if a.decision == want && a.has_opinion()));
            match combine(&verdicts) {
                Err(_) => prop_assert!(faulty),
                Ok(ruling) => {
                    prop_assert!(!faulty);
                    prop_assert_eq!(ruling.decision == Decision::Allow, said(Decision::Allow) && !said(Decision::Deny));
                }
            }
        }

        #[test]
        fn order_never_changes_the_decision(verdicts in proptest::collection::vec(any_verdict(), 0..6)) {
            let mut reversed = verdicts.clone();
            reversed.reverse();
            let decide = |v: &[PolicyVerdict]| combine(v).map(|r| (r.decision, r.step_up)).ok();
            prop_assert_eq!(decide(&verdicts), decide(&reversed));
        }
    }

    #[test]
    fn words_are_texts() {
        let (allow, mfa) = (json!("allow"), json!("mfa"));
        assert_eq!(serde_json::from_value(allow).ok(), Some(Decision::Allow));
        assert_eq!(serde_json::from_value(mfa).ok(), Some(ChallengeType::Mfa));
        for nonsense in [
            json!({"allow": null}),
            json!(["allow"]),
            json!("Allow"),
            json!(0),
            json!({"mfa": null}),
        ] {
            assert!(Decision::deserialize(&nonsense).is_err(), "{nonsense}");
            assert!(ChallengeType::deserialize(&nonsense).is_err(), "{nonsense}");
        }
        let odd = answer(
            Decision::Deny,
            &[],
            vec![json!({"step_up_required": {"mfa": null}})],
        );
        assert_eq!(
            combine(&[verdict(Ok(Some(odd)))]).map(|ruling| ruling.step_up),
            Ok(None)
        );
    }

    #[test]
    fn an_allow_of_an_incomplete_evaluation_allows_nothing() {
        let unsure = |decision| {
            verdict(Ok(Some(PolicyAnswer {
                evaluation_status: "error".to_owned(),
                ..answer(decision, &["a"], vec![])
            })))
        };
        let sure = verdict(Ok(Some(answer(Decision::Allow, &["b"], vec![]))));
        assert_eq!(
            combine(&[sure.clone(), unsure(Decision::Allow)]),
            Err(PolicyFault::Result)
        );
        let denied = combine(&[sure, unsure(Decision::Deny)]);
        assert_eq!(denied.map(|ruling| ruling.decision), Ok(Decision::Deny));
    }

    #[test]
    fn an_empty_set_denies() {
        assert_eq!(combine(&[]).map(|r| r.decision), Ok(Decision::Deny));
    }

    #[test]
    fn a_plain_deny_beats_a_liftable_one_and_the_strongest_proof_is_asked_for() {
        let mfa = verdict(Ok(Some(answer(
            Decision::Deny,
            &[],
            vec![json!({"step_up_required": "mfa"})],
        ))));
        let human = verdict(Ok(Some(answer(
            Decision::Deny,
            &[],
            vec![json!({"step_up_required": "human_approval"})],
        ))));
        let plain = verdict(Ok(Some(answer(Decision::Deny, &["guard"], vec![]))));
        assert_eq!(
            combine(&[mfa.clone(), human.clone()]).map(|r| r.step_up),
            Ok(Some(ChallengeType::HumanApproval))
        );
        assert_eq!(combine(&[mfa, human, plain]).map(|r| r.step_up), Ok(None));
    }
}
