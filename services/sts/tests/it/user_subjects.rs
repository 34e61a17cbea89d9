//! Whose user is it? A subject belongs to one issuer, and what one user was allowed is no other user's.

use crate::hands::{Hands, text};
use crate::step_up::asking_for;
use crate::users::Issuer;
use caracal_testkit::world::claims;
use caracal_testkit::{Answer, Stack, World};

fn got(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.member("reason"))
}

fn subject(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    text(&claims(answer.member("access_token")), "sub")
}

#[tokio::test]
async fn where_prefixes_nest_a_subject_belongs_to_the_longest_and_nobody_else_can_be_it() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let mut all = Issuer::register(&stack, &world, "", false).await;
    let mut short = Issuer::register(&stack, &world, "a", false).await;
    let long = Issuer::register(&stack, &world, "ab", false).await;
    (all.epoch, short.epoch) = (long.epoch.clone(), long.epoch.clone());
    let sign_in = async |issuer: &Issuer, sub: &str| {
        let token = issuer.id_token(sub);
        issuer.sign_in(&stack, &world, &token, &[]).await
    };
    assert_eq!(subject(&sign_in(&long, "X").await), "abX");
    assert_eq!(subject(&sign_in(&short, "X").await), "aX");
    assert_eq!(subject(&sign_in(&all, "X").await), "X");
    for (issuer, sub) in [
        (&short, "bX"),
        (&all, "abX"),
        (&all, "aX"),
        (&all, "ab"),
        (&short, "b"),
    ] {
        let answer = sign_in(issuer, sub).await;
        assert_eq!(
            got(&answer),
            (400, "subject_not_allowed"),
            "{sub}: {}",
            answer.text
        );
    }
    assert_eq!(
        subject(&sign_in(&long, "bX").await),
        "abbX",
        "a prefix is not looked for inside"
    );
}

#[tokio::test]
async fn a_proof_given_for_one_users_sign_in_opens_no_session_of_another() {
    let stack = Stack::start().await;
    let mut world = World::new(&stack).await;
    world.adopt(&asking_for("human_approval")).await;
    let issuer = Issuer::register(&stack, &world, "idp|", false).await;
    let wish = [("resource", world.resource.as_str()), ("scope", "orders:read")];
    let held = issuer
        .sign_in(&stack, &world, &issuer.id_token("ada"), &wish)
        .await;
    assert_eq!(got(&held), (401, "step_up_required"), "{}", held.text);
    let (id, secret) = (held.member("challenge_id"), held.member("challenge_secret"));
    let shown = stack
        .admin()
        .get(&world.path(&format!("step-up-challenges/{id}")))
        .await;
    assert!(
        shown.status == 200 && shown.text.contains("idp|ada"),
        "the approver sees for whom: {}",
        shown.text
    );
    assert!(Hands::of(&stack, &world).satisfy(id).await);
    let retry = [
        wish[0],
        wish[1],
        ("challenge_id", id),
        ("challenge_response", secret),
    ];
    let other = issuer
        .sign_in(&stack, &world, &issuer.id_token("eve"), &retry)
        .await;
    assert_eq!(got(&other), (400, "challenge_mismatch"), "{}", other.text);
    let nobody = world.token(&stack.sts(0), &retry).await;
    assert_eq!(
        got(&nobody),
        (400, "challenge_mismatch"),
        "nor of the application itself: {}",
        nobody.text
    );
    let same = issuer
        .sign_in(&stack, &world, &issuer.id_token("ada"), &retry)
        .await;
    assert_eq!(same.status, 200, "{}", same.text);
}

#[tokio::test]
async fn a_subject_that_nobody_could_name_again_cannot_sign_in() {
    let stack = Stack::start().await;
    let world = World::new(&stack).await;
    let mut bare = Issuer::register(&stack, &world, "", false).await;
    let prefixed = Issuer::register(&stack, &world, "idp|", false).await;
    bare.epoch.clone_from(&prefixed.epoch);
    for sub in [
        " ",
        "\u{2003}",
        "\u{a0}",
        "\t",
        "\u{200b}",
        "ada\u{200b}",
        "\u{202e}ada",
        "a\u{ad}da",
        "\u{feff}ada",
    ] {
        for issuer in [&bare, &prefixed] {
            let answer = issuer.sign_in(&stack, &world, &issuer.id_token(sub), &[]).await;
            assert_eq!(
                got(&answer),
                (400, "subject_not_allowed"),
                "{sub:?}: {}",
                answer.text
            );
        }
    }
    let named = bare
        .sign_in(&stack, &world, &bare.id_token("ada lovelace"), &[])
        .await;
    assert_eq!(subject(&named), "ada lovelace");
}
