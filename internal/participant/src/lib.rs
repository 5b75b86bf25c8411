//! The participant guard: every effect once, whatever the broker repeats
