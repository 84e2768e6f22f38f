//! Reading ACP content blocks.

use serde_json::Value;
use sessiond_model::PartBody;

/// A non-empty text field.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value
        .get(key)
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
}

/// The file that a picture, sound or resource block stands for.
pub(super) fn file(block: &Value) -> Option<PartBody> {
    let resource = &block["resource"];
    let uri = text(block, "uri").or_else(|| text(resource, "uri"));
    let mime = text(block, "mimeType").or_else(|| text(resource, "mimeType"));
    let data = text(block, "data").or_else(|| text(resource, "blob"));
    let url = match (data, uri) {
        (Some(data), _) => format!("data:{};base64,{data}", mime.unwrap_or_default()),
        (None, Some(uri)) => uri.to_owned(),
        (None, None) => return None,
    };
    Some(PartBody::File {
        mime: mime.unwrap_or("application/octet-stream").to_owned(),
        filename: text(block, "name")
            .or_else(|| uri?.rsplit('/').next())
            .map(str::to_owned),
        url,
        source: None,
    })
}

/// The text of a tool's `content`, blocks joined by line ends.
pub(super) fn tool_text(content: &[Value]) -> String {
    let mut all = String::new();
    for item in content.iter().filter(|item| item["type"] == "content") {
        let block = &item["content"];
        if let Some(text) = text(block, "text").or_else(|| text(&block["resource"], "text")) {
            if !all.is_empty() && !all.ends_with('\n') {
                all.push('\n');
            }
            all.push_str(text);
        }
    }
    all
}

/// Takes off a code fence around the whole text: Claude puts one around every output.
pub(super) fn unfenced(text: &str) -> &str {
    let ticks = text.len() - text.trim_start_matches('`').len();
    if ticks < 3 {
        return text;
    }
    let (fence, rest) = text.split_at(ticks);
    let inner = rest
        .split_once('\n')
        .filter(|(info, _)| !info.contains('`'))
        .and_then(|(_, body)| body.trim_end().strip_suffix(fence));
    match inner {
        Some(inner) if inner.is_empty() || inner.ends_with('\n') => {
            inner.strip_suffix('\n').unwrap_or(inner)
        }
        _ => text,
    }
}

/// The last `max` bytes of a text, cut between characters.
pub(super) fn tail(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut from = text.len() - max;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_fence_around_everything_is_taken_off() {
        assert_eq!(unfenced("```console\nout-1\nout-2\n```"), "out-1\nout-2");
        assert_eq!(unfenced("````\n```\nx\n```\n````"), "```\nx\n```");
        assert_eq!(unfenced("```\n```"), "");
        assert_eq!(unfenced("see ```x```"), "see ```x```");
        assert_eq!(unfenced("```x```"), "```x```");
        assert_eq!(unfenced("``` not closed\n"), "``` not closed\n");
    }

    #[test]
    fn the_tail_is_cut_between_characters() {
        assert_eq!(tail("aéé", 3), "é");
        assert_eq!(tail("abc", 3), "abc");
    }

    #[test]
    fn blocks_that_are_files() {
        let image = json!({"type": "image", "mimeType": "image/png", "data": "AAAA"});
        let Some(PartBody::File { url, .. }) = file(&image) else {
            panic!()
        };
        assert_eq!(url, "data:image/png;base64,AAAA");
        let link = json!({"type": "resource_link", "uri": "file:///a/b.txt", "name": "b.txt"});
        let Some(PartBody::File { filename, .. }) = file(&link) else {
            panic!()
        };
        assert_eq!(filename.as_deref(), Some("b.txt"));
        assert_eq!(file(&json!({"type": "text", "text": "x"})), None);
    }
}
