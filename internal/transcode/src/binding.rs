//! A method's HTTP rule, checked against its messages.

use http::Method;
use http::uri::PathAndQuery;
use prost_reflect::{FieldDescriptor, MessageDescriptor, MethodDescriptor};

use crate::annotations::HttpRule;
use crate::answer::Writer;
use crate::builder::BuildError;
use crate::field::FieldPath;
use crate::json;
use crate::raw;
use crate::template::{Template, Variable};

/// One line of the routing table, for documents and tests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The HTTP method.
    pub verb: Method,
    /// The path template as annotated.
    pub template: String,
    /// The full name of the gRPC method: `shop.v1.OrderService.GetOrder`.
    pub method: String,
}

/// Where a route's message is called, and how the HTTP request fills it.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) route: Route,
    pub(crate) template: Template,
    /// The template's variables with their fields, in order.
    pub(crate) path: Vec<(Variable, FieldPath)>,
    pub(crate) body: BodyRule,
    pub(crate) response_body: Option<FieldDescriptor>,
    pub(crate) input: MessageDescriptor,
    pub(crate) output: MessageDescriptor,
    pub(crate) grpc_path: PathAndQuery,
    pub(crate) answer: Answer,
    /// Writes the answer as JSON.
    pub(crate) writer: Writer,
    /// The method as a whole, for documents.
    pub(crate) method: MethodDescriptor,
}

/// What the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// One message, as JSON.
    Json,
    /// A `google.api.HttpBody`.
    Raw,
    /// Messages until the service ends them.
    Stream,
}

/// What the HTTP body fills.
#[derive(Debug, PartialEq)]
pub(crate) enum BodyRule {
    /// Nothing: there must be none.
    None,
    /// The request message; there are no query parameters then.
    Whole,
    /// This field of it.
    Field(FieldDescriptor),
}

impl Binding {
    /// All bindings of a method, its own first; none when it is not annotated.
    pub(crate) fn all_of(method: &MethodDescriptor) -> Result<Vec<Self>, BuildError> {
        let name = || method.full_name().to_owned();
        let rule = HttpRule::of(method).map_err(|source| BuildError::Annotation {
            method: name(),
            source,
        })?;
        let Some(rule) = rule else {
            return Ok(Vec::new());
        };
        if method.is_client_streaming() {
            return Err(BuildError::Streaming { method: name() });
        }
        let more = &rule.additional_bindings;
        if more
            .iter()
            .any(|inner| !inner.additional_bindings.is_empty())
        {
            return Err(BuildError::NestedBindings { method: name() });
        }
        [&rule]
            .into_iter()
            .chain(more)
            .map(|rule| Self::new(method, rule))
            .collect()
    }

    fn new(method: &MethodDescriptor, rule: &HttpRule) -> Result<Self, BuildError> {
        let name = method.full_name().to_owned();
        let Some((verb, text)) = rule.pattern() else {
            return Err(BuildError::NoPattern { method: name });
        };
        let verb = match Method::from_bytes(verb.as_bytes()) {
            Ok(method) if verb != "*" => method,
            _ => {
                return Err(BuildError::Verb {
                    method: name,
                    verb: verb.to_owned(),
                });
            }
        };
        let template = Template::parse(text).map_err(|source| BuildError::Template {
            method: name.clone(),
            template: text.to_owned(),
            source,
        })?;
        let grpc_path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let grpc_path = grpc_path
            .parse()
            .expect("protobuf names are path characters");
        let (input, output) = (method.input(), method.output());
        let no_field = |field: &str| BuildError::UnknownField {
            method: name.clone(),
            field: field.to_owned(),
        };
        let mut path = Vec::new();
        for variable in &template.variables {
            let field = &variable.field;
            let resolved = FieldPath::resolve(&input, field).ok_or_else(|| no_field(field))?;
            if !resolved.is_plain_scalar() {
                return Err(BuildError::NotScalar {
                    method: name.clone(),
                    field: field.clone(),
                });
            }
            path.push((variable.clone(), resolved));
        }
        let body = match rule.body.as_str() {
            "" => BodyRule::None,
            _ if verb == Method::GET || verb == Method::HEAD => {
                return Err(BuildError::BodyNotAllowed { method: name });
            }
            "*" => BodyRule::Whole,
            field => BodyRule::Field(json::field_of(&input, field).ok_or_else(|| no_field(field))?),
        };
        let response_body = match rule.response_body.as_str() {
            "" => None,
            field => Some(json::field_of(&output, field).ok_or_else(|| no_field(field))?),
        };
        let answer = if method.is_server_streaming() {
            Answer::Stream
        } else if response_body.is_none() && raw::is_raw(&output) {
            Answer::Raw
        } else {
            Answer::Json
        };
        let route = Route {
            verb,
            template: text.to_owned(),
            method: name,
        };
        let writer = Writer::new(&output, response_body.as_ref());
        Ok(Self {
            route,
            template,
            path,
            body,
            response_body,
            input,
            output,
            grpc_path,
            answer,
            writer,
            method: method.clone(),
        })
    }

    /// The `google.api.HttpBody` that takes the body as it is.
    pub(crate) fn raw_body(&self) -> Option<MessageDescriptor> {
        match &self.body {
            BodyRule::Whole => Some(self.input.clone()).filter(raw::is_raw),
            BodyRule::Field(field) => field.kind().as_message().cloned().filter(raw::is_raw),
            BodyRule::None => None,
        }
    }
}
