//! The demo agent, host and translation together, as the engine uses them.

use std::collections::BTreeMap;
use std::time::Duration;

use sessiond_agent::{
    Agent, AgentSpec, HostLimits, Incoming, Outcome, PermissionAnswer, PromptBlock, choose_option,
    connect,
};
use sessiond_model::{DiffStatus, PartBody, PermissionReply, ToolState};
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;

use crate::fold::Stage;

const PATIENCE: Duration = Duration::from_secs(60);

struct Demo {
    agent: Agent,
    incoming: Receiver<Incoming>,
    session: String,
    dir: TempDir,
}

async fn demo() -> Demo {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home").to_string_lossy().into_owned();
    let spec = AgentSpec {
        command: env!("CARGO_BIN_EXE_sessiond-demo-agent").into(),
        env: BTreeMap::from([("SESSIOND_DEMO_HOME".into(), home)]),
        ..AgentSpec::default()
    };
    let spawn_id = format!("turn-{}", dir.path().display());
    let (agent, incoming) = connect(&spec, dir.path(), spawn_id, &HostLimits::default())
        .await
        .unwrap();
    let session = agent.new_session(dir.path()).await.unwrap().session_id;
    Demo {
        agent,
        incoming,
        session,
        dir,
    }
}

impl Demo {
    async fn next(&mut self) -> Incoming {
        tokio::time::timeout(PATIENCE, self.incoming.recv())
            .await
            .expect("something arrives in time")
            .unwrap()
    }

    /// Runs a turn, answering every request with `reply`; the verdict as text.
    async fn turn(&mut self, prompt: &str, reply: PermissionReply) -> (Stage, String) {
        let mut stage = Stage::new();
        let blocks = vec![PromptBlock::Text(prompt.into())];
        self.agent.prompt(&self.session, blocks).await.unwrap();
        loop {
            match self.next().await {
                Incoming::Update { update, .. } => stage.update(&update),
                Incoming::Permission { request, params } => {
                    let ask = stage.permission(&params);
                    let call = ask.call_id.unwrap();
                    stage.answered(&call, reply != PermissionReply::Reject);
                    let answer = choose_option(&ask.options, reply);
                    assert_ne!(answer, PermissionAnswer::Cancelled);
                    self.agent
                        .answer_permission(&request, answer)
                        .await
                        .unwrap();
                }
                Incoming::PromptDone(result) => {
                    let outcome = result.map_or_else(Outcome::Failed, Outcome::Done);
                    let verdict = stage.finish(&outcome);
                    return (stage, verdict);
                }
                Incoming::Other(_) => {}
                strange @ (Incoming::Question { .. } | Incoming::Exited { .. }) => {
                    panic!("{strange:?}")
                }
            }
        }
    }
}

#[tokio::test]
async fn files_are_written_edited_and_accounted_for() {
    let mut demo = demo().await;
    let script =
        "/write a.txt one\\ntwo\\n\n/edit a.txt two 2\n/run cat a.txt; exit 3\n/edit a.txt nine 9";
    let (stage, verdict) = demo.turn(script, PermissionReply::Always).await;
    assert!(verdict.contains("Completed"), "{verdict}");
    let file = demo.dir.path().join("a.txt");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one\n2\n");
    let [touched] = stage.translator.touched_files().try_into().unwrap();
    assert_eq!(touched.file, file.to_string_lossy());
    assert_eq!(touched.status, DiffStatus::Added);
    assert_eq!(
        (touched.additions, touched.deletions),
        (2, 0),
        "both edits are one change"
    );
    let tools = stage.tools();
    let names: Vec<&str> = tools.iter().map(|t| t.tool.as_str()).collect();
    assert_eq!(names, ["write", "edit", "bash", "edit"]);
    let ToolState::Completed {
        output, metadata, ..
    } = &tools[2].state
    else {
        panic!("{:?}", tools[2])
    };
    assert_eq!(output, "one\n2\n");
    assert_eq!(metadata["exit"], 3);
    let ToolState::Error { error, .. } = &tools[3].state else {
        panic!("{:?}", tools[3])
    };
    assert_eq!(error, "a.txt does not contain \"nine\"");
}

#[tokio::test]
async fn a_refusal_changes_nothing_and_the_turn_goes_on() {
    let mut demo = demo().await;
    let (stage, verdict) = demo
        .turn("/write a.txt one\n/think", PermissionReply::Reject)
        .await;
    assert!(verdict.contains("Completed"), "{verdict}");
    assert!(!demo.dir.path().join("a.txt").exists());
    assert_eq!(stage.translator.touched_files(), []);
    assert!(stage.translator.text().contains("I leave it"));
    assert!(
        stage
            .parts()
            .iter()
            .any(|p| matches!(p.body, PartBody::Reasoning { .. }))
    );
}

#[tokio::test]
async fn every_way_to_fail_is_seen_as_one() {
    let mut demo = demo().await;
    for (prompt, expected) in [
        ("/fail", "Internal error: the demo model failed on request"),
        ("/fail-auth", "auth_required"),
        ("/error-text", "the demo model is overloaded"),
        ("/nothing", "without an answer"),
    ] {
        let (_, verdict) = demo.turn(prompt, PermissionReply::Once).await;
        assert!(
            verdict.contains("Failed") && verdict.contains(expected),
            "{verdict}"
        );
    }
    let (_, verdict) = demo.turn("hello", PermissionReply::Once).await;
    assert!(
        verdict.contains("Completed"),
        "and the next turn works: {verdict}"
    );
}

#[tokio::test]
async fn a_tool_that_never_reports_is_closed_and_one_that_reports_late_is_taken() {
    let mut demo = demo().await;
    let (stage, _) = demo.turn("/silent-tool", PermissionReply::Once).await;
    let [tool] = stage.tools().try_into().unwrap();
    assert!(matches!(tool.state, ToolState::Error { .. }), "{tool:?}");

    let (mut stage, _) = demo.turn("/late", PermissionReply::Once).await;
    let Incoming::Update { update, .. } = demo.next().await else {
        panic!()
    };
    stage.late(&update);
    let [tool] = stage.tools().try_into().unwrap();
    let ToolState::Completed { output, .. } = tool.state else {
        panic!("{tool:?}")
    };
    assert_eq!(output, "better late than never");
}
