//! What proxies refuse, in words: below tables, for a reason is longer than a column is wide.

use signet_controlplane::proxies::{ProxyView, RefusalView, RejectionView};

/// What a proxy refuses now, one paragraph for each reason; empty where it refuses nothing.
pub(super) fn now(proxy: &ProxyView) -> String {
    let mut paragraphs: Vec<(String, Vec<String>)> = Vec::new();
    for one in &proxy.rejections {
        let (text, what) = (because(one), what(one));
        // One message of several resources is refused with one reason.
        match paragraphs.iter_mut().find(|(other, _)| *other == text) {
            Some((_, all)) => all.push(what),
            None => paragraphs.push((text, vec![what])),
        }
    }
    let who = format!("{} on {}", proxy.workload, proxy.ingress_address);
    let paragraph =
        |(text, what): (String, Vec<String>)| format!("{who} refuses {}\n{text}\n", what.join(", "));
    paragraphs.into_iter().map(paragraph).collect::<Vec<_>>().join("\n")
}

/// One refusal of the past, or that stands.
pub(super) fn then(refusal: &RefusalView) -> String {
    let RefusalView { at, ended_at, workload, ingress_address, rejection } = refusal;
    let end = ended_at.as_ref().map_or("and does still".to_owned(), |ended_at| format!("until {ended_at}"));
    let what = what(rejection);
    format!("{at}  {workload} on {ingress_address} refused {what}, {end}\n{}\n", because(rejection))
}

fn what(one: &RejectionView) -> String {
    let doubt = if one.suspected { " (or another of the same message)" } else { "" };
    format!("{} {}{doubt}", one.kind, one.name)
}

/// The proxy's words, and which change of the mesh brought it.
fn because(one: &RejectionView) -> String {
    let change = match (&one.changes[..], one.revision) {
        ([], None) => String::new(),
        ([], Some(revision)) => format!("\n  since revision {revision}"),
        ([change], _) => format!("\n  since {change}"),
        ([newest, others @ ..], _) => format!("\n  since {newest}, or one of {} before it", others.len()),
    };
    format!("  {}{change}", one.reason)
}

#[cfg(test)]
mod tests {
    use signet_controlplane::proxies::{ChangeView, ProxyState};

    use super::*;

    fn rejection(name: &str, changes: Vec<ChangeView>) -> RejectionView {
        RejectionView {
            kind: "listener".into(),
            name: name.into(),
            version: "1".into(),
            reason: "cannot bind".into(),
            suspected: false,
            revision: Some(7),
            changes,
        }
    }

    fn change() -> ChangeView {
        ChangeView {
            revision: 7,
            operation: "UpdateVirtualNode".into(),
            resource: "mesh/m/virtualNode/a".into(),
            access_key_id: Some("AKIA1".into()),
            user: Some("alice".into()),
            at: "2026-11-26T15:00:00Z".into(),
        }
    }

    #[test]
    fn what_is_refused_for_one_reason_is_one_paragraph_that_names_the_change() {
        let proxy = ProxyView {
            workload: "mesh/m/virtualNode/a".into(),
            ingress_address: "127.0.0.1".into(),
            envoy: Some("1.40.0".into()),
            instance: None,
            connected_since: "2026-11-23T08:00:00Z".into(),
            status: ProxyState::Rejected,
            stale_since: Some("2026-11-23T08:05:00Z".into()),
            rejections: vec![rejection("x", vec![change()]), rejection("y", vec![change()])],
        };
        let expected = "mesh/m/virtualNode/a on 127.0.0.1 refuses listener x, listener y\n  cannot bind\n  \
            since UpdateVirtualNode mesh/m/virtualNode/a by alice (AKIA1), 2026-11-26T15:00:00Z, revision 7\n";
        assert_eq!(now(&proxy), expected);
        assert_eq!(now(&ProxyView { rejections: Vec::new(), ..proxy }), "");
    }

    #[test]
    fn several_changes_that_may_have_been_the_one_are_counted_and_none_leaves_the_revision() {
        assert!(because(&rejection("x", vec![change(); 3])).ends_with("revision 7, or one of 2 before it"));
        assert_eq!(because(&rejection("x", Vec::new())), "  cannot bind\n  since revision 7");
    }

    #[test]
    fn a_refusal_of_the_past_says_when_it_ended() {
        let mut refusal = RefusalView {
            at: "2026-11-26T15:00:00Z".into(),
            ended_at: Some("2026-11-26T15:01:00Z".into()),
            workload: "mesh/m/virtualNode/a".into(),
            ingress_address: "127.0.0.1".into(),
            rejection: rejection("x", Vec::new()),
        };
        let head = "2026-11-26T15:00:00Z  mesh/m/virtualNode/a on 127.0.0.1 refused listener x, ";
        assert!(then(&refusal).starts_with(&format!("{head}until 2026-11-26T15:01:00Z\n")));
        refusal.ended_at = None;
        assert!(then(&refusal).starts_with(&format!("{head}and does still\n")));
    }
}
