use serde::Serialize;
use sessiond_store::Node;
use utoipa::ToSchema;

/// A sessiond process that shares the store.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Node, example = json!({
    "name": "build-1", "number": 7, "url": "http://10.0.0.7:2468", "host": "build-1", "version": "0.1.0",
    "started_at": 1_767_225_600_000_i64, "expires_at": 1_767_225_610_000_i64, "alive": true, "is_this": false,
}))]
pub(crate) struct NodeDto {
    /// Its name, as configured.
    name: String,
    /// Its number: another one after each start, never given again.
    #[schema(minimum = 1)]
    number: u64,
    /// Where other nodes reach it; `null` when nobody can.
    url: Option<String>,
    /// The machine it runs on.
    host: String,
    /// The version of its program.
    version: String,
    /// When it registered: milliseconds since 1970, on the clock of the database.
    started_at: i64,
    /// When its leases end unless it renews: milliseconds since 1970, on the clock of the database.
    expires_at: i64,
    /// Whether it renews its leases.
    alive: bool,
    /// Whether it gave this answer.
    is_this: bool,
}

impl NodeDto {
    pub(crate) fn new(node: Node, me: Option<u64>) -> Self {
        Self {
            is_this: me == Some(node.number),
            name: node.name,
            number: node.number,
            url: node.url,
            host: node.host,
            version: node.version,
            started_at: node.started_at.millis(),
            expires_at: node.expires_at.millis(),
            alive: node.alive,
        }
    }
}

/// Nodes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeList {
    /// By name.
    pub(crate) nodes: Vec<NodeDto>,
}
