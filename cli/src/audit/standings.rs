//! How far each authority is in its life, by what the ledger says of changes.

use std::collections::{BTreeMap, BTreeSet};

use signet_audit::inventory::{Authority, Standing};

/// A change of root or issuer that entered a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// Which change.
    pub(super) rotation: String,
    /// As the ledger spells it.
    pub(super) phase: String,
    /// When, in seconds since the epoch.
    pub(super) at: i64,
}

/// An authority that only the ledger knows.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) authority: Authority,
    /// How many phases of changes the ledger had when it came to know it: its order tells more than seconds do.
    pub(super) after: usize,
    /// How many others it knew then.
    pub(super) order: usize,
}

/// Settles how authorities stand: `current` are those that the server has in place, in the order in which the ledger came
/// to know them.
pub(super) fn settle(current: &mut [Authority], others: &mut [Known], phases: &[Entered]) {
    let change = phases.last().map(|last| last.rotation.as_str());
    let of_change = || phases.iter().filter(|entered| Some(entered.rotation.as_str()) == change);
    let began = phases.iter().position(|entered| Some(entered.rotation.as_str()) == change).unwrap_or(0);
    let signs_since =
        of_change().filter(|entered| is_new_signing(&entered.phase)).map(|entered| entered.at).next();
    let last = phases.last().map_or("", |last| last.phase.as_str());
    let is_over = matches!(last, "" | "completed" | "aborted");
    // Who comes is entered before the first phase of the change or later, and not in place before its end.
    let is_of_change = |one: &Known| change.is_some() && one.after >= began;
    let is_coming = |one: &Known| !is_over && one.authority.standing == Standing::Active && is_of_change(one);
    let names: BTreeSet<String> =
        others.iter().filter(|one| is_coming(one)).map(|one| one.authority.name.clone()).collect();
    for known in others.iter_mut() {
        let (is_coming, is_of_change) = (is_coming(known), is_of_change(known));
        let one = &mut known.authority;
        if is_coming {
            let (standing, since) = match (is_new_signing(last), signs_since) {
                (true, _) => (Standing::Active, one.since),
                (false, None) => (Standing::Distributed, one.since),
                // It signed, and the change goes back.
                (false, Some(_)) => (Standing::Retiring, phases.last().map_or(i64::MAX, |last| last.at)),
            };
            (one.standing, one.since) = (standing, since);
        } else if one.standing == Standing::Active {
            // It is not in place any more. When it ended is known where a change ended it, or was given up with it.
            let ended = of_change().find(|entered| entered.phase == last && entered.at >= one.since);
            (one.standing, one.since) = match ended {
                Some(ended) if last == "completed" => (Standing::Retired, ended.at),
                Some(ended) if last == "aborted" && is_of_change => (Standing::Retired, ended.at),
                _ => (Standing::Retiring, i64::MAX),
            };
        }
    }
    if !is_over {
        let ended = if is_new_signing(last) { signs_since } else { phases.last().map(|last| last.at) };
        divide(current, is_new_signing(last), signs_since.is_some(), ended.unwrap_or(i64::MAX));
    }
    if is_new_signing(last) {
        for one in current.iter_mut().filter(|one| names.contains(&one.name)) {
            (one.standing, one.since) = (Standing::Retiring, signs_since.unwrap_or(i64::MAX));
        }
    }
}

/// While a change lasts, the server may have both of a name in place: the one that comes is known last. `ended` is
/// when the other one, or it where the change goes back, ceased to sign.
fn divide(current: &mut [Authority], is_new_signing: bool, has_signed: bool, ended: i64) {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, one) in current.iter().enumerate() {
        places.entry(one.name.clone()).or_default().push(place);
    }
    for (place, one) in current.iter_mut().enumerate() {
        let [.., _, newest] = places.get(&one.name).map_or(&[][..], Vec::as_slice) else { continue };
        match (is_new_signing, place == *newest) {
            (true, false) => (one.standing, one.since) = (Standing::Retiring, ended),
            (false, true) if has_signed => (one.standing, one.since) = (Standing::Retiring, ended),
            (false, true) => one.standing = Standing::Distributed,
            (true, true) | (false, false) => {}
        }
    }
}

/// Phases in which the one that comes signs.
fn is_new_signing(phase: &str) -> bool {
    matches!(phase, "issue" | "retire" | "promote" | "restore")
}

