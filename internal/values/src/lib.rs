//! Typed ids, money, clock and error codes: values that every layer shares
