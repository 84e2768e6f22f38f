//! Questions: the form that an agent wants filled in, and what its answers say.

use serde_json::{Map, Number, Value, json};
use sessiond_model::{QuestionInfo, QuestionOption};
use thiserror::Error;

use super::content::text;

/// Longest heading, in characters; clients show it as a tab.
const HEADER: usize = 30;
/// Most fields and options: a person is to answer them.
const FIELDS: usize = 50;
const OPTIONS: usize = 200;

/// A form of an agent, as questions for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The questions, in the order of the answers.
    pub questions: Vec<QuestionInfo>,
    /// The tool call that asks.
    pub call_id: Option<String>,
    fields: Vec<Field>,
}

/// What one answer goes into.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    key: String,
    kind: Kind,
    /// The field for an answer in one's own words.
    own: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    /// One of these: what is shown, and what is sent.
    One(Vec<(String, Value)>),
    /// Any of these.
    Many(Vec<(String, Value)>),
    Text,
    Whole,
    Number,
    /// Whether to go on at all; no field.
    Consent,
}

/// An answer that the form does not take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("answer {index} {reason}")]
pub struct Unfit {
    /// Which answer, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What an agent hears of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum QuestionAnswer {
    /// The fields that were filled in.
    Given(Map<String, Value>),
    /// A person does not want to answer.
    Declined,
    /// Nobody answers any more.
    Cancelled,
}

impl QuestionAnswer {
    pub(crate) fn result(&self) -> Value {
        match self {
            Self::Given(content) => json!({"action": "accept", "content": content}),
            Self::Declined => json!({"action": "decline"}),
            Self::Cancelled => json!({"action": "cancel"}),
        }
    }
}

const ACCEPT: &str = "Accept";
const DECLINE: &str = "Decline";

impl Form {
    /// Reads a request; `None` for what no question can stand for.
    #[must_use]
    pub fn read(params: &Value) -> Option<Self> {
        if params["mode"] != "form" || !params["sessionId"].is_string() {
            return None;
        }
        let message = text(params, "message").unwrap_or("Your input is needed.");
        let none = Map::new();
        let properties = params["requestedSchema"]["properties"].as_object();
        let properties = properties.unwrap_or(&none);
        if properties.len() > FIELDS {
            return None;
        }
        let mut form = Self {
            questions: Vec::new(),
            call_id: text(params, "toolCallId").map(str::to_owned),
            fields: Vec::new(),
        };
        for (key, schema) in properties {
            if companion(key, schema, properties).is_none() {
                form.add(key, schema, properties, message)?;
            }
        }
        if form.fields.is_empty() {
            form.consent(message);
        } else if let [question] = form.questions.as_mut_slice()
            && question.question.is_empty()
        {
            message.clone_into(&mut question.question);
        }
        for question in &mut form.questions {
            if question.question.is_empty() {
                question.question.clone_from(&question.header);
            }
            question.header = question.header.chars().take(HEADER).collect();
        }
        Some(form)
    }

    fn add(
        &mut self,
        key: &str,
        schema: &Value,
        all: &Map<String, Value>,
        message: &str,
    ) -> Option<()> {
        let choices = |of: &Value| options(of).filter(|found| found.len() <= OPTIONS);
        let (kind, shown) = match text(schema, "type").unwrap_or("string") {
            "string" if has_options(schema) => {
                let found = choices(schema)?;
                (Kind::One(values(&found)), found)
            }
            "string" => (Kind::Text, Vec::new()),
            "array" => {
                let found = choices(&schema["items"])?;
                (Kind::Many(values(&found)), found)
            }
            "boolean" => {
                let found = [("Yes", true), ("No", false)].map(|(label, value)| Choice {
                    shown: option(label, ""),
                    value: value.into(),
                });
                (Kind::One(values(&found)), found.to_vec())
            }
            "integer" => (Kind::Whole, Vec::new()),
            "number" => (Kind::Number, Vec::new()),
            _ => return None,
        };
        let own = all
            .iter()
            .find(|(k, s)| companion(k, s, all) == Some(key))
            .map(|(k, _)| k.clone());
        let is_free = matches!(kind, Kind::Text | Kind::Whole | Kind::Number);
        let (question, header) = worded(key, schema, message);
        self.questions.push(QuestionInfo {
            question,
            header,
            options: shown.into_iter().map(|choice| choice.shown).collect(),
            multiple: matches!(kind, Kind::Many(_)).then_some(true),
            custom: Some(is_free || own.is_some()),
        });
        self.fields.push(Field {
            key: key.to_owned(),
            kind,
            own,
        });
        Some(())
    }

