//! The xDS protocol as a state machine, and the one shell that serves it
