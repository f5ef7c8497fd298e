//! Whether two kinds of work can be told apart by the time they take: Welch's t-test, as dudect does it (Reparaz, Balasch,
//! Verbauwhede: "Dude, is my code constant time?").

/// From this on two kinds are told apart.
pub const LIMIT: f64 = 4.5;
/// Fewer samples of a kind say nothing.
const SAMPLES_MIN: usize = 30;
/// How many ways of leaving out the slowest samples are looked at.
const CROPS: i32 = 30;

/// One sample: of which of the two kinds, and how long it took.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Of the second kind.
    pub is_second: bool,
    /// In nanoseconds.
    pub took: f64,
}

/// What the samples say.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// Of all samples.
    pub all: f64,
    /// The one that is farthest from 0 of all that come of leaving out the slowest samples, of both kinds by one limit.
    pub worst: f64,
    /// How much longer the second kind takes, in nanoseconds, of the faster half of all samples.
    pub longer: f64,
}

impl Verdict {
    /// Of samples that were taken in no order.
    #[must_use]
    pub fn of(samples: &[Sample]) -> Self {
        let mut sorted: Vec<f64> = samples.iter().map(|sample| sample.took).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let below = |part: f64| {
            let at = (sorted.len() as f64 * part) as usize;
            let limit = sorted.get(at).copied().unwrap_or(f64::INFINITY);
            Moments::of_both(samples, limit)
        };
        let all = t(&Moments::of_both(samples, f64::INFINITY)).unwrap_or(0.0);
        // As dudect's: dense where most samples are.
        let crops = (1..=CROPS).map(|n| 1.0 - 0.5f64.powf(10.0 * f64::from(n) / f64::from(CROPS)));
        let worse = |worst: f64, t: f64| if t.abs() > worst.abs() { t } else { worst };
        let worst = crops.filter_map(|part| t(&below(part))).fold(all, worse);
        let [first, second] = below(0.5);
        Self { all, worst, longer: second.mean - first.mean }
    }

    /// Whether nobody can tell the two kinds apart by it.
    #[must_use]
    pub fn is_even(&self) -> bool {
        self.worst.abs() < LIMIT
    }
}

/// Of the samples of one kind (Welford).
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    n: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn of_both(samples: &[Sample], limit: f64) -> [Self; 2] {
        let mut both = [Self::default(); 2];
        for sample in samples.iter().filter(|sample| sample.took < limit) {
            both[usize::from(sample.is_second)].add(sample.took);
        }
        both
    }

    fn add(&mut self, x: f64) {
        self.n += 1.0;
        let off = x - self.mean;
        self.mean += off / self.n;
        self.squares += off * (x - self.mean);
    }

    /// Of the mean.
    fn variance(&self) -> f64 {
        self.squares / (self.n - 1.0) / self.n
    }
}

fn t([first, second]: &[Moments; 2]) -> Option<f64> {
    let enough = first.n.min(second.n) >= SAMPLES_MIN as f64;
    let spread = (first.variance() + second.variance()).sqrt();
    (enough && spread > 0.0).then(|| (second.mean - first.mean) / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many samples as numbers, each `longer` for the second kind; now and then one that was disturbed.
    fn verdict(longer: f64) -> Verdict {
        let samples: Vec<Sample> = (0u32..20_000)
            .map(|n| {
                let is_second = n.wrapping_mul(2_654_435_761) >> 31 == 1;
                let noise = f64::from(n.wrapping_mul(40_503) % 1_000);
                let disturbed = if n % 97 == 0 { 1e6 } else { 0.0 };
                Sample {
                    is_second,
                    took: 50_000.0 + noise + disturbed + if is_second { longer } else { 0.0 },
                }
            })
            .collect();
        Verdict::of(&samples)
    }

    #[test]
    fn a_difference_is_seen_through_what_disturbs_and_none_is_not() {
        let (even, odd) = (verdict(0.0), verdict(60.0));
        assert!(even.is_even(), "{even:?}");
        assert!(!odd.is_even() && odd.worst > 0.0 && odd.all.abs() < LIMIT, "{odd:?}");
        assert!((30.0..90.0).contains(&odd.longer), "{odd:?}");
    }

    #[test]
    fn too_few_samples_say_nothing() {
        let few = [true, false].map(|is_second| Sample { is_second, took: f64::from(u8::from(is_second)) });
        assert!(Verdict::of(&few).is_even() && Verdict::of(&[]).is_even());
    }
}
