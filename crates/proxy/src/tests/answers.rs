//! The answers that a visitor gets on one connection.

/// One answer: its status, and its head in lower case.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
}

/// Takes what a visitor has read apart. What is cut at the end is left out; `Err` holds bytes that are no answer.
pub(super) fn answers(bytes: &[u8]) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut rest = bytes;
    while let Some(len) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
        let (head, behind) = rest.split_at(len + 4);
        let head = String::from_utf8_lossy(head).to_lowercase();
        let status = head.strip_prefix("http/1.1 ").or_else(|| head.strip_prefix("http/1.0 "));
        let Some(status) = status.and_then(|status| status.get(..3)?.parse().ok()) else { return Err(head) };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let Some(behind) = behind.get(length.unwrap_or(0)..) else { break };
        answers.push(Answer { status, head });
        rest = behind;
    }
    Ok(answers)
}
