//! From "write this file" to the tool that this agent really offers, with its own names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a tool takes.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind {
    /// An object that follows this JSON schema.
    Function(Value),
    /// Free text.
    Custom,
}

/// A tool on offer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// What it takes.
    pub kind: ToolKind,
    /// The namespace it was offered in (OpenAI Responses).
    pub namespace: Option<String>,
}

/// The tools on offer, by name.
#[derive(Clone, Debug, Default)]
pub struct Offer(pub BTreeMap<String, Tool>);

/// What a tool is called with.
#[derive(Clone, Debug, PartialEq)]
pub enum Args {
    /// An object.
    Object(Value),
    /// Free text.
    Free(String),
}

impl Args {
    /// As the JSON text that function calls carry.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Object(v) => v.to_string(),
            Self::Free(text) => json!({ "input": text }).to_string(),
        }
    }

    /// As a JSON object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Object(v) => v.clone(),
            Self::Free(text) => json!({ "input": text }),
        }
    }
}

/// A call of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Its name.
    pub tool: String,
    /// Its arguments.
    pub args: Args,
    /// Its namespace.
    pub namespace: Option<String>,
}

const WRITERS: &[&str] = &["Write", "write", "write_file"];
const EDITORS: &[&str] = &["Edit", "edit", "replace", "edit_file"];
const READERS: &[&str] = &["Read", "read", "read_file"];
const SHELLS: &[&str] = &[
    "Bash",
    "bash",
    "exec_command",
    "shell_command",
    "run_shell_command",
    "shell",
];
const PLANNERS: &[&str] = &["TodoWrite", "todowrite", "todo_write", "update_plan"];
const ASKERS: &[&str] = &["AskUserQuestion", "request_user_input", "question"];
const PATCHER: &str = "apply_patch";

impl Offer {
    /// Whether nothing is on offer: then the request is a side job such as a title.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a function.
    pub fn function(&mut self, name: &str, schema: Option<&Value>, namespace: Option<&str>) {
        self.0.insert(
            name.to_owned(),
            Tool {
                kind: ToolKind::Function(schema.cloned().unwrap_or(Value::Null)),
                namespace: namespace.map(str::to_owned),
            },
        );
    }

    /// Adds a tool that takes free text.
    pub fn custom(&mut self, name: &str) {
        self.0.insert(
            name.to_owned(),
            Tool {
                kind: ToolKind::Custom,
                namespace: None,
            },
        );
    }

    /// Writes a new file.
    #[must_use]
    pub fn write(&self, path: &str, content: &str) -> Call {
        if let Some(tool) = self.first(WRITERS) {
            return self.object(
                tool,
                &[
                    (&["file_path", "filePath", "path"], json!(path)),
                    (&["content"], json!(content)),
                ],
            );
        }
        let added: String = content.lines().map(|l| format!("+{l}\n")).collect();
        self.patch(&format!("*** Add File: {path}\n{added}"))
            .unwrap_or_else(|| self.run(&format!("cat > '{path}' <<'EOF'\n{content}EOF"), true))
    }

    /// Replaces one line of a file.
    #[must_use]
    pub fn edit(&self, path: &str, old: &str, new: &str) -> Call {
        if let Some(tool) = self.first(EDITORS) {
            return self.object(
                tool,
                &[
                    (&["file_path", "filePath", "path"], json!(path)),
                    (&["old_string", "oldString"], json!(old)),
                    (&["new_string", "newString"], json!(new)),
                ],
            );
        }
        self.patch(&format!("*** Update File: {path}\n@@\n-{old}\n+{new}\n"))
            .unwrap_or_else(|| self.run(&format!("sed -i 's/{old}/{new}/' '{path}'"), true))
    }

    /// Reads a file.
    #[must_use]
    pub fn read(&self, path: &str) -> Call {
        match self.first(READERS) {
            Some(tool) => self.object(
                tool,
                &[(
                    &["file_path", "filePath", "absolute_path", "path"],
                    json!(path),
                )],
            ),
            None => self.run(&format!("cat '{path}'"), false),
        }
    }

    /// Runs a command; `ask` wants the agent to ask its user first.
    #[must_use]
    pub fn run(&self, command: &str, ask: bool) -> Call {
        let tool = self.first(SHELLS).unwrap_or("bash");
        let command = if tool == "shell" {
            json!(["bash", "-lc", command])
        } else {
            json!(command)
        };
        let mut call = self.object(tool, &[(&["command", "cmd"], command)]);
        let known = self.properties(tool);
        if let Args::Object(Value::Object(args)) = &mut call.args {
            if known.contains_key("description") {
                args.insert("description".into(), json!("a scripted command"));
            }
            if ask && known.contains_key("sandbox_permissions") {
                args.insert("sandbox_permissions".into(), json!("require_escalated"));
                args.insert(
                    "justification".into(),
                    json!("the script wants to be asked"),
                );
            }
        }
        call
    }

