//! A few of the kills that the program `kills` does by the thousand.

use cairn_tests::kills::{Plan, run};

#[test]
fn acknowledged_work_of_many_clients_survives_kills() {
    let tally = run(Plan { kills: 12, seed: 3, kill_ms_max: 250, fsck_every: 6 }, &mut |_| {});
    assert!(
        tally.pushes > 0 && tally.commits > 0 && tally.forks > 0,
        "something must get through: {tally:?}"
    );
}
