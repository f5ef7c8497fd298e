//! Whether the clock of this machine is right.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Findings;

/// 2025-01-01: this program is younger.
const BORN: Duration = Duration::from_secs(1_735_689_600);
/// Two clocks that differ by more show it in logs, and at the edges of certificates and credentials.
const CLOSE: Duration = Duration::from_secs(30);
const CHECK: &str = "clock";
const ADVICE: &str = "set the clock: timedatectl set-ntp true";

/// Looks whether `now` can be.
pub fn clock(now: SystemTime, findings: &mut Findings) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if since < BORN {
        let says =
            "this machine's clock is years behind: no certificate is good yet, and credentials do not expire";
        findings.bad(CHECK, says, ADVICE);
    } else {
        findings.good(CHECK, format_args!("{}", humantime::format_rfc3339_seconds(now)));
    }
}

/// Compares `now` with what another machine, `who`, says that it is. Its `Date` counts whole seconds.
pub fn against(who: &str, now: SystemTime, theirs: SystemTime, findings: &mut Findings) {
    let (ahead, apart) = match now.duration_since(theirs) {
        Ok(apart) => (true, apart),
        Err(error) => (false, error.duration()),
    };
    let apart = Duration::from_secs(apart.as_secs());
    if apart <= CLOSE {
        return findings.good(CHECK, format_args!("as that of {who}, to {} s", CLOSE.as_secs()));
    }
    let (apart, where_) = (humantime::format_duration(apart), if ahead { "ahead of" } else { "behind" });
    let says = format!("this machine's clock is {apart} {where_} that of {who}");
    findings.warn(CHECK, says, format_args!("{ADVICE} (here or there)"));
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + BORN + Duration::from_secs(seconds)
    }

    #[test]
    fn a_clock_may_be_wrong_by_itself_and_by_another() {
        let mut findings = Findings::default();
        clock(at(0), &mut findings);
        assert_eq!(findings.verdict(CHECK), Some(Verdict::Good));
        clock(UNIX_EPOCH, &mut findings);
        assert_eq!(findings.verdict(CHECK), Some(Verdict::Bad));
        against("s", at(100), at(130), &mut findings);
        assert_eq!(findings.verdict(CHECK), Some(Verdict::Good));
        against("s", at(100), at(40), &mut findings);
        assert_eq!(findings.verdict(CHECK), Some(Verdict::Warning));
        assert!(findings.text().contains("clock is 1m ahead of that of s"), "{}", findings.text());
        against("s", at(0), at(3600), &mut findings);
        assert!(findings.text().contains("clock is 1h behind that of s"), "{}", findings.text());
    }
}
