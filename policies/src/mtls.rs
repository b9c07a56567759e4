//! What a port speaks: the TLS mode, what it asks of its peer, and where that was decided.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// What a listener accepts, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Plaintext only.
    #[default]
    Disabled,
    /// TLS and plaintext, told apart by the first bytes.
    Permissive,
    /// TLS only.
    Strict,
}

/// What a listener asks of a TLS client, from the weakest to the strongest.
///
/// App Mesh has no word for it: its STRICT means TLS, not mutual TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Peer {
    /// No client certificate is asked for.
    #[default]
    None,
    /// A client certificate is asked for, and verified where one is sent.
    Optional,
    /// A client certificate of the mesh is required.
    Required,
}

/// A text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no TLS mode; it must be one of STRICT, PERMISSIVE, DISABLED")]
pub struct InvalidMode(pub String);

impl Mode {
    /// As App Mesh spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }

    /// Whether a plaintext client is served.
    #[must_use]
    pub fn accepts_plaintext(self) -> bool {
        self != Self::Strict
    }

    /// Whether a TLS client is served.
    #[must_use]
    pub fn accepts_tls(self) -> bool {
        self != Self::Disabled
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Disabled, Self::Permissive, Self::Strict]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| InvalidMode(text.chars().take(64).collect()))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Required => "required",
        })
    }
}

/// Where a decision was taken, from the widest to the narrowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// Nobody said anything.
    Default,
    /// The resource's own spec.
    Spec,
    /// Signet's policy for the mesh.
    Mesh,
    /// Signet's policy for the node or gateway.
    Node,
    /// Signet's policy for the port.
    Port,
    /// The mesh's floor, which forbids anything weaker.
    Floor,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::Spec => "spec",
            Self::Mesh => "mesh policy",
            Self::Node => "node policy",
            Self::Port => "port policy",
            Self::Floor => "mesh floor",
        })
    }
}

/// A value and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided<T> {
    /// The value in force.
    pub value: T,
    /// Who said so.
    pub provenance: Provenance,
}

/// What one level says; absent means that it leaves the matter to the wider one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stance {
    /// The TLS mode.
    pub mode: Option<Mode>,
    /// What is asked of the peer.
    pub peer: Option<Peer>,
}

/// Everything that is said of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stances {
    /// The listener's spec.
    pub spec: Stance,
    /// Signet's policy for the mesh.
    pub mesh: Stance,
    /// Signet's policy for the node or gateway.
    pub node: Stance,
    /// Signet's policy for the port.
    pub port: Stance,
    /// The weakest that the mesh allows.
    pub floor: Stance,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The TLS mode.
    pub mode: Decided<Mode>,
    /// What is asked of the peer. [`Peer::None`] where the mode is [`Mode::Disabled`].
    pub peer: Decided<Peer>,
}

/// Resolves what a port speaks: the narrowest stance wins, and the floor lifts what is weaker than it.
#[must_use]
pub fn resolve(stances: &Stances) -> Effective {
    let levels = [
        (Provenance::Port, stances.port),
        (Provenance::Node, stances.node),
        (Provenance::Mesh, stances.mesh),
        (Provenance::Spec, stances.spec),
    ];
    let mode = narrowest(levels.map(|(level, stance)| (level, stance.mode)), stances.floor.mode);
    let peer = narrowest(levels.map(|(level, stance)| (level, stance.peer)), stances.floor.peer);
    let peer = match mode.value {
        // A plaintext port cannot ask for a certificate.
        Mode::Disabled => Decided { value: Peer::None, provenance: mode.provenance },
        // A plaintext client has none either, so a permissive port can only ask.
        Mode::Permissive => Decided { value: peer.value.min(Peer::Optional), ..peer },
        Mode::Strict => peer,
    };
    Effective { mode, peer }
}

fn narrowest<T: Copy + Default + Ord>(levels: [(Provenance, Option<T>); 4], floor: Option<T>) -> Decided<T> {
    let said = levels.into_iter().find_map(|(provenance, said)| Some(Decided { value: said?, provenance }));
    let decided = said.unwrap_or(Decided { value: T::default(), provenance: Provenance::Default });
    match floor {
        Some(floor) if decided.value < floor => Decided { value: floor, provenance: Provenance::Floor },
        Some(_) | None => decided,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stance(mode: Mode, peer: Peer) -> Stance {
        Stance { mode: Some(mode), peer: Some(peer) }
    }

    #[test]
    fn a_port_of_which_nobody_spoke_is_plaintext() {
        let effective = resolve(&Stances::default());
        assert_eq!(effective.mode, Decided { value: Mode::Disabled, provenance: Provenance::Default });
        assert_eq!(effective.peer.value, Peer::None);
    }

    #[test]
    fn the_narrowest_stance_wins_on_each_axis_by_itself() {
        let mut stances = Stances { spec: stance(Mode::Permissive, Peer::Required), ..Stances::default() };
        let mut seen = Vec::new();
        let mut look = |stances: &Stances| {
            let Effective { mode, peer } = resolve(stances);
            seen.push((mode.value, mode.provenance, peer.value, peer.provenance));
        };
        look(&stances);
        stances.mesh.mode = Some(Mode::Strict);
        look(&stances);
        stances.node.peer = Some(Peer::Optional);
        look(&stances);
        stances.port = stance(Mode::Disabled, Peer::Required);
        look(&stances);
        use {Mode as M, Peer as P, Provenance as From};
        assert_eq!(
            seen,
            [
                (M::Permissive, From::Spec, P::Optional, From::Spec),
                (M::Strict, From::Mesh, P::Required, From::Spec),
                (M::Strict, From::Mesh, P::Optional, From::Node),
                (M::Disabled, From::Port, P::None, From::Port),
            ]
        );
    }

    #[test]
    fn a_floor_lifts_the_weaker_and_leaves_the_stronger() {
        let floor = Stance { mode: Some(Mode::Permissive), peer: None };
        for (spec, expected, provenance) in [
            (Mode::Disabled, Mode::Permissive, Provenance::Floor),
            (Mode::Permissive, Mode::Permissive, Provenance::Spec),
            (Mode::Strict, Mode::Strict, Provenance::Spec),
        ] {
            let spec = Stance { mode: Some(spec), peer: None };
            let effective = resolve(&Stances { spec, floor, ..Stances::default() });
            assert_eq!(effective.mode, Decided { value: expected, provenance });
        }
    }

    #[test]
    fn modes_are_spelled_as_app_mesh_spells_them() {
        for mode in [Mode::Disabled, Mode::Permissive, Mode::Strict] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        for wrong in ["strict", "", "STRICT ", "MUTUAL"] {
            assert_eq!(wrong.parse::<Mode>(), Err(InvalidMode(wrong.into())));
        }
    }
}
