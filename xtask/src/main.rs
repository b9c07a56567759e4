//! Set-up of the test tools, layer rules and code budgets.
fn main() {}
