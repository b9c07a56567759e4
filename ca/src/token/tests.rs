use std::sync::LazyLock;

use rcgen::{KeyPair, PublicKeyData as _};
use tokio::task::JoinSet;

use super::*;
use crate::fixtures::{NOW, node};

const SECOND: Duration = Duration::from_secs(1);

/// The key of the holder of this number, of 64.
fn holder_of(number: usize) -> PublicKey {
    static HOLDERS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
        let fresh = || KeyPair::generate().unwrap().subject_public_key_info();
        (0..64).map(|_| PublicKey::from_spki(&fresh()).unwrap()).collect()
    });
    HOLDERS[number].clone()
}

struct Tokens {
    tokens: JoinTokens,
    random: Random,
    folder: tempfile::TempDir,
}

impl Tokens {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = JoinTokens::new(Database::open(folder.path()).unwrap()).unwrap();
        Self { tokens, random: Random::dangerously_from_seed(1), folder }
    }

    /// What redeeming a token of theirs tells.
    fn redeemed(token: &Token) -> Result<JoinToken, TokenError> {
        Ok(JoinToken { id: token.id().into(), made_by: Some("AKIA1".into()) })
    }

    /// Until what was done so far is in the tree: each change waits for those before it.
    async fn written(&self) {
        assert_eq!(self.tokens.prune(NOW).await, Ok(0));
    }

    /// Uses a token up for the key of this number.
    async fn redeem(&self, token: &str, holder: usize, now: Timestamp) -> Result<JoinToken, TokenError> {
        self.tokens.redeem(token, &holder_of(holder), now).await
    }

    async fn create(&self, life: Duration) -> Result<Token, TokenError> {
        self.tokens.create(&node("a"), life, "AKIA1", NOW, &self.random).await
    }
}

#[tokio::test]
async fn a_token_lets_its_workload_in_once() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    assert_eq!(made.redeem(token.reveal(), 0, NOW).await, Tokens::redeemed(&token));
    assert_eq!(made.redeem(token.reveal(), 1, NOW).await, Err(TokenError::Used));
    assert_eq!((token.id().len(), token.reveal().contains(&token.id())), (16, false));
}

#[tokio::test]
async fn the_key_that_a_token_was_used_for_may_use_it_again_until_it_ends_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let random = Random::dangerously_from_seed(1);
    let tokens = JoinTokens::new(Database::open(folder.path()).unwrap()).unwrap();
    let token = tokens.create(&node("a"), MIN_TOKEN_LIFE, "AKIA1", NOW, &random).await.unwrap();
    assert_eq!(tokens.redeem(token.reveal(), &holder_of(0), NOW).await, Tokens::redeemed(&token));
    drop(tokens);
    let tokens = JoinTokens::new(Database::open(folder.path()).unwrap()).unwrap();
    let end = NOW + MIN_TOKEN_LIFE;
    for (holder, now, comes_to) in [
        (1, NOW, Err(TokenError::Used)),
        (0, end - SECOND, Tokens::redeemed(&token)),
        (1, end - SECOND, Err(TokenError::Used)),
        (0, end, Err(TokenError::Used)),
    ] {
        assert_eq!(
            tokens.redeem(token.reveal(), &holder_of(holder), now).await,
            comes_to,
            "{holder} {now:?}"
        );
    }
    assert_eq!(tokens.peek(token.reveal(), NOW), Ok(node("a")));
    assert_eq!(tokens.peek(token.reveal(), end), Err(TokenError::Used));
}

#[tokio::test]
async fn a_server_that_is_killed_once_a_join_was_answered_knows_the_key_at_its_next_start() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    assert_eq!(made.redeem(token.reveal(), 0, NOW).await, Tokens::redeemed(&token));
    // The files as they are at this moment, of a database that nobody has closed.
    let left = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(made.folder.path()).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
        }
    }
    let next = JoinTokens::new(Database::open(left.path()).unwrap()).unwrap();
    let redeem = async |holder| next.redeem(token.reveal(), &holder_of(holder), NOW).await;
    assert_eq!((redeem(1).await, redeem(0).await), (Err(TokenError::Used), Tokens::redeemed(&token)));
}

#[tokio::test]
async fn a_look_at_a_token_sees_what_is_durable_and_not_yet_in_the_tree_and_nothing_before() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    made.written().await;
    let key = key_of(token.reveal());
    made.tokens.fresh().add(key, None);
    assert_eq!(made.tokens.peek(token.reveal(), NOW), Ok(node("a")), "it may not become durable");
    made.tokens.fresh().show();
    assert_eq!(made.tokens.peek(token.reveal(), NOW), Err(TokenError::Unknown));
    made.written().await;
    assert_eq!(made.tokens.peek(token.reveal(), NOW), Ok(node("a")), "the tree says so");
}

