//! `google.api.http`, as far as it is used here, read from a method's options.

use prost::Message;
use prost_reflect::MethodDescriptor;

/// `google.protobuf.MethodOptions` with nothing but the extension `google.api.http`.
///
/// The options are encoded again and read as this, so the pool need not contain `google/api`.
#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
}

/// `google.api.HttpRule`. The members of its `oneof pattern` are plain optional fields here.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HttpRule {
    #[prost(string, optional, tag = "2")]
    get: Option<String>,
    #[prost(string, optional, tag = "3")]
    put: Option<String>,
    #[prost(string, optional, tag = "4")]
    post: Option<String>,
    #[prost(string, optional, tag = "5")]
    delete: Option<String>,
    #[prost(string, optional, tag = "6")]
    patch: Option<String>,
    #[prost(message, optional, tag = "8")]
    custom: Option<CustomPattern>,
    #[prost(string, tag = "7")]
    pub(crate) body: String,
    #[prost(string, tag = "12")]
    pub(crate) response_body: String,
    #[prost(message, repeated, tag = "11")]
    pub(crate) additional_bindings: Vec<HttpRule>,
}

/// `google.api.CustomHttpPattern`: a verb that has no field of its own.
#[derive(Clone, PartialEq, Message)]
struct CustomPattern {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    path: String,
}

impl HttpRule {
    /// The rule on a method; none when it is not annotated.
    pub(crate) fn of(method: &MethodDescriptor) -> Result<Option<Self>, prost::DecodeError> {
        let options = MethodOptions::decode(method.options().encode_to_vec().as_slice())?;
        Ok(options.http)
    }

    /// Verb and path template; none when the rule has no pattern.
    pub(crate) fn pattern(&self) -> Option<(&str, &str)> {
        let named = [
            ("GET", &self.get),
            ("PUT", &self.put),
            ("POST", &self.post),
            ("DELETE", &self.delete),
            ("PATCH", &self.patch),
        ];
        let own = named
            .into_iter()
            .find_map(|(verb, path)| Some((verb, path.as_deref()?)));
        own.or_else(|| {
            let custom = self.custom.as_ref()?;
            Some((custom.kind.as_str(), custom.path.as_str()))
        })
    }
}
