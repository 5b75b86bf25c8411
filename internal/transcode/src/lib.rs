//! REST from the google.api.http annotations of a descriptor set, at run time
