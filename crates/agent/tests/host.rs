//! The process host against the demo agent: a real child process, real pipes, real signals.

#![cfg(target_os = "linux")] // the tests look for processes in /proc
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sessiond_agent::{
    Agent, AgentError, AgentSpec, HostLimits, Incoming, PermissionAnswer, PromptBlock, Reaped,
    connect, reap_orphan, spawn,
};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

/// Generous: a test fails by a condition that never comes, not by a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Demo {
    agent: Agent,
    incoming: Receiver<Incoming>,
    dir: TempDir,
    session: String,
}

fn spec(home: &Path) -> AgentSpec {
    AgentSpec {
        name: "demo".into(),
        command: env!("CARGO_BIN_EXE_sessiond-demo-agent").into(),
        env: BTreeMap::from([(
            "SESSIOND_DEMO_HOME".into(),
            home.join("home").to_string_lossy().into_owned(),
        )]),
        ..AgentSpec::default()
    }
}

fn spawn_id() -> String {
    let dir = tempfile::tempdir().unwrap();
    format!("test-{}", dir.path().file_name().unwrap().to_string_lossy())
}

async fn demo_with(limits: HostLimits) -> Demo {
    let dir = tempfile::tempdir().unwrap();
    let (agent, incoming) = connect(&spec(dir.path()), dir.path(), spawn_id(), &limits)
        .await
        .unwrap();
    let session = agent.new_session(dir.path()).await.unwrap().session_id;
    Demo {
        agent,
        incoming,
        dir,
        session,
    }
}

async fn demo() -> Demo {
    demo_with(HostLimits::default()).await
}

impl Demo {
    async fn prompt(&self, text: &str) {
        let blocks = vec![PromptBlock::Text(text.into())];
        self.agent.prompt(&self.session, blocks).await.unwrap();
    }

    async fn next(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, self.incoming.recv())
            .await
            .expect("something arrives in time")
            .expect("the host says how it ends")
    }

    /// Everything up to and with the one that `last` picks.
    async fn until(&mut self, last: impl Fn(&Incoming) -> bool) -> Vec<Incoming> {
        let mut all = Vec::new();
        loop {
            let next = self.next().await;
            let done = last(&next);
            all.push(next);
            if done {
                return all;
            }
        }
    }

    async fn answer_to(&mut self, text: &str) -> (String, Vec<Incoming>) {
        self.prompt(text).await;
        let all = self.until(|i| matches!(i, Incoming::PromptDone(_))).await;
        (said(&all), all)
    }

    async fn wait_for_text(&mut self, wanted: &str) {
        let mut text = String::new();
        while !text.contains(wanted) {
            let next = self.next().await;
            text.push_str(&said(std::slice::from_ref(&next)));
        }
    }

    async fn exit(&mut self) -> (Option<i32>, Option<i32>, String) {
        match self
            .until(|i| matches!(i, Incoming::Exited { .. }))
            .await
            .pop()
        {
            Some(Incoming::Exited {
                code,
                signal,
                stderr_tail,
            }) => (code, signal, stderr_tail),
            other => panic!("{other:?}"),
        }
    }
}

fn updates(all: &[Incoming]) -> impl Iterator<Item = &Value> {
    all.iter().filter_map(|i| match i {
        Incoming::Update { update, .. } => Some(update),
        _ => None,
    })
}

fn said(all: &[Incoming]) -> String {
    updates(all)
        .filter(|u| u["sessionUpdate"] == "agent_message_chunk")
        .filter_map(|u| u["content"]["text"].as_str())
        .collect()
}

fn stop_reason(all: &[Incoming]) -> &str {
    match all.last() {
        Some(Incoming::PromptDone(Ok(result))) => &result.stop_reason,
        other => panic!("{other:?}"),
    }
}

/// Whether a process is there and not a zombie.
fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit_once(')')
            .unwrap()
            .1
            .trim_start()
            .starts_with('Z')
    })
}

