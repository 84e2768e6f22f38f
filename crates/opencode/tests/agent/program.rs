//! The built-in demo agent as a program: what this crate's tests start as a coding agent.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    sessiond_agent::run_demo_agent(tokio::io::stdin(), tokio::io::stdout()).await
}
