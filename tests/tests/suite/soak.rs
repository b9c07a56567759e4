//! F24, for a minute: the whole of it is `cargo run --release -p signet-tests --bin soak`.

use anyhow::Result;
use signet_tests::soak::{Wanted, run, table};

#[tokio::test(flavor = "multi_thread")]
async fn ten_rotations_and_a_root_change_among_faults_break_nothing() -> Result<()> {
    let wanted = Wanted { seed: 7, rotations: 10, root_changes: 1, handshakes: 40, ..Wanted::default() };
    let report = run(&wanted, |progress| println!("{progress:?}")).await?;
    println!("{}", table(&report));
    assert!(report.holds(), "{}", table(&report));
    assert!(report.rotations >= wanted.rotations && report.root_changes == 1, "{}", table(&report));
    Ok(())
}
