//! `${VARIABLE}` in strings of a configuration.

/// Why a string cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    /// No `}`.
    #[error("`${{` without `}}`; a literal `${{` is written `$${{`")]
    Open,
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
}

/// Replaces every `${NAME}` by what `env` says; `$${` stands for `${`.
pub(super) fn expand(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or(ExpandError::Open)?;
        out.push_str(before);
        out.push_str(&env(name).ok_or_else(|| ExpandError::Unset(name.to_owned()))?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "DIR").then(|| "/run/x".to_owned())
    }

    #[test]
    fn variables_are_replaced() {
        assert_eq!(expand("${DIR}/join", env).as_deref(), Ok("/run/x/join"));
        assert_eq!(expand("a${DIR}b${DIR}", env).as_deref(), Ok("a/run/xb/run/x"));
        assert_eq!(expand("$5 $DIR }{", env).as_deref(), Ok("$5 $DIR }{"));
        assert_eq!(expand("$${DIR}", env).as_deref(), Ok("${DIR}"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(expand("${NOT}", env), Err(ExpandError::Unset("NOT".to_owned())));
        assert_eq!(expand("${DIR", env), Err(ExpandError::Open));
        assert_eq!(
            expand("${", env).unwrap_err().to_string(),
            "`${` without `}`; a literal `${` is written `$${`"
        );
    }
}