#[cfg(test)]
mod tests {
    use signet_audit::inventory::{Der, Place};

    use super::*;

    fn authority(name: &str, number: u8, since: i64) -> Authority {
        let place = if name == "root" { Place::Root } else { Place::Issuer };
        let der = Der(vec![number]);
        Authority { name: name.to_owned(), place, standing: Standing::Active, since, der, revoked: None }
    }

    /// The standings of an old and a new root after these phases, one each ten seconds from 100 on.
    fn standings(phases: &[&str]) -> [(Standing, i64); 2] {
        let at = |number: usize| 100 + 10 * i64::try_from(number).unwrap();
        let entered = |(number, phase): (usize, &&str)| Entered {
            rotation: "r".to_owned(),
            phase: (*phase).to_owned(),
            at: at(number),
        };
        let phases: Vec<Entered> = phases.iter().enumerate().map(entered).collect();
        // The new one is in the ledger a moment before the change's first phase, and after those of another.
        let earlier = Entered { rotation: "q".to_owned(), phase: "completed".to_owned(), at: 3 };
        let phases: Vec<Entered> = std::iter::once(earlier).chain(phases).collect();
        let (old, new) = (authority("root", 1, 5), authority("root", 2, 99));
        let is_completed = phases.last().is_some_and(|last| last.phase == "completed");
        let known =
            |authority: Authority| Known { after: usize::from(authority.since > 9), order: 0, authority };
        let (mut current, mut others) =
            if is_completed { ([new], [known(old)]) } else { ([old], [known(new)]) };
        settle(&mut current, &mut others, &phases);
        let [current, others] = [&current[0], &others[0].authority].map(|one| (one.standing, one.since));
        if is_completed { [others, current] } else { [current, others] }
    }

    #[test]
    fn who_signs_follows_from_the_phases_in_the_ledger() {
        use Standing::{Active, Distributed, Retired, Retiring};
        for (phases, expected) in [
            (&["distribute"] as &[&str], [(Active, 5), (Distributed, 99)]),
            (&["distribute", "issue"], [(Retiring, 110), (Active, 99)]),
            (&["distribute", "issue", "retire"], [(Retiring, 110), (Active, 99)]),
            (&["distribute", "issue", "retire", "promote", "completed"], [(Retired, 140), (Active, 99)]),
            (&["distribute", "issue", "return"], [(Active, 5), (Retiring, 120)]),
            (&["distribute", "withdraw"], [(Active, 5), (Distributed, 99)]),
            (&["distribute", "withdraw", "aborted"], [(Active, 5), (Retired, 120)]),
            (&["distribute", "issue", "return", "withdraw", "aborted"], [(Active, 5), (Retired, 140)]),
        ] {
            assert_eq!(standings(phases), expected, "{phases:?}");
        }
    }

    #[test]
    fn two_that_are_in_place_while_a_change_lasts_do_not_sign_at_a_time() {
        use Standing::{Active, Distributed, Retiring};
        for (phases, expected) in [
            (&["distribute"] as &[&str], [(Active, 101), (Distributed, 101)]),
            (&["distribute", "issue"], [(Retiring, 110), (Active, 101)]),
            (&["distribute", "issue", "retire"], [(Retiring, 110), (Active, 101)]),
            (&["distribute", "issue", "return"], [(Active, 101), (Retiring, 120)]),
        ] {
            let entered = |(number, phase): (usize, &&str)| Entered {
                rotation: "r".to_owned(),
                phase: (*phase).to_owned(),
                at: 100 + 10 * i64::try_from(number).unwrap(),
            };
            let entered: Vec<Entered> = phases.iter().enumerate().map(entered).collect();
            // Within one second, of which the ledger's order makes no one moment.
            let mut current = [authority("root", 1, 101), authority("root", 2, 101)];
            settle(&mut current, &mut [], &entered);
            assert_eq!(current.map(|one| (one.standing, one.since)), expected, "{phases:?}");
        }
    }

    #[test]
    fn what_was_replaced_without_a_change_signs_no_more() {
        let old = Known { authority: authority("mesh/m", 1, 5), after: 0, order: 0 };
        let (mut current, mut others) = ([authority("mesh/m", 2, 9)], [old]);
        settle(&mut current, &mut others, &[]);
        assert_eq!(
            (current[0].standing, others[0].authority.standing),
            (Standing::Active, Standing::Retiring)
        );
    }
}