#[tokio::test]
async fn a_token_that_an_earlier_version_used_up_is_good_for_no_key() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    let used = br#"{"version":"1","workload":"mesh/m/virtualNode/a","expiresAt":9000000000,"usedAt":2}"#;
    made.written().await;
    made.tokens.tokens.insert(key_of(token.reveal()), &used[..]).unwrap();
    assert_eq!(made.redeem(token.reveal(), 0, NOW).await, Err(TokenError::Used));
    assert_eq!(made.tokens.peek(token.reveal(), NOW), Err(TokenError::Used));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_64_who_redeem_a_token_at_once_exactly_one_wins() {
    let made = Tokens::new();
    let token = Arc::new(made.create(DEFAULT_TOKEN_LIFE).await.unwrap());
    let mut racers = JoinSet::new();
    for holder in 0..64 {
        let (tokens, token) = (made.tokens.clone(), token.clone());
        racers.spawn(async move { tokens.redeem(token.reveal(), &holder_of(holder), NOW).await });
    }
    let results = racers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(results.iter().filter(|result| **result == Err(TokenError::Used)).count(), 63);
}

#[tokio::test]
async fn a_token_ends_with_its_life() {
    let made = Tokens::new();
    let token = made.create(MIN_TOKEN_LIFE).await.unwrap();
    let end = NOW + MIN_TOKEN_LIFE;
    assert_eq!(made.redeem(token.reveal(), 0, end).await, Err(TokenError::Expired));
    assert_eq!(made.redeem(token.reveal(), 0, end - SECOND).await, Tokens::redeemed(&token));
}

#[tokio::test]
async fn looking_at_a_token_does_not_use_it_up() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    assert_eq!(made.tokens.peek(token.reveal(), NOW), Ok(node("a")));
    assert_eq!(made.tokens.peek(token.reveal(), NOW + DEFAULT_TOKEN_LIFE), Err(TokenError::Expired));
    assert_eq!(made.redeem(token.reveal(), 0, NOW).await, Tokens::redeemed(&token));
}

#[tokio::test]
async fn texts_that_are_no_token_of_ours_are_unknown() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    let text = token.reveal();
    for stranger in ["", "sgt_", &text[4..], &text.to_uppercase(), &format!("{text} "), &text[..67]] {
        assert_eq!(made.redeem(stranger, 0, NOW).await, Err(TokenError::Unknown), "{stranger:?}");
    }
}

#[tokio::test]
async fn lives_outside_the_bounds_are_refused() {
    let made = Tokens::new();
    for life in [MIN_TOKEN_LIFE, MAX_TOKEN_LIFE] {
        assert!(made.create(life).await.is_ok());
    }
    for life in [Duration::ZERO, MIN_TOKEN_LIFE - SECOND, MAX_TOKEN_LIFE + SECOND] {
        assert_eq!(made.create(life).await.unwrap_err(), TokenError::Lifetime(life));
    }
    made.written().await;
    assert_eq!(made.tokens.tokens.len(), 2);
}

#[tokio::test]
async fn the_database_and_debug_do_not_tell_the_secret() {
    let made = Tokens::new();
    let token = made.create(DEFAULT_TOKEN_LIFE).await.unwrap();
    let secret = token.reveal().strip_prefix(PREFIX).unwrap();
    assert_eq!((token.reveal().len(), secret.len()), (68, 64));
    assert_eq!(format!("{token:?}"), "Token(elided)");
    let raw = hex::decode(secret).unwrap();
    made.written().await;
    assert_eq!(made.tokens.tokens.len(), 1);
    for entry in &made.tokens.tokens {
        let (key, value) = entry.unwrap();
        for stored in [key.to_vec(), value.to_vec()] {
            assert!(!stored.windows(8).any(|window| secret.as_bytes().windows(8).any(|part| part == window)));
            assert!(!stored.windows(8).any(|window| raw.windows(8).any(|part| part == window)));
        }
    }
}

#[tokio::test]
async fn tokens_that_ended_long_ago_are_forgotten_and_no_others() {
    let made = Tokens::new();
    let [short, used, long] = [MIN_TOKEN_LIFE, MIN_TOKEN_LIFE, MAX_TOKEN_LIFE].map(|life| made.create(life));
    let (short, used, long) = (short.await.unwrap(), used.await.unwrap(), long.await.unwrap());
    made.redeem(used.reveal(), 0, NOW).await.unwrap();
    let day_after = NOW + MIN_TOKEN_LIFE + REMEMBERED;
    assert_eq!(made.tokens.prune(day_after).await, Ok(0));
    assert_eq!(made.tokens.peek(short.reveal(), day_after), Err(TokenError::Expired));
    assert_eq!(made.tokens.prune(day_after + SECOND).await, Ok(2));
    assert_eq!(made.tokens.prune(day_after + SECOND).await, Ok(0), "they are not in the tree any more");
    assert_eq!(made.tokens.peek(short.reveal(), NOW), Err(TokenError::Unknown));
    assert_eq!(made.tokens.peek(used.reveal(), NOW), Err(TokenError::Unknown));
    assert_eq!(made.tokens.peek(long.reveal(), NOW), Ok(node("a")));
}
