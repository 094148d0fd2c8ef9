//! Faults by chance, for as long as somebody wants: `make soak MINUTES=5 SEED=1`.

use crate::checker::{Anomaly, Checker};
use crate::engines::Zones;
use crate::fault::Fault;
use crate::faults::{PAUSE, strike};
use crate::pair::Pair;
use crate::portal::Portal;
use crate::variable;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same seed gives the same faults in the same order.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

pub async fn soak(zones: Arc<Zones>) {
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u64>().ok());
    let minutes = number("PGFLEX_SOAK_MINUTES").unwrap_or(5);
    let seed = number("PGFLEX_SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("  seed {seed}, {minutes} min");
    let mut random = Random(seed);
    let pair = Pair::create(Portal::start(&zones).await, "soak").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let end = Instant::now() + Duration::from_secs(minutes * 60);
    let mut struck = vec![];
    while Instant::now() < end {
        let fault = Fault::ALL[random.below(Fault::ALL.len())];
        tokio::time::sleep(Duration::from_millis(random.below(3_000) as u64)).await;
        struck.push(strike(&pair, &checker, fault).await);
    }
    let verdict = checker.finish().await.unwrap();
    let mut kinds: BTreeMap<&str, (u32, u32, Duration)> = BTreeMap::new();
    for one in &struck {
        let (times, failovers, longest) = kinds.entry(&one.fault).or_default();
        *times += 1;
        *failovers += u32::from(one.failed_over);
        *longest = verdict.longest_gap(one.from, one.to).max(*longest);
    }
    println!(
        "  {:<50} {:>5} {:>9} {:>22}",
        "fault", "times", "failovers", "longest without writes"
    );
    for (fault, (times, failovers, longest)) in kinds {
        println!("  {fault:<50} {times:>5} {failovers:>9} {:>20.2} s", longest.as_secs_f64());
    }
    let count = |is: fn(&Anomaly) -> bool| verdict.anomalies.iter().filter(|one| is(one)).count();
    println!(
        "  faults {}, commits acknowledged {}, commits lost {}, reads {}, stale reads {}, other wrongs {}",
        struck.len(),
        verdict.acknowledged,
        count(|one| matches!(one, Anomaly::Lost { .. })),
        verdict.reads,
        count(|one| matches!(one, Anomaly::Stale { .. } | Anomaly::Vanished { .. })),
        count(|one| !matches!(
            one,
            Anomaly::Lost { .. } | Anomaly::Stale { .. } | Anomaly::Vanished { .. }
        )),
    );
    assert!(
        verdict.anomalies.is_empty(),
        "seed {seed}: all that was seen is in {:?}",
        verdict.file
    );
    pair.portal.finish().await;
}
