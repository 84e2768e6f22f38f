use sessiond_model::{Change, SessionId, Share, ShareMode, Timestamp};

use super::Bench;
use super::fixtures as fx;
use crate::ShareQuery;

fn set_share(share: &Share) -> Vec<Change> {
    vec![Change::SetShare(Some(Box::new(share.clone())))]
}

pub async fn a_share_is_replaced_and_removed(bench: &mut Bench) {
    let id = bench.session("a").await;
    assert_eq!(bench.store().share(&id).await.unwrap(), None);
    let first = fx::share("00aa");
    bench.commit(&id, 1_100, set_share(&first)).await;
    assert_eq!(bench.store().share(&id).await.unwrap(), Some(first.clone()));
    let second = Share {
        expires_at: None,
        mode: ShareMode::Live,
        ..fx::share("00bb")
    };
    bench.commit(&id, 1_200, set_share(&second)).await;
    assert_eq!(bench.store().share(&id).await.unwrap(), Some(second));
    bench.commit(&id, 1_300, vec![Change::SetShare(None)]).await;
    assert_eq!(bench.store().share(&id).await.unwrap(), None);
}

pub async fn a_share_is_found_by_its_token(bench: &mut Bench) {
    let (a, b) = (bench.session("a").await, bench.session("b").await);
    bench.commit(&a, 1_100, set_share(&fx::share("00aa"))).await;
    bench.commit(&b, 1_100, set_share(&fx::share("00bb"))).await;
    let found = bench.store().share_by_token("00bb").await.unwrap();
    assert_eq!(found, Some((b.clone(), fx::share("00bb"))));
    // Also in the trash: whether it opens is for the engine to say.
    bench.commit(&b, 1_200, vec![Change::TrashSession]).await;
    let found = bench.store().share_by_token("00bb").await.unwrap();
    assert_eq!(found.map(|(id, _)| id), Some(b));
    // A new token ends the old one, and so does the end of the share.
    bench.commit(&a, 1_300, set_share(&fx::share("00cc"))).await;
    let store = bench.store();
    assert_eq!(store.share_by_token("00aa").await.unwrap(), None);
    assert!(store.share_by_token("00cc").await.unwrap().is_some());
    bench.commit(&a, 1_400, vec![Change::SetShare(None)]).await;
    assert_eq!(bench.store().share_by_token("00cc").await.unwrap(), None);
    assert_eq!(bench.store().share_by_token("").await.unwrap(), None);
}

pub async fn the_last_access_of_a_share_moves_forward(bench: &mut Bench) {
    let id = bench.session("a").await;
    let note = |at| vec![Change::NoteShareAccess(Timestamp(at))];
    // Nothing to note it on.
    bench.commit(&id, 1_100, note(1_100)).await;
    assert_eq!(bench.store().share(&id).await.unwrap(), None);
    bench
        .commit(&id, 1_200, set_share(&fx::share("00aa")))
        .await;
    for (at, expected) in [(1_300, 1_300), (1_250, 1_300), (1_400, 1_400)] {
        let before = bench.store().last_seq().await.unwrap();
        bench.commit(&id, 1_500, note(at)).await;
        let share = bench.store().share(&id).await.unwrap().unwrap();
        assert_eq!(share.accessed_at, Some(Timestamp(expected)));
        assert_eq!(bench.store().last_seq().await.unwrap(), before);
    }
    let session = bench.store().session(&id).await.unwrap().unwrap();
    assert_eq!(session.revision, 1, "a look changes nothing");
    // A new share was not looked at yet.
    bench
        .commit(&id, 1_600, set_share(&fx::share("00bb")))
        .await;
    let share = bench.store().share(&id).await.unwrap().unwrap();
    assert_eq!(share.accessed_at, None);
}

pub async fn shares_are_listed_newest_session_first(bench: &mut Bench) {
    let mut ids = Vec::new();
    for name in ["d", "a", "c", "b", "unshared"] {
        ids.push(bench.session(name).await);
    }
    for id in &ids[..4] {
        let share = fx::share(id.as_str());
        bench.commit(id, 1_100, set_share(&share)).await;
    }
    let note = vec![Change::NoteShareAccess(Timestamp(1_150))];
    bench.commit(&ids[3], 1_150, note).await;
    bench
        .commit(&ids[2], 1_200, vec![Change::TrashSession])
        .await;
    let page = async |bench: &Bench, after: Option<&SessionId>, limit| {
        let query = ShareQuery {
            after: after.cloned(),
            limit,
        };
        bench.store().shares(&query).await.unwrap()
    };
    let all = page(bench, None, None).await;
    let listed: Vec<_> = all.iter().map(|(s, _)| &s.id).collect();
    assert_eq!(listed, [&ids[3], &ids[1], &ids[0]]);
    assert!(all.iter().all(|(s, h)| h.token_hash == s.id.as_str()));
    assert_eq!(all[0].1.accessed_at, Some(Timestamp(1_150)));
    let first = page(bench, None, Some(2)).await;
    assert_eq!(first, all[..2]);
    let rest = page(bench, Some(&first[1].0.id), Some(2)).await;
    assert_eq!(rest, all[2..]);
    let nobody = SessionId::trusted("ses_nobody");
    assert!(page(bench, Some(&nobody), None).await.is_empty());
}
