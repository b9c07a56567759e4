//! F16, with few: the whole of it is `cargo run --release -p signet-tests --bin herd`.

use std::time::Duration;

use anyhow::Result;
use signet_tests::herd::{Wanted, run, table};

/// What an agent waits for an answer.
const DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_join_within_a_second_and_renew_at_once_all_have_certificates_and_the_ledger_has_them()
-> Result<()> {
    let report = run(&Wanted { agents: 400, seed: 7 }).await?;
    println!("{}", table(&report));
    for wave in [&report.joins, &report.renewals] {
        assert!(wave.served == 400 && wave.refused.is_none(), "{wave:?}");
        assert!(wave.p99 < DEADLINE, "{wave:?}");
    }
    // Of as many fair draws, one in a hundred thousand is farther from the theory.
    assert!(report.spread < 2.5 / 400_f64.sqrt(), "{}", report.spread);
    Ok(())
}
