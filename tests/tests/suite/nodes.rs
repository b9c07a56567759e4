//! Nodes on the wire: every field of a virtual node seen at work in a real Envoy.

mod served;
