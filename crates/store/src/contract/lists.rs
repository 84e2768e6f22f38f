use sessiond_model::{
    Change, PermissionOutcome, ProjectId, QuestionOutcome, Session, Status, StatusKind, Timestamp,
};

use super::Bench;
use super::fixtures::{self as fx, sid};
use crate::{SessionOrder, SessionQuery};

async fn make(bench: &mut Bench, name: &str, shape: impl Fn(&mut Session)) {
    let mut session = fx::session(name);
    shape(&mut session);
    bench
        .commit(&sid(name), 1_000, vec![fx::create(session)])
        .await;
}

async fn list(bench: &Bench, query: SessionQuery) -> Vec<String> {
    let page = bench.store().sessions(&query).await.unwrap();
    assert_eq!(page.next, None);
    let ids = page.sessions.iter().map(|s| s.id.as_str());
    ids.map(|id| id.trim_start_matches("ses_").to_owned())
        .collect()
}

pub async fn sessions_are_listed_newest_first(bench: &mut Bench) {
    for (name, at) in [("b", 5), ("a", 5), ("c", 9), ("d", -3), ("B", 5)] {
        make(bench, name, |s| s.updated_at = Timestamp(at)).await;
    }
    assert_eq!(
        list(bench, SessionQuery::default()).await,
        ["c", "B", "a", "b", "d"]
    );
    let page = bench
        .store()
        .sessions(&SessionQuery::default())
        .await
        .unwrap();
    for session in page.sessions {
        let single = bench.store().session(&session.id).await.unwrap();
        assert_eq!(single, Some(session));
    }
}

pub async fn sessions_are_listed_by_creation(bench: &mut Bench) {
    for (name, at) in [("b", 5), ("a", 5), ("c", 9), ("d", -3), ("B", 5)] {
        make(bench, name, |s| {
            s.created_at = Timestamp(at);
            s.updated_at = Timestamp(100 - at);
            s.directory = if at == 5 { "/five".into() } else { "/d".into() };
        })
        .await;
    }
    make(bench, "gone", |s| s.created_at = Timestamp(7)).await;
    let trash = vec![Change::TrashSession];
    bench.commit(&sid("gone"), 2_000, trash).await;
    let by = |order| SessionQuery {
        order,
        ..SessionQuery::default()
    };
    let newest = list(bench, by(SessionOrder::Newest)).await;
    assert_eq!(newest, ["c", "B", "a", "b", "d"]);
    let oldest = list(bench, by(SessionOrder::Oldest)).await;
    assert_eq!(oldest, ["d", "b", "a", "B", "c"]);
    let five = SessionQuery {
        directory: Some("/five".into()),
        updated_since: Some(Timestamp(95)),
        ..by(SessionOrder::Newest)
    };
    assert_eq!(list(bench, five).await, ["B", "a", "b"]);
}

pub async fn session_pages_join_without_gaps(bench: &mut Bench) {
    for n in 0..11 {
        make(bench, &format!("s{n:02}"), |s| {
            s.updated_at = Timestamp(n / 3);
            s.created_at = Timestamp(-n / 4);
            s.project_id = ProjectId::new(if n % 2 == 0 { "even" } else { "odd" });
        })
        .await;
    }
    let filters = [None, Some(ProjectId::new("even"))];
    let orders = [
        SessionOrder::Changed,
        SessionOrder::Newest,
        SessionOrder::Oldest,
    ];
    for (project_id, order) in filters.iter().flat_map(|p| orders.map(|o| (p.clone(), o))) {
        let filter = SessionQuery {
            project_id,
            order,
            ..Default::default()
        };
        let whole = list(bench, filter.clone()).await;
        for limit in [1, 3, 6, 11] {
            let mut query = SessionQuery {
                limit: Some(limit),
                ..filter.clone()
            };
            let mut joined = Vec::new();
            loop {
                let page = bench.store().sessions(&query).await.unwrap();
                assert!(page.sessions.len() <= limit as usize);
                joined.extend(page.sessions.iter().map(|s| s.id.as_str()[4..].to_owned()));
                let Some(next) = page.next else { break };
                query.after = Some(next);
            }
            assert_eq!(joined, whole, "{order:?}, limit {limit}");
        }
    }
}

