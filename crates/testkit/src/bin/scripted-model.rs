//! The scripted model server as a program: `scripted-model [PORT]`. Prints its URL on the
//! first line of stdout.

use std::io::{self, Write};

use sessiond_testkit::scripted::ScriptedModel;

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = match std::env::args().nth(1) {
        Some(text) => text
            .parse()
            .map_err(|_| io::Error::other(format!("not a port: {text}")))?,
        None => 0,
    };
    let server = ScriptedModel::start(port).await?;
    writeln!(io::stdout(), "{}", server.url())?;
    server.wait().await;
    Ok(())
}
