//! The OpenAPI document: a reviewed snapshot, whole, and true to itself.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use serde_json::Value;

/// Set this to write the snapshot anew; then review the difference.
const UPDATE: &str = "UPDATE_OPENAPI";

fn document() -> Value {
    serde_json::to_value(sessiond_api::openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(m, op)| (format!("{m} {path}"), op))
        })
        .collect()
}

#[test]
fn the_document_is_the_reviewed_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        let text = sessiond_api::openapi().to_pretty_json().unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap_or_default();
    // As values: the order of keys inside examples depends on features of serde_json that
    // other crates switch on.
    assert!(
        serde_json::from_str::<Value>(&reviewed).unwrap() == document(),
        "the API has changed: run the tests with {UPDATE}=1 and review openapi.json"
    );
}

#[test]
fn every_operation_is_documented() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert!(operations.len() >= 25, "{} operations", operations.len());
    let mut ids = std::collections::BTreeSet::new();
    for (name, operation) in operations {
        let text = |value: &Value| value.as_str().is_some_and(|s| !s.is_empty());
        assert!(text(&operation["summary"]), "{name}: no summary");
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{name}: operationId is taken"
        );
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(
                text(&parameter["description"]),
                "{name}: {} has no description",
                parameter["name"]
            );
        }
        let responses = operation["responses"].as_object().unwrap();
        for status in ["400", "401", "403", "500", "503"] {
            assert_eq!(
                responses[status]["content"]["application/problem+json"]["schema"]["$ref"],
                "#/components/schemas/Problem",
                "{name} {status}"
            );
        }
        if operation.get("requestBody").is_some() {
            assert!(
                responses.contains_key("413") && responses.contains_key("415"),
                "{name}"
            );
        }
        if name.contains("_id}") {
            assert!(responses.contains_key("404"), "{name}");
        }
        for (status, response) in responses {
            assert!(
                text(&response["description"]),
                "{name} {status}: no description"
            );
            let shaped = response["content"]
                .as_object()
                .is_some_and(|c| c.values().all(|c| c.get("schema").is_some()));
            assert!(shaped || status == "304", "{name} {status}: no shape");
        }
    }
}

#[test]
fn every_field_is_described_and_times_name_their_unit() {
    fn walk(name: &str, schema: &Value, missing: &mut Vec<String>) {
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let described = [
                &property["description"],
                &property["oneOf"][0]["description"],
            ];
            let described = described
                .into_iter()
                .find_map(Value::as_str)
                .unwrap_or_default();
            let tag = ["type", "role", "kind", "status"].contains(&field.as_str())
                && property.get("enum").is_some();
            // The content of an adjacently tagged variant is described by its own schema.
            let content = field == "data" && described.is_empty();
            if !(tag || content) && described.is_empty() {
                missing.push(format!("{name}.{field}"));
            }
            if (field.ends_with("_at") || field == "at" || field == "since")
                && !described.contains("milliseconds")
            {
                missing.push(format!("{name}.{field} (unit)"));
            }
        }
        for key in ["oneOf", "allOf", "anyOf"] {
            schema[key]
                .as_array()
                .into_iter()
                .flatten()
                .for_each(|s| walk(name, s, missing));
        }
    }
    let mut missing = Vec::new();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        walk(name, schema, &mut missing);
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn every_example_fits_its_schema() {
    let document = document();
    let mut checked = 0;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let Some(example) = schema.get("example") else {
            continue;
        };
        let mut root = document.clone();
        root["$ref"] = format!("#/components/schemas/{name}").into();
        let errors: Vec<String> = jsonschema::validator_for(&root)
            .unwrap()
            .iter_errors(example)
            .map(|e| format!("{e} at {}", e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        checked += 1;
    }
    assert!(checked >= 10, "only {checked} examples");
}

#[test]
fn what_clients_send_is_closed_and_what_they_get_is_whole() {
    fn names(value: &Value, all: &mut std::collections::BTreeSet<String>, document: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let name = reference.rsplit('/').next().unwrap();
                    if all.insert(name.to_owned()) {
                        names(&document["components"]["schemas"][name], all, document);
                    }
                }
                map.values().for_each(|v| names(v, all, document));
            }
            Value::Array(list) => list.iter().for_each(|v| names(v, all, document)),
            _ => {}
        }
    }
    fn objects(schema: &Value) -> Vec<&Value> {
        let inner = ["oneOf", "allOf"]
            .iter()
            .filter_map(|k| schema[k].as_array())
            .flatten();
        let this = schema["properties"].is_object().then_some(schema);
        this.into_iter().chain(inner.flat_map(objects)).collect()
    }
    let document = document();
    let mut sent = std::collections::BTreeSet::new();
    for (_, operation) in operations(&document) {
        names(&operation["requestBody"], &mut sent, &document);
    }
    assert!(sent.contains("PromptPart") && !sent.contains("Session"));
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for object in objects(schema) {
            if sent.contains(name) {
                assert_eq!(object["additionalProperties"], false, "{name} {object}");
            } else if name != "Problem" {
                let fields = object["properties"].as_object().unwrap().len();
                assert_eq!(
                    object["required"].as_array().unwrap().len(),
                    fields,
                    "{name}"
                );
            }
        }
    }
}
