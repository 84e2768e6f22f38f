//! Shares: who gets in, what they see, and how they follow.

use std::time::Duration;

use sessiond_engine::{
    EngineError, Followed, Part, PromptInput, ShareOptions, SharedSession, Shows, Transcript,
};
use sessiond_model::{
    Change, Commit, MessageId, Revert, Session, SessionId, SessionPatch, ShareMode, Timestamp,
};
use sessiond_store::MessageQuery;

use crate::support::{World, prompt, until};

impl World {
    async fn share(&self, id: &SessionId) -> String {
        let shared = self.engine.share(id, &ShareOptions::default()).await;
        token(&shared.unwrap().session)
    }

    async fn open(&self, token: &str) -> Option<SharedSession> {
        self.engine.open_share(token).await.unwrap()
    }

    async fn look(&self, token: &str) -> Transcript {
        let shared = self.open(token).await.expect("a share");
        self.engine.shared_transcript(&shared, None).await.unwrap()
    }

    async fn note(&self, id: &SessionId, text: &str) -> MessageId {
        let input = PromptInput {
            no_reply: true,
            ..prompt(text)
        };
        self.engine.prompt(id, input).await.unwrap().message.id
    }

    async fn set_revert(&self, id: &SessionId, revert: Option<Revert>) {
        let patch = SessionPatch {
            revert: Some(revert),
            ..SessionPatch::default()
        };
        let commit = Commit {
            session_id: id.clone(),
            fence: self.store.epoch(),
            at: Timestamp(1),
            require: Vec::new(),
            changes: vec![Change::UpdateSession(patch)],
        };
        self.store.commit(commit).await.unwrap();
    }
}

fn token(session: &Session) -> String {
    let url = session.share_url.as_deref().expect("a link");
    url.rsplit('/').next().unwrap().to_owned()
}