    /// Asks a person to choose.
    #[must_use]
    pub fn ask(&self) -> Call {
        let Some(tool) = self.first(ASKERS) else {
            return self.run("echo there is no tool for questions", false);
        };
        let options = [("Red", "like fire"), ("Blue", "like the sea")];
        let options = options.map(|(label, more)| json!({"label": label, "description": more}));
        let mut question = json!({
            "question": "Which colour is it to be?", "header": "Colour", "options": options,
        });
        match tool {
            "AskUserQuestion" => question["multiSelect"] = false.into(),
            "request_user_input" => question["id"] = "colour".into(),
            _ => {}
        }
        self.object(tool, &[(&["questions"], json!([question]))])
    }

    /// Sets the plan; `states` are the states of its three steps.
    #[must_use]
    pub fn plan(&self, states: [&str; 3]) -> Call {
        let steps = ["Look around", "Change the code", "Run the tests"];
        let Some(tool) = self.first(PLANNERS) else {
            return self.run("echo there is no tool for plans", false);
        };
        let pairs = steps.iter().zip(states);
        if tool == "update_plan" {
            let plan: Vec<Value> = pairs
                .map(|(s, state)| json!({ "step": s, "status": state }))
                .collect();
            return self.object(tool, &[(&["plan"], json!(plan))]);
        }
        let fields = self
            .properties(tool)
            .get("todos")
            .and_then(|t| t.pointer("/items/properties"))
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let todos: Vec<Value> = pairs
            .enumerate()
            .map(|(i, (step, state))| {
                let mut todo = Map::from_iter([
                    ("content".to_owned(), json!(step)),
                    ("status".to_owned(), json!(state)),
                ]);
                let extras = [
                    ("activeForm", json!(step)),
                    ("priority", json!("high")),
                    ("id", json!((i + 1).to_string())),
                ];
                for (key, value) in extras {
                    if fields.contains_key(key) {
                        todo.insert(key.to_owned(), value);
                    }
                }
                Value::Object(todo)
            })
            .collect();
        self.object(tool, &[(&["todos"], json!(todos))])
    }

    /// A patch by the patch tool, or by a shell that understands it.
    fn patch(&self, body: &str) -> Option<Call> {
        let text = format!("*** Begin Patch\n{body}*** End Patch");
        if let Some(tool) = self.0.get(PATCHER) {
            return Some(Call {
                tool: PATCHER.to_owned(),
                args: Args::Free(text + "\n"),
                namespace: tool.namespace.clone(),
            });
        }
        self.0
            .contains_key("exec_command")
            .then(|| self.run(&format!("apply_patch <<'EOF'\n{text}\nEOF"), false))
    }

    fn first<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names.iter().copied().find(|n| self.0.contains_key(*n))
    }

    fn properties(&self, tool: &str) -> Map<String, Value> {
        match self.0.get(tool).map(|t| &t.kind) {
            Some(ToolKind::Function(schema)) => schema
                .get("properties")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default(),
            _ => Map::new(),
        }
    }

    /// A call with each value under the first of its names that the schema knows.
    fn object(&self, tool: &str, values: &[(&[&str], Value)]) -> Call {
        let known = self.properties(tool);
        let args = values.iter().map(|(names, value)| {
            let name = names
                .iter()
                .find(|n| known.contains_key(**n))
                .unwrap_or(&names[0]);
            ((*name).to_owned(), value.clone())
        });
        Call {
            tool: tool.to_owned(),
            args: Args::Object(Value::Object(args.collect())),
            namespace: self.0.get(tool).and_then(|t| t.namespace.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_schema_on_offer() {
        let mut offer = Offer::default();
        let schema = json!({"properties": {"filePath": {}, "content": {}}});
        offer.function("write", Some(&schema), None);
        let call = offer.write("/a", "x\n");
        assert_eq!(call.tool, "write");
        assert_eq!(
            call.args,
            Args::Object(json!({"filePath": "/a", "content": "x\n"}))
        );
    }

    #[test]
    fn a_patch_tool_stands_in_for_writing() {
        let mut offer = Offer::default();
        offer.custom("apply_patch");
        let Args::Free(text) = offer.write("/a", "x\ny\n").args else {
            panic!("free text expected")
        };
        assert_eq!(
            text,
            "*** Begin Patch\n*** Add File: /a\n+x\n+y\n*** End Patch\n"
        );
    }

    #[test]
    fn without_any_tool_it_is_a_shell_command() {
        let call = Offer::default().read("/a");
        assert_eq!(call.tool, "bash");
    }
}