async fn wait_for_file(path: &Path) -> String {
    let read = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the file appears")
}

async fn wait_until_dead(pid: u32) {
    let wait = async {
        while alive(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("the process ends");
}

#[tokio::test]
async fn a_turn_streams_in_order_and_ends_with_its_result() {
    let mut demo = demo().await;
    let (text, all) = demo.answer_to("hello").await;
    assert!(text.contains("You said: hello"), "{text}");
    assert_eq!(stop_reason(&all), "end_turn");
    assert!(
        all.iter()
            .all(|i| !matches!(i, Incoming::Update { replay: true, .. }))
    );
    let Some(Incoming::PromptDone(Ok(result))) = all.last() else {
        panic!()
    };
    assert!(result.usage.unwrap().output > 0);
    assert!(updates(&all).any(|u| u["sessionUpdate"] == "usage_update"));
    // The next prompt may follow at once.
    assert!(demo.answer_to("again").await.0.contains("You said: again"));
}

#[tokio::test]
async fn capabilities_modes_and_models_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let limits = HostLimits::default();
    let (agent, _incoming) = spawn(&spec(dir.path()), dir.path(), spawn_id(), &limits).unwrap();
    let capabilities = agent.initialize().await.unwrap();
    assert_eq!(
        capabilities.abilities(),
        [
            "load",
            "resume",
            "fork",
            "list",
            "close",
            "image",
            "embedded_context"
        ]
    );
    assert_eq!(capabilities.title.as_deref(), Some("Demo agent"));
    let opened = agent.new_session(dir.path()).await.unwrap();
    let modes: Vec<_> = opened
        .profile
        .modes
        .unwrap()
        .into_iter()
        .map(|m| m.id)
        .collect();
    assert_eq!(modes, ["default", "auto", "plan"]);
    assert_eq!(opened.profile.current_model.as_deref(), Some("demo-1"));

    agent.set_mode(&opened.session_id, "auto").await.unwrap();
    agent.set_model(&opened.session_id, "demo-2").await.unwrap();
    let refused = agent
        .set_model(&opened.session_id, "gpt-99")
        .await
        .unwrap_err();
    assert_eq!(refused.rpc().unwrap().code, -32602, "{refused}");
    let refused = agent.new_session(Path::new("relative")).await.unwrap_err();
    assert!(matches!(refused, AgentError::Directory { .. }), "{refused}");
}

#[tokio::test]
async fn a_permission_is_asked_answered_once_and_obeyed() {
    let mut demo = demo().await;
    demo.prompt("/write a.txt one").await;
    let mut asked = demo
        .until(|i| matches!(i, Incoming::Permission { .. }))
        .await;
    let Some(Incoming::Permission { request, params }) = asked.pop() else {
        panic!()
    };
    assert_eq!(params["toolCall"]["kind"], "edit");
    let file = demo.dir.path().join("a.txt");
    assert!(!file.exists());
    let once = || PermissionAnswer::Selected("once".into());
    demo.agent
        .answer_permission(&request, once())
        .await
        .unwrap();
    let twice = demo
        .agent
        .answer_permission(&request, once())
        .await
        .unwrap_err();
    assert!(matches!(twice, AgentError::NoSuchRequest { .. }));
    let late = PermissionAnswer::Cancelled;
    demo.agent.answer_permission(&request, late).await.unwrap();
    demo.until(|i| matches!(i, Incoming::PromptDone(Ok(_))))
        .await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");

    // A cancel answers the open request itself.
    demo.prompt("/write b.txt one").await;
    demo.until(|i| matches!(i, Incoming::Permission { .. }))
        .await;
    demo.agent.cancel(&demo.session).await.unwrap();
    let rest = demo.until(|i| matches!(i, Incoming::PromptDone(_))).await;
    assert_eq!(stop_reason(&rest), "cancelled");
    assert!(!demo.dir.path().join("b.txt").exists());
}

#[tokio::test]
async fn what_nobody_knows_is_kept_or_refused_and_hurts_nothing() {
    let mut demo = demo().await;
    let (text, all) = demo
        .answer_to("/noise\n/request fs/read_text_file\n/request craft/x")
        .await;
    assert!(text.contains("half \u{fffd}. That was noise."), "{text}");
    assert!(
        text.contains("refused fs/read_text_file with code -32601"),
        "{text}"
    );
    assert!(text.contains("refused craft/x with code -32601"), "{text}");
    assert!(updates(&all).any(|u| u["sky"] == "blue"));
    let others: Vec<&Value> = all
        .iter()
        .filter_map(|i| match i {
            Incoming::Other(raw) => Some(raw),
            _ => None,
        })
        .collect();
    assert_eq!(others.len(), 2, "{others:?}");
    assert_eq!(others[1]["method"], "_demo/weather");
}

#[tokio::test]
async fn lines_of_megabytes_pass_and_longer_ones_than_allowed_end_the_agent() {
    let mut demo = demo_with(HostLimits {
        max_line_bytes: 8 << 20,
        ..HostLimits::default()
    })
    .await;
    let (_, all) = demo.answer_to("/big 3000000").await;
    let output = updates(&all)
        .find_map(|u| u["rawOutput"]["output"].as_str())
        .unwrap();
    assert_eq!(output.len(), 3_000_000);

    demo.prompt("/big 9000000").await;
    let (_, signal, tail) = demo.exit().await;
    assert_eq!(signal, Some(9));
    assert!(tail.contains("a line of more than 8388608 bytes"), "{tail}");
    let gone = demo.agent.new_session(demo.dir.path()).await.unwrap_err();
    assert!(matches!(gone, AgentError::Gone { .. }), "{gone}");
}

#[tokio::test]
async fn a_slow_reader_stops_the_agent_but_not_an_answer_that_somebody_waits_for() {
    let mut demo = demo_with(HostLimits {
        queue: 2,
        ..HostLimits::default()
    })
    .await;
    demo.prompt("/slow 300 0").await;
    // Far more updates than the queue holds are on their way, and nobody reads them.
    demo.agent.set_model(&demo.session, "demo-2").await.unwrap();
    let all = demo.until(|i| matches!(i, Incoming::PromptDone(_))).await;
    let text = said(&all);
    let ticks: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(ticks.len(), 300);
    assert_eq!(ticks[299], "tick-300", "nothing is lost or out of order");
}

#[tokio::test]
async fn death_in_the_middle_of_a_turn_is_told_after_all_that_was_said() {
    let mut demo = demo().await;
    demo.prompt("/crash").await;
    let all = demo.until(|i| matches!(i, Incoming::Exited { .. })).await;
    assert_eq!(said(&all), "I crash in the middle of this sen");
    assert!(matches!(
        all.last(),
        Some(Incoming::Exited { code: Some(17), .. })
    ));
    assert!(demo.incoming.recv().await.is_none(), "nothing follows");
    assert!(demo.agent.group_gone(PATIENCE).await);
}

#[tokio::test]
async fn a_cancelled_command_is_killed() {
    let mut demo = demo().await;
    demo.agent.set_mode(&demo.session, "auto").await.unwrap();
    demo.prompt("/run echo $$ > pid; echo started; sleep 600")
        .await;
    let pid: u32 = wait_for_file(&demo.dir.path().join("pid"))
        .await
        .trim()
        .parse()
        .unwrap();
    demo.agent.cancel(&demo.session).await.unwrap();
    let all = demo.until(|i| matches!(i, Incoming::PromptDone(_))).await;
    assert_eq!(stop_reason(&all), "cancelled");
    wait_until_dead(pid).await;
    assert!(updates(&all).any(|u| u["status"] == "failed"));
}

#[tokio::test]
async fn an_agent_that_ignores_everything_ends_by_sigkill_with_all_its_children() {
    let mut demo = demo().await;
    demo.prompt("/stubborn echo $$ > pid; while true; do sleep 1; done")
        .await;
    demo.wait_for_text("nothing will stop me").await;
    let child: u32 = wait_for_file(&demo.dir.path().join("pid"))
        .await
        .trim()
        .parse()
        .unwrap();
    demo.agent.cancel(&demo.session).await.unwrap();
    demo.agent.terminate();
    assert!(!demo.agent.group_gone(Duration::from_millis(300)).await);
    assert!(alive(child) && alive(demo.agent.process().pid));
    demo.agent.kill();
    assert!(demo.agent.group_gone(PATIENCE).await);
    assert!(!alive(child), "also in a group of its own");
    assert_eq!(demo.exit().await.1, Some(9));
}

#[tokio::test]
async fn a_hanging_agent_goes_by_sigterm() {
    let mut demo = demo().await;
    demo.prompt("/hang").await;
    demo.wait_for_text("I do nothing now").await;
    demo.agent.terminate();
    assert_eq!(demo.exit().await.1, Some(15));
}

#[tokio::test]
async fn dropping_the_receiver_kills_the_agent() {
    let mut demo = demo().await;
    demo.prompt("/stubborn").await;
    demo.wait_for_text("nothing will stop me").await;
    drop(demo.incoming);
    assert!(demo.agent.group_gone(PATIENCE).await);
    let gone = demo.agent.cancel(&demo.session).await;
    drop(gone);
    assert!(demo.agent.new_session(demo.dir.path()).await.is_err());
}

#[tokio::test]
async fn resume_and_load_bring_the_memory_back_and_a_replay_is_marked() {
    let mut first = demo().await;
    first.answer_to("remember the word walrus").await;
    first.agent.kill();
    let id = first.session.clone();

    let home = first.dir.path();
    let limits = HostLimits {
        queue: 1,
        ..HostLimits::default()
    };
    let (agent, mut incoming) = connect(&spec(home), home, spawn_id(), &limits)
        .await
        .unwrap();
    let missing = agent.resume_session("demo-none", home).await.unwrap_err();
    assert_eq!(missing.rpc().unwrap().code, -32002);
    // Nobody reads meanwhile, and the queue holds one.
    let opened = agent.load_session(&id, home).await.unwrap();
    assert_eq!(opened.session_id, id);
    agent
        .prompt(&id, vec![PromptBlock::Text("/history".into())])
        .await
        .unwrap();
    let mut live = String::new();
    loop {
        match tokio::time::timeout(PATIENCE, incoming.recv())
            .await
            .unwrap()
            .unwrap()
        {
            Incoming::Update { replay: true, .. } => assert!(live.is_empty()),
            Incoming::Update { update, .. } => {
                live.push_str(update["content"]["text"].as_str().unwrap_or_default());
            }
            Incoming::PromptDone(_) => break,
            _ => {}
        }
    }
    assert!(live.contains("I remember 2 prompts"), "{live}");
    assert!(live.contains("1. remember the word walrus"), "{live}");
    agent.close_session(&id).await;
}

#[tokio::test]
async fn an_orphan_is_reaped_only_when_it_is_proved_to_be_ours() {
    let mut demo = demo().await;
    demo.prompt("/stubborn echo $$ > pid; while true; do sleep 1; done")
        .await;
    let child: u32 = wait_for_file(&demo.dir.path().join("pid"))
        .await
        .trim()
        .parse()
        .unwrap();
    let id = demo.agent.process().clone();
    assert_ne!(id.started, 0);

    // The pid alone proves nothing, nor does another spawn id.
    assert_eq!(
        reap_orphan(id.pid, id.started + 1, "test-other"),
        Reaped::Gone
    );
    assert_eq!(reap_orphan(id.pid, 0, ""), Reaped::Gone);
    assert!(alive(id.pid) && alive(child));

    // Pid and start time prove the group of the agent, not the child that left it.
    assert_eq!(
        reap_orphan(id.pid, id.started, "test-other"),
        Reaped::Killed { processes: 1 }
    );
    // (The host, which still lives in this test, ends the child when it sees the exit.)
    demo.exit().await;
    wait_until_dead(child).await;
    assert_eq!(reap_orphan(id.pid, id.started, &id.spawn_id), Reaped::Gone);
}

#[tokio::test]
async fn a_marked_orphan_is_found_in_any_group() {
    let marker = spawn_id();
    let mut orphan = std::process::Command::new("setsid")
        .args(["sleep", "600"])
        .env("SESSIOND_SPAWN_ID", &marker)
        .spawn()
        .unwrap();
    // `setsid` becomes `sleep` by a second exec; the marker is read once that one is through.
    let proc_entry = std::path::PathBuf::from(format!("/proc/{}", orphan.id()));
    loop {
        let read = |name: &str| std::fs::read(proc_entry.join(name)).unwrap();
        let marked = read("environ")
            .split(|byte| *byte == 0)
            .any(|entry| entry == format!("SESSIOND_SPAWN_ID={marker}").as_bytes());
        if read("comm") == b"sleep\n" && marked {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let reaped = reap_orphan(1_999_999_999, 5, &marker);
    assert_eq!(reaped, Reaped::Killed { processes: 1 });
    orphan.wait().unwrap();
}

#[tokio::test]
async fn an_agent_that_does_not_answer_is_told_from_one_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let limits = HostLimits {
        request_timeout: Duration::from_millis(100),
        ..HostLimits::default()
    };
    let silent = AgentSpec {
        command: "sleep".into(),
        args: vec!["600".into()],
        ..AgentSpec::default()
    };
    let (agent, _incoming) = spawn(&silent, dir.path(), spawn_id(), &limits).unwrap();
    let error = agent.initialize().await.unwrap_err();
    assert!(matches!(error, AgentError::Timeout { .. }), "{error}");

    let loud = AgentSpec {
        command: "sh".into(),
        args: vec!["-c".into(), "echo no key >&2; exit 3".into()],
        ..AgentSpec::default()
    };
    let (agent, mut incoming) =
        spawn(&loud, dir.path(), spawn_id(), &HostLimits::default()).unwrap();
    let error = agent.initialize().await.unwrap_err();
    assert!(matches!(error, AgentError::Gone { .. }), "{error}");
    match incoming.recv().await {
        Some(Incoming::Exited {
            code, stderr_tail, ..
        }) => {
            assert_eq!(code, Some(3));
            assert_eq!(stderr_tail, "no key");
        }
        other => panic!("{other:?}"),
    }

    let missing = AgentSpec {
        command: "sessiond-no-such-program".into(),
        ..AgentSpec::default()
    };
    let error = spawn(&missing, dir.path(), spawn_id(), &limits).unwrap_err();
    assert!(matches!(error, AgentError::Spawn { .. }), "{error}");
}

#[tokio::test]
async fn our_own_settings_do_not_reach_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let spec = AgentSpec {
        command: "sh".into(),
        args: vec!["-c".into(), "env >&2".into()],
        env: BTreeMap::from([("SOME_KEY".into(), "x".into())]),
        ..AgentSpec::default()
    };
    let (agent, mut incoming) =
        spawn(&spec, dir.path(), spawn_id(), &HostLimits::default()).unwrap();
    let Some(Incoming::Exited { stderr_tail, .. }) = incoming.recv().await else {
        panic!()
    };
    let marker = format!("SESSIOND_SPAWN_ID={}", agent.process().spawn_id);
    assert!(stderr_tail.contains(&marker) && stderr_tail.contains("SOME_KEY=x"));
    assert_eq!(stderr_tail.matches("SESSIOND_").count(), 1, "{stderr_tail}");
}
