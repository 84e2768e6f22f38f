//! The demo agent as a program of its own, for tests.

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    sessiond_agent::run_demo_agent(tokio::io::stdin(), tokio::io::stdout()).await
}
