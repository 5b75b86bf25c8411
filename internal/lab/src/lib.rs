//! Stacks, the demo and the invariants it is judged by
