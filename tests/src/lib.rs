//! Signet's harness and suites: a whole mesh on loopback, with real Envoys