    fn consent(&mut self, message: &str) {
        self.questions.push(QuestionInfo {
            question: message.to_owned(),
            header: "Confirm".into(),
            options: vec![option(ACCEPT, ""), option(DECLINE, "")],
            multiple: None,
            custom: Some(false),
        });
        self.fields.push(Field {
            key: String::new(),
            kind: Kind::Consent,
            own: None,
        });
    }

    /// What these answers say: for each question the labels that were chosen, or own words. A
    /// question without an answer leaves its field out.
    ///
    /// # Errors
    /// When an answer is not among the options and none of one's own is taken, or is no number.
    pub fn answer(&self, answers: &[Vec<String>]) -> Result<QuestionAnswer, Unfit> {
        let mut content = Map::new();
        for (index, (field, given)) in self.fields.iter().zip(answers).enumerate() {
            let unfit = |reason| Unfit { index, reason };
            let given: Vec<&str> = given.iter().map(|words| words.trim()).collect();
            let given: Vec<&str> = given
                .into_iter()
                .filter(|words| !words.is_empty())
                .collect();
            let Some(first) = given.first() else { continue };
            if given.len() > 1 && !matches!(field.kind, Kind::Many(_)) {
                return Err(unfit("must be a single one"));
            }
            let value = match &field.kind {
                Kind::Consent if *first == ACCEPT => continue,
                Kind::Consent if *first == DECLINE => return Ok(QuestionAnswer::Declined),
                Kind::Consent => return Err(unfit("must be one of the options")),
                Kind::Text => Value::from(*first),
                Kind::Whole => Value::from(
                    first
                        .parse::<i64>()
                        .map_err(|_| unfit("must be a whole number"))?,
                ),
                Kind::Number => first
                    .parse()
                    .ok()
                    .and_then(Number::from_f64)
                    .map(Value::Number)
                    .ok_or(unfit("must be a number"))?,
                Kind::One(options) | Kind::Many(options) => {
                    let known = |words: &&str| options.iter().find(|(label, _)| label == words);
                    let own: Vec<&str> = (given.iter().copied())
                        .filter(|words| known(words).is_none())
                        .collect();
                    if !own.is_empty() {
                        let Some(key) = &field.own else {
                            return Err(unfit("must be one of the options"));
                        };
                        content.insert(key.clone(), own.join(", ").into());
                    }
                    let mut picked = given
                        .iter()
                        .filter_map(known)
                        .map(|(_, value)| value.clone());
                    match &field.kind {
                        Kind::Many(_) => picked.collect(),
                        _ => match picked.next() {
                            Some(value) => value,
                            None => continue,
                        },
                    }
                }
            };
            content.insert(field.key.clone(), value);
        }
        Ok(QuestionAnswer::Given(content))
    }
}

#[derive(Clone, Debug)]
struct Choice {
    shown: QuestionOption,
    value: Value,
}

fn option(label: &str, description: &str) -> QuestionOption {
    QuestionOption {
        label: label.to_owned(),
        description: description.to_owned(),
    }
}

fn values(choices: &[Choice]) -> Vec<(String, Value)> {
    let value = |choice: &Choice| (choice.shown.label.clone(), choice.value.clone());
    choices.iter().map(value).collect()
}

fn has_options(schema: &Value) -> bool {
    ["oneOf", "anyOf", "enum"]
        .iter()
        .any(|name| schema[name].is_array())
}

