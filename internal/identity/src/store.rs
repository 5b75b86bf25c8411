pub(crate) mod accounts;
pub(crate) mod failures;
pub(crate) mod keys;
pub(crate) mod registrations;
pub(crate) mod sessions;