pub async fn session_filters_hold(bench: &mut Bench) {
    make(bench, "plain", |_| {}).await;
    make(bench, "project", |s| s.project_id = ProjectId::new("p")).await;
    make(bench, "directory", |s| s.directory = "/srv/dir/sub".into()).await;
    make(bench, "child", |s| s.parent_id = Some(sid("plain"))).await;
    make(bench, "new", |s| s.updated_at = Timestamp(2_000)).await;
    make(bench, "archived", |s| s.archived_at = Some(Timestamp(0))).await;
    make(bench, "busy", |s| s.status = Status::busy(Timestamp(5))).await;
    make(bench, "failed", |s| {
        s.status = Status::error(Timestamp(5), "x".into());
    })
    .await;
    let q = SessionQuery::default;
    let cases = [
        (
            SessionQuery {
                project_id: Some(ProjectId::new("p")),
                ..q()
            },
            vec!["project"],
        ),
        (
            SessionQuery {
                project_id: Some(ProjectId::new("none")),
                ..q()
            },
            vec![],
        ),
        (
            SessionQuery {
                directory: Some("/srv/dir/sub".into()),
                ..q()
            },
            vec!["directory"],
        ),
        (
            SessionQuery {
                directory: Some("/srv".into()),
                ..q()
            },
            vec![],
        ),
        (
            SessionQuery {
                parent_id: Some(sid("plain")),
                ..q()
            },
            vec!["child"],
        ),
        (
            SessionQuery {
                updated_since: Some(Timestamp(2_000)),
                ..q()
            },
            vec!["new"],
        ),
        (
            SessionQuery {
                archived: Some(true),
                ..q()
            },
            vec!["archived"],
        ),
        (
            SessionQuery {
                status: Some(vec![StatusKind::Busy]),
                ..q()
            },
            vec!["busy"],
        ),
        (
            SessionQuery {
                status: Some(vec![StatusKind::Error, StatusKind::Busy]),
                ..q()
            },
            vec!["busy", "failed"],
        ),
        (
            SessionQuery {
                status: Some(vec![]),
                ..q()
            },
            vec![],
        ),
        (
            SessionQuery {
                roots: true,
                archived: Some(false),
                ..q()
            },
            vec!["new", "busy", "directory", "failed", "plain", "project"],
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(list(bench, query.clone()).await, expected, "{query:?}");
    }
}

pub async fn session_filters_combine(bench: &mut Bench) {
    make(bench, "root", |_| {}).await;
    for n in 0..16u32 {
        make(bench, &format!("s{n:02}"), |s| {
            s.parent_id = (n & 1 > 0).then(|| sid("root"));
            s.project_id = ProjectId::new(if n & 2 > 0 { "p" } else { "q" });
            s.directory = if n & 4 > 0 { "/d".into() } else { "/e".into() };
            s.archived_at = (n & 8 > 0).then_some(Timestamp(1));
        })
        .await;
    }
    let query = SessionQuery {
        parent_id: Some(sid("root")),
        project_id: Some(ProjectId::new("p")),
        directory: Some("/d".into()),
        ..SessionQuery::default()
    };
    assert_eq!(list(bench, query.clone()).await, ["s07", "s15"]);
    let archived = SessionQuery {
        archived: Some(true),
        ..query
    };
    assert_eq!(list(bench, archived).await, ["s15"]);
    let query = SessionQuery {
        project_id: Some(ProjectId::new("q")),
        directory: Some("/d".into()),
        roots: true,
        ..SessionQuery::default()
    };
    assert_eq!(list(bench, query).await, ["s04", "s12"]);
}

pub async fn search_has_no_wildcards(bench: &mut Bench) {
    for (name, title) in [
        ("a", "Fix THE bug"),
        ("b", "100% done_now"),
        ("c", "ÄÖ the"),
        ("d", ""),
    ] {
        make(bench, name, |s| s.title = title.into()).await;
    }
    let search = |text: &str| SessionQuery {
        search: Some(text.into()),
        ..Default::default()
    };
    assert_eq!(list(bench, search("the")).await, ["a", "c"]);
    assert_eq!(list(bench, search("tHe B")).await, ["a"]);
    assert_eq!(list(bench, search("%")).await, ["b"]);
    assert_eq!(list(bench, search("e_n")).await, ["b"]);
    assert_eq!(list(bench, search("h_")).await, Vec::<String>::new());
    assert_eq!(list(bench, search("Ä")).await, ["c"]);
    assert_eq!(
        list(bench, search("ä")).await,
        Vec::<String>::new(),
        "ASCII only"
    );
    assert_eq!(list(bench, search("")).await, ["a", "b", "c", "d"]);
    let long = "x".repeat(100_000);
    assert_eq!(list(bench, search(&long)).await, Vec::<String>::new());
}

pub async fn path_prefix_ends_at_a_slash(bench: &mut Bench) {
    for (name, path) in [
        ("a", Some("src")),
        ("b", Some("src/lib")),
        ("c", Some("srcs")),
        ("d", None),
        ("e", Some("s%c/x")),
        ("f", Some("Src")),
    ] {
        make(bench, name, |s| s.path = path.map(str::to_owned)).await;
    }
    let below = |path: &str| SessionQuery {
        path_prefix: Some(path.into()),
        ..Default::default()
    };
    assert_eq!(list(bench, below("src")).await, ["a", "b"]);
    assert_eq!(list(bench, below("src/lib")).await, ["b"]);
    assert_eq!(list(bench, below("s%c")).await, ["e"]);
    assert_eq!(list(bench, below("sr")).await, Vec::<String>::new());
}

pub async fn trashed_sessions_have_a_list_of_their_own(bench: &mut Bench) {
    for name in ["a", "b", "c"] {
        make(bench, name, |s| s.directory = format!("/{name}")).await;
    }
    for name in ["a", "b"] {
        bench
            .commit(&sid(name), 2_000, vec![Change::TrashSession])
            .await;
    }
    let trash = SessionQuery {
        trashed: true,
        ..Default::default()
    };
    assert_eq!(list(bench, trash.clone()).await, ["a", "b"]);
    let one = SessionQuery {
        directory: Some("/b".into()),
        ..trash
    };
    assert_eq!(list(bench, one).await, ["b"]);
    assert_eq!(list(bench, SessionQuery::default()).await, ["c"]);
    let gone = SessionQuery {
        directory: Some("/b".into()),
        ..Default::default()
    };
    assert_eq!(list(bench, gone).await, Vec::<String>::new());
}

pub async fn unfinished_sessions_are_found(bench: &mut Bench) {
    for name in [
        "busy",
        "turn",
        "permission",
        "question",
        "idle",
        "error",
        "trash",
    ] {
        bench.session(name).await;
    }
    let at = Timestamp(1_500);
    let turn = fx::turn(&sid("turn"), "t", "m");
    let permission = fx::permission(&sid("permission"), "p");
    let question = fx::question(&sid("question"), "q");
    let begin = [
        ("busy", vec![Change::SetStatus(Status::busy(at))]),
        ("turn", vec![Change::PutTurn(turn.clone())]),
        (
            "permission",
            vec![Change::AskPermission(permission.clone())],
        ),
        ("question", vec![Change::AskQuestion(question.clone())]),
        (
            "error",
            vec![Change::SetStatus(Status::error(at, "x".into()))],
        ),
        (
            "trash",
            vec![Change::SetStatus(Status::busy(at)), Change::TrashSession],
        ),
    ];
    for (name, changes) in begin {
        bench.commit(&sid(name), 1_500, changes).await;
    }
    let open = ["busy", "permission", "question", "turn"].map(sid);
    assert_eq!(bench.store().unfinished_sessions().await.unwrap(), open);
    let end = [
        ("busy", Change::SetStatus(Status::idle(at))),
        ("turn", Change::PutTurn(fx::completed(&turn))),
        (
            "permission",
            Change::ResolvePermission {
                id: permission.id,
                outcome: PermissionOutcome::Expired {
                    reason: "over".into(),
                    at,
                },
            },
        ),
        (
            "question",
            Change::ResolveQuestion {
                id: question.id,
                outcome: QuestionOutcome::Expired {
                    reason: "over".into(),
                    at,
                },
            },
        ),
    ];
    for (name, change) in end {
        bench.commit(&sid(name), 1_600, vec![change]).await;
    }
    assert!(
        bench
            .store()
            .unfinished_sessions()
            .await
            .unwrap()
            .is_empty()
    );
}
