//! Ids in a path: a malformed one is that object's 404 (contract, "Conventions").

use crate::error::ApiError;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use caracal_domain::id::{
    AdminTokenId, AgentSessionId, ApplicationId, ChallengeId, ConnectionId, DelegationEdgeId, GrantId,
    InvitationId, PolicyId, PolicySetId, PolicySetVersionId, PolicyVersionId, ProviderId, ResourceId,
    SessionId, SubjectIssuerId, ZoneId,
};
use std::future::{Ready, ready};
use std::str::FromStr;

/// What an id in a path stands for.
pub trait PathObject: FromStr {
    /// The name of its segment in the pattern, such as `id` in `/v1/zones/{zone_id}/policies/{id}`.
    const SEGMENT: &'static str;
    /// The code of the 404 when there is no such object.
    const NOT_FOUND: &'static str;
}

macro_rules! objects {
    ($($id:ty => $segment:literal, $not_found:literal;)+) => {
        $(impl PathObject for $id {
            const SEGMENT: &'static str = $segment;
            const NOT_FOUND: &'static str = $not_found;
        })+
    };
}

objects! {
    ZoneId => "zone_id", "zone_not_found";
    ApplicationId => "id", "application_not_found";
    ResourceId => "id", "resource_not_found";
    ProviderId => "id", "provider_not_found";
    PolicyId => "id", "policy_not_found";
    PolicyVersionId => "version_id", "policy_version_not_found";
    PolicySetId => "id", "policy_set_not_found";
    PolicySetVersionId => "version_id", "version_not_found";
    GrantId => "id", "grant_not_found";
    SessionId => "id", "session_not_found";
    ConnectionId => "id", "connection_not_found";
    ChallengeId => "id", "challenge_not_found_or_expired";
    SubjectIssuerId => "id", "subject_issuer_not_found";
    InvitationId => "id", "invitation_not_found";
    AdminTokenId => "id", "admin_token_not_found";
    AgentSessionId => "id", "agent_not_found";
    DelegationEdgeId => "id", "delegation_not_found";
}

/// An id taken from the path.
#[derive(Debug, Clone, Copy)]
pub struct PathId<T>(pub T);

impl<T: PathObject> FromRequest for PathId<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request
            .match_info()
            .get(T::SEGMENT)
            .and_then(|text| text.parse().ok());
        ready(found.map(Self).ok_or_else(|| ApiError::not_found(T::NOT_FOUND)))
    }
}
