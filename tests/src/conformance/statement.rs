//! The statements, each as one sentence.

use serde::Serialize;

/// What a server that keeps to the protocol does.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Statement {
    /// Its number.
    pub id: u8,
    /// What holds.
    pub sentence: &'static str,
}

macro_rules! statements {
    ($($id:literal: $sentence:literal;)*) => {
        [$(Statement { id: $id, sentence: $sentence }),*]
    };
}

/// All of them, in order: thirty on the protocol, four on security.
pub const STATEMENTS: [Statement; 34] = statements! {
    1: "a node is needed on the first request of an ADS stream, and on no other";
    2: "a stream belongs to the node of its first request";
    3: "a request on ADS names its type; on a service for one type it is implied";
    4: "types on one stream have nonces of their own, and an unknown type delays none of them";
    5: "nothing is served before there is something to serve, least of all an empty set";
    6: "nonces are never empty, never repeated, and mean nothing on another stream";
    7: "an acknowledgement is not answered";
    8: "SotW: a request with an older nonce changes nothing, and the next with the current one does";
    9: "delta: a request with a stale nonce still subscribes";
    10: "equal content has equal versions on every stream";
    11: "an error detail makes a NACK, and nothing else does";
    12: "what was refused is not sent again";
    13: "a fix of what was refused goes out at once";
    14: "what was sent does not count as accepted";
    15: "what a NACK subscribes to is sent";
    16: "after a NACK that names one resource the others go on, and the one does not";
    17: "SotW: everything, everything and a name, that name, nothing";
    18: "delta: everything, everything and a name, that name, nothing";
    19: "delta: whoever gives up a name under a wildcard is told how it stands with it";
    20: "giving up a name is not answered, and nothing is sent for it any more";
    21: "SotW: a name given up and asked for again is sent again";
    22: "delta: a name asked for again is sent again though nothing changed";
    23: "delta: a name that does not exist is said to be gone, and sent when it exists";
    24: "SotW: clusters and listeners come as whole sets";
    25: "no name occurs twice in a response, nor as both there and gone";
    26: "one change is one resource, and whoever reconnects is told only what differs";
    27: "new clusters come before what uses them, and old ones go after it, each step acknowledged";
    28: "endpoints are sent again after their cluster, and exist where they are empty";
    29: "no resource has a time to live for a client that did not ask for it";
    30: "a client that does not read delays no other";
    31: "a node is served its own configuration, whatever it says that it is";
    32: "an open stream ends when its node may no longer be served";
    33: "no key material is shown, whoever quotes it";
    34: "a secret that is served over both ADS and SDS is the same over both";
};
