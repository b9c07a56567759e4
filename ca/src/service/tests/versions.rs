//! F15: agents and servers of different versions, by messages as an earlier version wrote them.

use prost::Message as _;

use super::*;
use crate::nodes::{self, SecretState};
use proto::{NodeReport, NodeUpdate};

/// A report of an agent of 0.1.0, before it told what its listeners accept; by hand, from the messages of then.
const REPORT: &str = "0a03692d311080a0cfada0341a05302e312e302204616231322a1f0a0137120764656661756c741a04346235312204346235\
    313880a0cfada034322b0a0e3132372e302e302e323a383434332212636f6e6e656374696f6e20726566757365642880a0cf\
    ada0343a520a043462353112083c696e6c696e653e1a347370696666653a2f2f7369676e65742e696e7465726e616c2f6d65\
    73682f6d792d6d6573682f7669727475616c2d6e6f64652f6120c4838ed8062880a793d806420c08f0ac90d8061080848ed8\
    065a046364333462076e6f20726f6f74";
/// What a server of 0.1.0 told an agent.
const UPDATE: &str =
    "0a0a0a04616231321202300012240a04346235311080848ed80618d8888ed8062210726f6f74206973207265706c61636564";
/// A certificate as a server of 0.1.0 handed it out.
const ISSUED: &str = "0a0230010a02300212023003";
/// Fields 99 and 100, of a version to come.
const UNKNOWN: &str = "9a0617776861742061206c61746572206167656e742061646473a00607";

fn bytes(parts: &[&str]) -> Vec<u8> {
    hex::decode(parts.concat()).unwrap()
}

#[test]
fn a_report_of_an_earlier_agent_says_what_it_said_and_of_a_later_one_what_is_known_here() {
    for recorded in [bytes(&[REPORT]), bytes(&[REPORT, UNKNOWN])] {
        let (instance, report) = nodes::read(NodeReport::decode(&recorded[..]).unwrap()).unwrap();
        assert_eq!((&*instance, &*report.agent_version, &*report.trust_version), ("i-1", "0.1.0", "ab12"));
        assert_eq!((report.now_unix_ms, report.listeners.len()), (1_795_392_000_000, 0));
        assert_eq!(
            report.secrets,
            [SecretState {
                stream: "7".to_owned(),
                name: "default".to_owned(),
                sent: "4b51".to_owned(),
                accepted: "4b51".to_owned(),
                at_unix_ms: 1_795_392_000_000,
                rejected: String::new(),
                reason: String::new(),
                ignores_lists: false,
            }]
        );
        assert_eq!(report.loaded[0].uris, ["spiffe://signet.internal/mesh/my-mesh/virtual-node/a"]);
        assert_eq!(report.presented[0].error, "connection refused");
        assert_eq!(report.refused_trust.unwrap().reason, "no root");
    }
}

#[test]
fn what_a_server_says_is_the_same_bytes_as_before_for_what_was_said_before() {
    for recorded in [bytes(&[UPDATE]), bytes(&[UPDATE, UNKNOWN])] {
        let update = NodeUpdate::decode(&recorded[..]).unwrap();
        assert_eq!(update.encode_to_vec(), bytes(&[UPDATE]));
        let (trust, window) = (update.trust.unwrap(), update.renewal.unwrap());
        assert_eq!((&*trust.version, trust.bundle), ("ab12", vec![vec![0x30, 0]]));
        assert_eq!((&*window.serial, window.end - window.start), ("4b51", 600));
    }
    let issued = IssuedCertificate::decode(&bytes(&[ISSUED])[..]).unwrap();
    assert_eq!(issued.encode_to_vec(), bytes(&[ISSUED]));
    assert_eq!(issued.chain, [[0x30, 1], [0x30, 2]]);
    assert_eq!(issued.bundle, [[0x30, 3]]);
}