fn said(transcript: &Transcript) -> Vec<String> {
    let parts = transcript.messages.iter().flat_map(|m| &m.parts);
    parts
        .filter_map(|p| match p {
            Part::Text(text) => Some(text.text.clone()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_link_works_until_it_is_ended() {
    let w = World::with(|c| c.share.base_url = "https://s.example/x/".into()).await;
    let id = w.session().await.id;
    let first = w.share(&id).await;
    let session = w.engine.session(&id).await.unwrap();
    assert_eq!(
        session.share_url.as_deref(),
        Some(format!("https://s.example/x/s/{first}").as_str())
    );
    assert_eq!(first.len(), 43);
    let stored = w.store.share(&id).await.unwrap().unwrap();
    assert!(!format!("{stored:?}").contains(&first), "only its hash");
    assert_eq!(w.share(&id).await, first, "the same link again");
    assert_eq!(w.open(&first).await.unwrap().session.id, id);

    let ended = w.engine.unshare(&id).await.unwrap();
    assert_eq!(ended.share_url, None);
    assert_eq!(w.open(&first).await, None);
    assert_eq!(w.store.share(&id).await.unwrap(), None);
    assert!(matches!(
        w.engine.share_of(&id).await,
        Err(EngineError::NotFound { .. })
    ));
    w.engine.unshare(&id).await.unwrap();

    let second = w.share(&id).await;
    assert_ne!(second, first);
    assert_eq!(w.open(&first).await, None);
    assert!(w.open(&second).await.is_some());
}

#[tokio::test]
async fn shares_outlive_a_restart() {
    let mut w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    w.restart().await;
    assert_eq!(w.open(&token).await.unwrap().session.id, id);
}

#[tokio::test]
async fn what_is_no_token_leads_nowhere() {
    let w = World::new().await;
    let token = w.share(&w.session().await.id).await;
    for wrong in [
        String::new(),
        "x".into(),
        token[1..].to_owned(),
        format!("{token}A"),
        token.to_ascii_lowercase(),
        "A".repeat(43),
        "é".repeat(43),
        "/".repeat(43),
        "A".repeat(100_000),
    ] {
        assert_eq!(w.open(&wrong).await, None);
    }
}

#[tokio::test]
async fn an_expired_link_leads_nowhere_and_is_replaced() {
    let w = World::new().await;
    let id = w.session().await.id;
    let first = w.share(&id).await;
    let until_then = |at| ShareOptions {
        expires_at: Some(Some(at)),
        shows: None,
    };
    let past = until_then(Timestamp(1));
    let refused = w.engine.share(&id, &past).await;
    assert!(matches!(refused, Err(EngineError::Invalid { field, .. }) if field == "expires_at"));
    let soon = w.engine.clock().now().plus_millis(200);
    let shared = w.engine.share(&id, &until_then(soon)).await.unwrap();
    assert_eq!(
        token(&shared.session),
        first,
        "options change, the link stays"
    );
    until("the expiry", async || {
        w.open(&first).await.is_none().then_some(())
    })
    .await;
    assert!(w.engine.clock().now() >= soon);
    let listed = w.engine.shares(None, 10).await.unwrap().0;
    assert_eq!(listed.len(), 1, "it can still be seen and ended");
    let second = w.share(&id).await;
    assert_ne!(second, first);
    assert_eq!(w.open(&first).await, None);
    assert_eq!(w.open(&second).await.unwrap().share.expires_at, None);
}

#[tokio::test]
async fn a_session_in_the_trash_is_not_shown() {
    let w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    w.engine.delete_session(&id).await.unwrap();
    assert_eq!(w.open(&token).await, None);
    assert!(w.engine.shares(None, 10).await.unwrap().0.is_empty());
    let gone = w.engine.share(&id, &ShareOptions::default()).await;
    assert!(matches!(gone, Err(EngineError::NotFound { .. })));
}

#[tokio::test]
async fn sharing_can_be_switched_off() {
    let mut w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    let off = World::with(|c| c.share.enabled = false).await;
    let other = off.session().await.id;
    let refused = off.engine.share(&other, &ShareOptions::default()).await;
    assert!(matches!(refused, Err(EngineError::Disabled { .. })));
    off.engine.delete_session(&other).await.unwrap();
    let gone = off.engine.share(&other, &ShareOptions::default()).await;
    assert!(matches!(gone, Err(EngineError::NotFound { .. })));
    // Links of before lead nowhere, and can still be ended.
    w.restart_with(|c| c.share.enabled = false).await;
    assert_eq!(w.open(&token).await, None);
    w.engine.unshare(&id).await.unwrap();
    w.restart().await;
    assert_eq!(w.open(&token).await, None);
}

#[tokio::test]
async fn two_who_share_at_once_get_one_link() {
    let w = World::new().await;
    let id = w.session().await.id;
    let (a, b, c) = tokio::join!(w.share(&id), w.share(&id), w.share(&id));
    assert!(a == b && b == c);
    assert!(w.open(&a).await.is_some());
}

#[tokio::test]
async fn a_live_share_shows_what_is_said_without_secrets() {
    let w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    let key = format!("ghp_{}", "aB3".repeat(12));
    w.engine.keep_secret("the-token-of-this-server");
    w.ask(&id, &format!("My key is {key} of the-token-of-this-server"))
        .await;
    let seen = w.look(&token).await;
    assert!(
        seen.live && !seen.busy && seen.messages.len() == 2,
        "{seen:?}"
    );
    let all = serde_json::to_string(&seen).unwrap();
    assert!(
        !all.contains(&key) && !all.contains("the-token-of-this"),
        "{all}"
    );
    assert!(all.contains("My key is [redacted: github-token] of [redacted: server-token]"));

    let preview = w.engine.share_preview(&id).await.unwrap();
    assert!(preview.complete && preview.messages == 2);
    let found = &preview.findings.kinds["github-token"];
    assert!(found.count >= 1);
    assert!(!format!("{preview:?}").contains(&key), "samples are masked");
}

#[tokio::test]
async fn a_frozen_share_does_not_grow() {
    let w = World::new().await;
    let id = w.session().await.id;
    w.ask(&id, "first").await;
    let second = w.note(&id, "second").await;
    w.note(&id, "third").await;
    let frozen = |message| ShareOptions {
        expires_at: None,
        shows: Some(Shows::Until(message)),
    };
    let shared = w.engine.share(&id, &frozen(Some(second))).await.unwrap();
    let token = token(&shared.session);
    assert_eq!(shared.share.mode, ShareMode::Frozen { position: 3 });
    let seen = w.look(&token).await;
    assert!(!seen.live && said(&seen).contains(&"second".to_owned()));
    assert!(!said(&seen).contains(&"third".to_owned()));

    let now = w.engine.share(&id, &frozen(None)).await.unwrap();
    assert_eq!(now.session.share_url, shared.session.share_url);
    w.note(&id, "fourth").await;
    let seen = said(&w.look(&token).await);
    assert!(seen.contains(&"third".to_owned()) && !seen.contains(&"fourth".to_owned()));
    assert!(w.engine.follow_share(&now).unwrap().is_none());

    let unknown = MessageId::parse("msg_unknown").unwrap();
    let refused = w.engine.share(&id, &frozen(Some(unknown))).await;
    assert!(matches!(refused, Err(EngineError::NotFound { .. })));

    let live = ShareOptions {
        expires_at: None,
        shows: Some(Shows::Live),
    };
    w.engine.share(&id, &live).await.unwrap();
    assert!(said(&w.look(&token).await).contains(&"fourth".to_owned()));
}

#[tokio::test]
async fn what_is_being_written_is_not_frozen() {
    let w = World::new().await;
    let id = w.session().await.id;
    let turn = w.say(&id, "/hang").await;
    let begun = async || {
        let page = w
            .engine
            .messages(&id, &MessageQuery::default())
            .await
            .unwrap();
        (page.messages.len() == 2).then_some(())
    };
    until("the answer to begin", begun).await;
    let options = ShareOptions {
        expires_at: None,
        shows: Some(Shows::Until(None)),
    };
    let shared = w.engine.share(&id, &options).await.unwrap();
    assert_eq!(shared.share.mode, ShareMode::Frozen { position: 1 });
    w.engine.abort(&id, Default::default()).await.unwrap();
    w.end(&turn).await;
    assert_eq!(w.look(&token(&shared.session)).await.messages.len(), 1);
}

#[tokio::test]
async fn what_is_reverted_is_not_shown() {
    let w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    w.note(&id, "first").await;
    let turn = w.ask(&id, "second").await;
    w.note(&id, "third").await;
    let at = |message_id: MessageId, part_id| Revert {
        message_id,
        part_id,
        snapshot: None,
        diff: None,
    };
    w.set_revert(&id, Some(at(turn.user_message_id.clone(), None)))
        .await;
    assert_eq!(said(&w.look(&token).await), ["first"]);
    // From a part on: the rest of its message is hidden, and what comes after.
    let answer = w.answer(&turn).await;
    let text = answer
        .iter()
        .find(|p| matches!(p.body, sessiond_model::PartBody::Text { .. }));
    let text = text.expect("a text").id.clone();
    let message = turn.assistant_message_id.clone().unwrap();
    w.set_revert(&id, Some(at(message, Some(text)))).await;
    assert_eq!(said(&w.look(&token).await), ["first", "second"]);
    let preview = w.engine.share_preview(&id).await.unwrap();
    assert_eq!(preview.messages, 3);
    w.set_revert(&id, None).await;
    assert!(said(&w.look(&token).await).contains(&"third".to_owned()));
}

#[tokio::test]
async fn long_sessions_come_in_pages() {
    let w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    for n in 1..=65 {
        w.note(&id, &format!("note {n}")).await;
    }
    let shared = w.open(&token).await.unwrap();
    let (mut before, mut all, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = w.engine.shared_transcript(&shared, before).await.unwrap();
        assert_eq!(page.newer, before.is_some());
        all.splice(0..0, said(&page));
        pages += 1;
        match page.older {
            Some(older) => before = Some(older),
            None => break,
        }
    }
    let expected: Vec<_> = (1..=65).map(|n| format!("note {n}")).collect();
    assert_eq!((all, pages), (expected, 3));
    // A large message leaves less room for others, and is there itself.
    w.note(&id, &"words ".repeat(400_000)).await;
    let page = w.engine.shared_transcript(&shared, None).await.unwrap();
    assert!(page.messages.last().unwrap().parts.len() == 1 && page.older.is_some());
}

#[tokio::test]
async fn looks_are_noted() {
    let w = World::new().await;
    let id = w.session().await.id;
    let token = w.share(&id).await;
    let accessed = async || w.engine.share_of(&id).await.unwrap().share.accessed_at;
    assert_eq!(accessed().await, None);
    let before = w.engine.clock().now();
    w.open(&token).await.unwrap();
    let at = until("the look to be noted", accessed).await;
    assert!(at >= before);
    w.open(&token).await.unwrap();
    w.note(&id, "later").await;
    assert_eq!(accessed().await, Some(at), "at most once a minute");
}

#[tokio::test]
async fn a_follower_hears_of_changes_and_of_the_end() {
    let w = World::new().await;
    let (id, other) = (w.session().await.id, w.session().await.id);
    let token = w.share(&id).await;
    let shared = w.open(&token).await.unwrap();
    let mut follower = w.engine.follow_share(&shared).unwrap().unwrap();
    assert_eq!(follower.next().await, Followed::Changed, "to begin with");
    w.note(&other, "not here").await;
    w.note(&id, "here").await;
    assert_eq!(follower.next().await, Followed::Changed);
    let silent = tokio::time::timeout(Duration::from_millis(1500), follower.next()).await;
    assert!(silent.is_err(), "both were heard as one");
    w.engine.unshare(&id).await.unwrap();
    let mut follower = w.engine.follow_share(&shared).unwrap().unwrap();
    assert_eq!(follower.next().await, Followed::Changed);
    w.note(&id, "after the end").await;
    assert_eq!(follower.next().await, Followed::Gone);
}

#[tokio::test]
async fn shares_are_listed_in_pages() {
    let w = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = w.session().await.id;
        w.share(&id).await;
        ids.push(id);
    }
    ids.reverse();
    let (first, more) = w.engine.shares(None, 2).await.unwrap();
    let listed: Vec<_> = first.iter().map(|s| s.session.id.clone()).collect();
    assert_eq!((listed.as_slice(), more), (&ids[..2], true));
    let (rest, more) = w.engine.shares(Some(ids[1].clone()), 2).await.unwrap();
    assert_eq!(
        (rest[0].session.id.clone(), rest.len(), more),
        (ids[2].clone(), 1, false)
    );
}