/// What there is to choose from: titled constants, or plain values.
fn options(schema: &Value) -> Option<Vec<Choice>> {
    let titled = ["oneOf", "anyOf"]
        .iter()
        .find_map(|name| schema[*name].as_array());
    if let Some(titled) = titled {
        let choice = |o: &Value| {
            let value = o["const"].as_str()?;
            Some(Choice {
                shown: option(
                    text(o, "title").unwrap_or(value),
                    text(o, "description").unwrap_or_default(),
                ),
                value: value.into(),
            })
        };
        return titled.iter().map(choice).collect();
    }
    let names = schema["enumNames"].as_array();
    let choice = |(index, value): (usize, &Value)| {
        let value = value.as_str()?;
        let name = names.and_then(|names| names.get(index)?.as_str());
        Some(Choice {
            shown: option(name.unwrap_or(value), ""),
            value: value.into(),
        })
    };
    schema["enum"]
        .as_array()?
        .iter()
        .enumerate()
        .map(choice)
        .collect()
}

/// The field with options that a field for one's own words belongs to: by what Codex says of it, or
/// by its name, as Claude gives it.
fn companion<'a>(key: &str, schema: &Value, all: &'a Map<String, Value>) -> Option<&'a str> {
    if schema["type"] != "string" || has_options(schema) {
        return None;
    }
    let said = schema["_meta"]["codex"]["questionId"].as_str();
    let belongs = |name: &str| match said {
        Some(said) => said == name,
        None => key.strip_prefix(name).is_some_and(|rest| rest == "_custom"),
    };
    all.iter()
        .filter(|(_, s)| has_options(s) || s["type"] == "array")
        .map(|(name, _)| name.as_str())
        .find(|name| belongs(name))
}

