//! The secrets a proxy holds: made, rotated, verified and served over SDS
