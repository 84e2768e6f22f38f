//! Token counts, which every agent gives in a way of its own.

use serde_json::Value;
use sessiond_model::{TokenCache, Tokens};

/// The first of these fields that holds a number.
fn number(value: &Value, names: &[&str]) -> Option<u64> {
    names.iter().find_map(|name| {
        let field = value.get(name)?;
        field
            .as_u64()
            .or_else(|| field.as_f64().filter(|f| *f >= 0.0).map(|f| f as u64))
    })
}

/// Reads one count, in any of the spellings seen. `None` when it holds no number at all.
pub(crate) fn of_count(count: &Value) -> Option<Tokens> {
    let input = number(count, &["inputTokens", "input_tokens"]);
    let output = number(count, &["outputTokens", "output_tokens"]);
    let total = number(count, &["totalTokens", "total_tokens"]);
    if input.is_none() && output.is_none() && total.is_none() {
        return None;
    }
    let read = number(
        count,
        &[
            "cachedReadTokens",
            "cachedInputTokens",
            "cached_input_tokens",
        ],
    );
    let write = number(
        count,
        &[
            "cachedWriteTokens",
            "cachedWriteTokens",
            "cacheWriteInputTokens",
        ],
    );
    let reasoning = number(count, &["thoughtTokens", "reasoningOutputTokens"]);
    let mut tokens = Tokens {
        total,
        input: input.unwrap_or(0),
        output: output.unwrap_or(0),
        reasoning: reasoning.unwrap_or(0),
        cache: TokenCache {
            read: read.unwrap_or(0),
            write: write.unwrap_or(0),
        },
    };
    // Some count cached tokens as input and reasoning as output, some apart: the total tells.
    if total == Some(tokens.input + tokens.output) {
        tokens.input = tokens
            .input
            .saturating_sub(tokens.cache.read + tokens.cache.write);
        tokens.output = tokens.output.saturating_sub(tokens.reasoning);
    }
    Some(tokens)
}

/// The tokens of a prompt, from its answer.
pub(crate) fn of_result(result: &Value) -> Option<Tokens> {
    of_count(&result["usage"]).or_else(|| of_count(&result["_meta"]["quota"]["token_count"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_read_in_every_spelling() {
        let claude = json!({"stopReason": "end_turn", "usage": {"inputTokens": 10, "outputTokens": 5,
            "cachedReadTokens": 100, "cachedWriteTokens": 7, "totalTokens": 122}});
        let tokens = of_result(&claude).unwrap();
        assert_eq!(
            (tokens.input, tokens.output),
            (10, 5),
            "cached ones are counted apart"
        );
        assert_eq!((tokens.cache.read, tokens.cache.write), (100, 7));

        let codex = json!({"usage": {"inputTokens": 110, "outputTokens": 9, "cachedReadTokens": 100,
            "thoughtTokens": 4, "totalTokens": 119}});
        let tokens = of_result(&codex).unwrap();
        assert_eq!(
            (tokens.input, tokens.output),
            (10, 5),
            "cached ones are in the input"
        );
        assert_eq!((tokens.cache.read, tokens.reasoning), (100, 4));

        let gemini =
            json!({"_meta": {"quota": {"token_count": {"input_tokens": 3, "output_tokens": 2}}}});
        let tokens = of_result(&gemini).unwrap();
        assert_eq!((tokens.input, tokens.output, tokens.total), (3, 2, None));

        assert_eq!(
            of_result(&json!({"usage": null, "_meta": {"quota": {"token_count": null}}})),
            None
        );
        assert_eq!(of_result(&json!({"usage": {"inputTokens": "many"}})), None);
    }
}
