//! The OpenAPI document, generated from the routes and shapes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::json;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::AdditionalProperties::FreeForm;
use utoipa::openapi::schema::{Object, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
};
use utoipa::{IntoResponses, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::dto::{DeltaDto, EventDto, StateDto, StreamNote};
use crate::problem::{PROBLEM_JSON, Problem, ProblemKind};
use crate::routes;

/// Where the server mounts the router.
pub(crate) const BASE: &str = "/v1";

/// The OpenAPI 3.1 document of this API.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = OpenApiRouter::with_openapi(Document::openapi())
        .nest(BASE, routes::all())
        .into_openapi();
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.patch,
            &mut item.delete,
        ];
        operations.into_iter().flatten().for_each(tidy);
    }
    for (name, schema) in document.components.iter_mut().flat_map(|c| &mut c.schemas) {
        if SENT.contains(&name.as_str()) {
            each_object(schema, &|o| {
                o.additional_properties = Some(Box::new(FreeForm(false)));
            });
        } else if name != "Problem" {
            each_object(schema, &|o| {
                o.required = o.properties.keys().cloned().collect();
            });
        }
    }
    document
}

/// Shapes that clients send: fields may be left out, unknown ones are refused. All others are
/// answers, which have all their fields, `null` or not; but for `Problem`.
const SENT: [&str; 18] = [
    "AbortBody",
    "CommandBody",
    "CreateSession",
    "ForkBody",
    "ImportBody",
    "ImportOutline",
    "Model",
    "OutlinedMessage",
    "PatchSession",
    "PermissionReplyBody",
    "PermissionRule",
    "PromptBody",
    "PromptPart",
    "QuestionReplyBody",
    "RevertBody",
    "ShareBody",
    "ShellBody",
    "TurnBody",
];

/// Does `change` to the objects that a shape is made of; not to those it refers to by name.
fn each_object(schema: &mut RefOr<Schema>, change: &dyn Fn(&mut Object)) {
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) if !object.properties.is_empty() => change(object),
        Schema::OneOf(one) => one.items.iter_mut().for_each(|s| each_object(s, change)),
        Schema::AllOf(all) => all.items.iter_mut().for_each(|s| each_object(s, change)),
        _ => {}
    }
}

/// Says what the macros can't: a parameter may be absent, but there is no `null` in addresses
/// and headers; and these operations do without a body.
fn tidy(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(Parameter {
            schema: Some(RefOr::T(Schema::Object(schema))),
            ..
        }) = parameter
            && let SchemaType::Array(types) = &schema.schema_type
            && let Some(one) = types.iter().find(|t| **t != Type::Null)
        {
            schema.schema_type = SchemaType::Type(one.clone());
        }
    }
    let optional = [
        "create_session",
        "fork_session",
        "abort",
        "init_session",
        "summarize",
        "share_session",
    ]
    .map(|id| Some(id.to_owned()))
    .contains(&operation.operation_id);
    if let Some(RefOr::T(body)) = operation.request_body.as_mut().filter(|_| optional) {
        body.required = Some(Required::False);
    }
}

/// The document as JSON text, made once.
pub(crate) fn json() -> &'static [u8] {
    static JSON: LazyLock<Vec<u8>> =
        LazyLock::new(|| serde_json::to_vec(&openapi()).unwrap_or_default());
    &JSON
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "sessiond core API",
        description = "Durable sessions of coding agents.\n\n\
            Names are snake_case. Times are integer milliseconds since the Unix epoch, UTC. A field without a value \
            is `null`. Unknown query parameters and body fields are refused. Every error is an RFC 9457 problem \
            (`application/problem+json`) whose `detail` says what is wrong and whose `field` names where.\n\n\
            A 2xx answer to a change means that it is on disk. `seq` numbers the events of the whole store, \
            `session_seq` those of one session, without gaps.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "sessions", description = "One conversation in one directory"),
        (name = "trash", description = "Deleted sessions"),
        (name = "messages", description = "What was said"),
        (name = "turns", description = "Prompts, commands and what they cause"),
        (name = "asks", description = "What agents ask of people"),
        (name = "events", description = "What changed, in order"),
        (name = "shares", description = "Links by which others can read a session"),
        (name = "agents", description = "The coding agents"),
        (name = "nodes", description = "The servers that share one store"),
        (name = "projects", description = "Bodies of work"),
        (name = "meta", description = "This API itself"),
    ),
    components(schemas(Problem, EventDto, StateDto, DeltaDto, StreamNote)),
    security(("bearer" = []), ("basic" = [])),
    modifiers(&Security),
)]
struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description =
            Some("The token that `sessiond serve` prints on its first start".into());
        let mut basic = Http::new(HttpAuthScheme::Basic);
        basic.description = Some("User `opencode`, the token as password".into());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        components.add_security_scheme("basic", SecurityScheme::Http(basic));
    }
}

type Responses = BTreeMap<String, RefOr<Response>>;

fn problem(kind: ProblemKind, description: &str, detail: &str) -> (String, RefOr<Response>) {
    let mut example = Problem::new(kind, detail);
    let mut response = ResponseBuilder::new().description(description);
    if kind == ProblemKind::Unavailable {
        example.retry_after = Some(1);
        let header = HeaderBuilder::new()
            .description(Some("Seconds after which to try again"))
            .build();
        response = response.header("Retry-After", header);
    }
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .example(Some(json!(example)))
        .build();
    let status = kind.status().as_str().to_owned();
    (
        status,
        response.content(PROBLEM_JSON, content).build().into(),
    )
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident { $($kind:ident: $description:literal, $detail:literal;)* })*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> Responses {
                [$(problem(ProblemKind::$kind, $description, $detail)),*].into()
            }
        }
    )*};
}

refusals! {
    /// What every operation may answer.
    Always {
        InvalidRequest: "A parameter, header or field is wrong, unknown or out of its bounds",
            "limit: Expected a number from 1 to 1000, got 0";
        Unauthorized: "No valid token", "A valid token is required";
        Forbidden: "The `Host` or `Origin` of the request is not allowed", "This Origin is not allowed";
        Internal: "A fault of the server", "The server failed; its log says why";
        Unavailable: "The store can't be used right now, or the server is stopping", "the disk is full";
    }
    /// What operations with a body may answer.
    BadBody {
        RequestTimeout: "The request took too long to arrive", "The body did not arrive in time";
        PayloadTooLarge: "The body is too large", "The body is larger than allowed";
        UnsupportedMediaType: "The body is not JSON", "Expected Content-Type: application/json";
    }
    /// There is no such thing.
    Missing {
        NotFound: "There is no such thing, or it is in the trash", "Session not found: ses_mine";
    }
    /// It is switched off; the text covers what `Always` has under the same status.
    Off {
        Disabled: "Sharing is switched off, or the `Host` or `Origin` of the request is not allowed",
            "sharing is switched off here (`share.enabled` in sessiond.toml)";
    }
    /// The present state forbids it.
    Clash {
        Conflict: "The present state forbids it, or the id is taken", "Permission request per_1: has ended before";
    }
    /// `If-Match` does not hold.
    Stale {
        PreconditionFailed: "The session has changed: `If-Match` does not hold",
            "the session has changed: its revision is not 3";
    }
    /// The idempotency key was used before.
    Reused {
        IdempotencyKeyReused: "The `Idempotency-Key` was used for another request",
            "Idempotency-Key: it was used for another request";
    }
}