/// A field's question and its heading. Agents use `title` and `description` for either: the
/// longer one is the question.
fn worded(key: &str, schema: &Value, message: &str) -> (String, String) {
    let filled = |name| text(schema, name).filter(|words| !words.trim().is_empty());
    match (filled("title"), filled("description")) {
        (Some(title), Some(more)) if more.chars().count() >= title.chars().count() => {
            (more.to_owned(), title.to_owned())
        }
        (Some(title), Some(more)) => (title.to_owned(), more.to_owned()),
        (Some(title), None) => (String::new(), title.to_owned()),
        (None, Some(more)) => (more.to_owned(), key.to_owned()),
        (None, None) if message.is_empty() => (key.to_owned(), key.to_owned()),
        (None, None) => (String::new(), key.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(answer: &Result<QuestionAnswer, Unfit>) -> Value {
        match answer {
            Ok(QuestionAnswer::Given(content)) => Value::Object(content.clone()),
            other => panic!("{other:?}"),
        }
    }

    fn say(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    /// As Claude's adapter asks.
    fn claude() -> Form {
        Form::read(&json!({
            "mode": "form", "sessionId": "s", "toolCallId": "call_1", "message": "Which colour?",
            "requestedSchema": {"type": "object", "properties": {
                "question_0": {"type": "string", "title": "Colour", "oneOf": [
                    {"const": "Red", "title": "Red", "description": "like fire"},
                    {"const": "Blue", "title": "Blue"},
                ]},
                "question_0_custom": {"type": "string", "title": "Other", "description": "Type your own"},
            }},
        }))
        .unwrap()
    }

    #[test]
    fn a_choice_with_a_place_for_own_words() {
        let form = claude();
        assert_eq!(form.call_id.as_deref(), Some("call_1"));
        let [question] = form.questions.as_slice() else {
            panic!("{form:?}")
        };
        assert_eq!(question.question, "Which colour?");
        assert_eq!(question.header, "Colour");
        assert_eq!(question.options[0], option("Red", "like fire"));
        assert_eq!((question.multiple, question.custom), (None, Some(true)));
        let answer = form.answer(&[say(&["Blue"])]);
        assert_eq!(given(&answer), json!({"question_0": "Blue"}));
        let answer = form.answer(&[say(&[" mauve "])]);
        assert_eq!(given(&answer), json!({"question_0_custom": "mauve"}));
        assert_eq!(given(&form.answer(&[vec![]])), json!({}));
        let two = form.answer(&[say(&["Red", "Blue"])]).unwrap_err();
        assert_eq!((two.index, two.reason), (0, "must be a single one"));
    }

    /// As Codex asks: the question is the title.
    #[test]
    fn several_questions_keep_their_words() {
        let form = Form::read(&json!({
            "mode": "form", "sessionId": "s", "message": "Codex needs your input to continue.",
            "requestedSchema": {"type": "object", "properties": {
                "a": {"type": "string", "title": "Which database is it to be?", "description": "DB",
                      "oneOf": [{"const": "pg", "title": "PostgreSQL"}]},
                "a_2": {"type": "string", "title": "Additional answer or note",
                        "_meta": {"codex": {"questionId": "a", "role": "user_note"}}},
                "b": {"type": "array", "title": "Tests", "description": "Which tests do you want?",
                      "items": {"anyOf": [{"const": "unit"}, {"const": "e2e"}]}},
                "c": {"type": "string", "title": "A name for it"},
            }},
        }))
        .unwrap();
        let words: Vec<_> = form
            .questions
            .iter()
            .map(|q| (&*q.question, &*q.header))
            .collect();
        assert_eq!(
            words,
            [
                ("Which database is it to be?", "DB"),
                ("Which tests do you want?", "Tests"),
                ("A name for it", "A name for it"),
            ]
        );
        assert_eq!(form.questions[1].multiple, Some(true));
        assert_eq!(form.questions[1].custom, Some(false));
        let answer = form.answer(&[say(&["PostgreSQL"]), say(&["e2e", "unit"]), say(&["x"])]);
        assert_eq!(
            given(&answer),
            json!({"a": "pg", "b": ["e2e", "unit"], "c": "x"})
        );
        let own = form.answer(&[say(&["mine"]), vec![], vec![]]);
        assert_eq!(given(&own), json!({"a_2": "mine"}));
        let foreign = form.answer(&[vec![], say(&["lint"]), vec![]]).unwrap_err();
        assert_eq!(
            (foreign.index, foreign.reason),
            (1, "must be one of the options")
        );
    }

    #[test]
    fn values_are_of_their_kind() {
        let form = Form::read(&json!({
            "mode": "form", "sessionId": "s", "message": "Numbers",
            "requestedSchema": {"properties": {
                "a": {"type": "integer"}, "b": {"type": "number"}, "c": {"type": "boolean"},
                "d": {"type": "string", "enum": ["x", "y"], "enumNames": ["Ex", "Why"]},
            }},
        }))
        .unwrap();
        let answer = form.answer(&[say(&["7"]), say(&["1.5"]), say(&["No"]), say(&["Why"])]);
        assert_eq!(
            given(&answer),
            json!({"a": 7, "b": 1.5, "c": false, "d": "y"})
        );
        let wrong = form.answer(&[say(&["seven"])]).unwrap_err();
        assert_eq!(wrong.reason, "must be a whole number");
        let wrong = form.answer(&[vec![], say(&["NaN"])]).unwrap_err();
        assert_eq!(wrong.reason, "must be a number");
    }

    #[test]
    fn a_form_without_fields_asks_for_consent() {
        let form = Form::read(
            &json!({"mode": "form", "sessionId": "s", "message": "Go on?",
            "requestedSchema": {"type": "object", "properties": {}}}),
        )
        .unwrap();
        assert_eq!(form.questions[0].question, "Go on?");
        assert_eq!(given(&form.answer(&[say(&["Accept"])])), json!({}));
        let declined = form.answer(&[say(&["Decline"])]);
        assert_eq!(declined, Ok(QuestionAnswer::Declined));
        form.answer(&[say(&["Perhaps"])]).unwrap_err();
    }

    #[test]
    fn what_is_no_form_is_no_question() {
        for strange in [
            json!({"mode": "url", "sessionId": "s", "message": "m", "url": "https://x"}),
            json!({"mode": "form", "requestId": 1, "message": "m", "requestedSchema": {}}),
            json!({"mode": "form", "sessionId": "s", "message": "m",
                   "requestedSchema": {"properties": {"a": {"type": "object"}}}}),
            json!({"mode": "form", "sessionId": "s", "message": "m",
                   "requestedSchema": {"properties": {"a": {"type": "array", "items": {}}}}}),
            Value::Null,
        ] {
            assert_eq!(Form::read(&strange), None, "{strange}");
        }
    }
}
