//! What is there, by `iptables-save`.

use super::rules::{EGRESS, Family, INGRESS, Rules};

/// How far the chains of redirection are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing of them.
    Absent,
    /// All that is wanted.
    Wanted,
    /// All of another set of rules.
    Other,
    /// A part, which nobody made on purpose.
    Half,
}

/// The `nat` table as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The chains that are there.
    chains: Vec<&'static str>,
    /// The rules that lead to them from elsewhere.
    jumps: Vec<String>,
    /// How many rules are in them.
    rules: usize,
}

impl Found {
    pub(super) fn read(saved: &str) -> Self {
        let chains = [INGRESS, EGRESS]
            .into_iter()
            .filter(|chain| saved.lines().any(|line| line.starts_with(&format!(":{chain} "))))
            .collect();
        let is_in_chain =
            |line: &&str| [INGRESS, EGRESS].iter().any(|chain| line.starts_with(&format!("-A {chain} ")));
        let is_jump =
            |line: &&str| [INGRESS, EGRESS].iter().any(|chain| line.ends_with(&format!("-j {chain}")));
        let jumps = saved.lines().filter(|line| line.starts_with("-A ")).filter(is_jump).map(str::to_owned);
        Self { chains, jumps: jumps.collect(), rules: saved.lines().filter(is_in_chain).count() }
    }

    pub(super) fn state(&self, rules: &Rules, family: Family) -> State {
        match (self.chains.len(), self.jumps.len()) {
            (0, 0) => State::Absent,
            (2, 2) => {
                let lines = rules.lines(family);
                let mark = rules.mark(family);
                let sum = mark.rsplit(' ').next().unwrap_or(&mark);
                let is_wanted = self.jumps.iter().all(|jump| jump.contains(sum)) && self.rules == lines.len();
                if is_wanted { State::Wanted } else { State::Other }
            }
            _ => State::Half,
        }
    }

    /// The commands that end the way to the chains.
    pub(super) fn detach(&self) -> Vec<String> {
        self.jumps.iter().map(|jump| jump.replacen("-A ", "-D ", 1)).collect()
    }

    /// What takes all of it away, in one transaction; `None` where there is nothing.
    pub(super) fn remove(&self) -> Option<String> {
        if self.chains.is_empty() && self.jumps.is_empty() {
            return None;
        }
        let flush = self.chains.iter().map(|chain| format!("-F {chain}"));
        let delete = self.chains.iter().map(|chain| format!("-X {chain}"));
        let lines: Vec<String> = self.detach().into_iter().chain(flush).chain(delete).collect();
        Some(format!("*nat\n{}\nCOMMIT\n", lines.join("\n")))
    }

    /// What is there, for people.
    pub(super) fn describe(&self) -> String {
        let chains = if self.chains.is_empty() { "no chain".to_owned() } else { self.chains.join(" and ") };
        format!("{chains}, and {} rule(s) that lead to them", self.jumps.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            ingress_port: 15_000,
            egress_port: 15_001,
            app_ports: vec![8080],
            ignored_uid: Some(1337),
            ignored_gid: None,
            ignored_ports: Vec::new(),
            ignored_ips: Vec::new(),
        }
    }

    /// As the kernel shows what was restored, but for the counters.
    fn saved(rules: &Rules) -> String {
        rules.render(Family::V4).replace(":APPMESH", ":PREROUTING ACCEPT [0:0]\n:APPMESH")
    }

    #[test]
    fn what_was_applied_is_known_again_and_what_differs_is_not() {
        let state = |saved: &str| Found::read(saved).state(&rules(), Family::V4);
        assert_eq!(state("*nat\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"), State::Absent);
        let whole = saved(&rules());
        assert_eq!(state(&whole), State::Wanted);
        assert_eq!(state(&saved(&Rules { app_ports: vec![9090], ..rules() })), State::Other);
        assert_eq!(
            state(&whole.replace("-A APPMESH_INGRESS -p", "-A ELSE -p")),
            State::Other,
            "a rule is missing"
        );
        let without = |part: &str| -> String {
            whole.lines().filter(|line| !line.starts_with(part)).map(|line| format!("{line}\n")).collect()
        };
        for part in ["-A OUTPUT", "-A PREROUTING", ":APPMESH_EGRESS"] {
            assert_eq!(state(&without(part)), State::Half, "{part}");
        }
    }

    #[test]
    fn all_that_is_there_is_removed_and_nothing_else() {
        let others = "-A OUTPUT -p udp -j DNAT --to-destination 10.0.0.1\n";
        let text = Found::read(&format!("{}{others}", saved(&rules()))).remove().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert!(lines[1].starts_with("-D PREROUTING") && lines[2].starts_with("-D OUTPUT"), "{text}");
        assert_eq!(
            lines[3..7],
            ["-F APPMESH_INGRESS", "-F APPMESH_EGRESS", "-X APPMESH_INGRESS", "-X APPMESH_EGRESS"]
        );
        assert_eq!(Found::read(others).remove(), None);
    }
}
