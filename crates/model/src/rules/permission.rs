//! Permission rules of a session.

use crate::{PermissionAction, PermissionRule};

/// What the rules say of a request: the last rule that matches a pattern decides it; over
/// several patterns the strictest answer wins (deny, then ask, then allow). Without a
/// matching rule a person is asked.
#[must_use]
pub fn evaluate(
    rules: &[PermissionRule],
    permission: &str,
    patterns: &[String],
) -> PermissionAction {
    let one = |pattern: &str| {
        rules
            .iter()
            .rev()
            .find(|r| {
                matches_pattern(&r.permission, permission) && matches_pattern(&r.pattern, pattern)
            })
            .map_or(PermissionAction::Ask, |r| r.action)
    };
    if patterns.is_empty() {
        return one("*");
    }
    let answers: Vec<_> = patterns.iter().map(|p| one(p)).collect();
    if answers.contains(&PermissionAction::Deny) {
        PermissionAction::Deny
    } else if answers.contains(&PermissionAction::Ask) {
        PermissionAction::Ask
    } else {
        PermissionAction::Allow
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any text and `?` for one character.
#[must_use]
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    let p: Vec<char> = pattern.chars().collect();
    let t: Vec<char> = text.chars().collect();
    let (mut pi, mut ti) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while ti < t.len() {
        if pi < p.len() && p[pi] == '*' {
            star = Some((pi, ti));
            pi += 1;
        } else if pi < p.len() && (p[pi] == '?' || p[pi] == t[ti]) {
            pi += 1;
            ti += 1;
        } else if let Some((sp, st)) = star {
            pi = sp + 1;
            ti = st + 1;
            star = Some((sp, st + 1));
        } else {
            return false;
        }
    }
    p[pi..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(permission: &str, pattern: &str, action: PermissionAction) -> PermissionRule {
        PermissionRule {
            permission: permission.into(),
            pattern: pattern.into(),
            action,
        }
    }

    #[test]
    fn the_last_match_decides_and_the_strictest_pattern_wins() {
        let rules = [
            rule("*", "*", PermissionAction::Ask),
            rule("bash", "git *", PermissionAction::Allow),
            rule("bash", "git push*", PermissionAction::Deny),
        ];
        let ask = |p: &[&str]| {
            evaluate(
                &rules,
                "bash",
                &p.iter().map(|s| (*s).into()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(ask(&["git status"]), PermissionAction::Allow);
        assert_eq!(ask(&["git push -f"]), PermissionAction::Deny);
        assert_eq!(ask(&["git status", "ls"]), PermissionAction::Ask);
        assert_eq!(ask(&["git status", "git push"]), PermissionAction::Deny);
        assert_eq!(evaluate(&[], "edit", &[]), PermissionAction::Ask);
    }

    #[test]
    fn patterns() {
        assert!(matches_pattern("*", ""));
        assert!(matches_pattern("a*c?e", "abbcde"));
        assert!(!matches_pattern("a*c?e", "abbce"));
    }
}
