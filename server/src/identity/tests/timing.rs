//! D28: how long a refusal takes tells nothing.

use std::time::Instant;

use super::*;

/// Tries of each kind; in the long form enough for a difference of a few nanoseconds.
fn tries() -> usize {
    if std::env::var_os("TUNNEL_FULL").is_some() { 100_000 } else { 2_000 }
}

/// Mean and variance, of what is not disturbed by whatever else the machine does: the faster nine tenths.
fn moments(mut times: Vec<f64>) -> (f64, f64, f64) {
    times.sort_by(f64::total_cmp);
    times.truncate(times.len() * 9 / 10);
    let n = times.len() as f64;
    let mean = times.iter().sum::<f64>() / n;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, variance, n)
}

#[test]
fn d28_an_unknown_id_takes_as_long_as_a_wrong_secret() {
    let (_temp, state) = state();
    let guest = Guest::new(&state, None, false);
    let unknown = CredentialId::parse("aaaaaaaaaa").unwrap();
    let proof = LoginKey::from_seed(&[9; 32]).unwrap().sign(b"message").unwrap();
    let (now, client) = (SystemTime::now(), ClientId([1; 16]));
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..2 * tries() {
        // In no order that anything could get used to.
        let kind = usize::from(rand::random::<bool>());
        let id = [&guest.id, &unknown][kind];
        let began = Instant::now();
        let refused = guest.store.prove(id, b"message", &proof, client, now);
        times[kind].push(began.elapsed().as_nanos() as f64);
        assert_eq!(refused.unwrap_err(), Refusal::Denied);
    }
    let [(known, v1, n1), (unknown, v2, n2)] = times.map(moments);
    let t = (known - unknown) / (v1 / n1 + v2 / n2).sqrt();
    println!("known {known:.0} ns, unknown {unknown:.0} ns, t = {t:.2} over {} tries", n1 + n2);
    // A lookup more or less is nothing that a network could carry; a signature that is not checked would be.
    assert!((known - unknown).abs() < known / 10.0, "known {known:.0} ns, unknown {unknown:.0} ns");
}
