//! OpenAPI 3.1 from the routes: nothing in it is written twice.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use crate::binding::{Answer, Binding, BodyRule, Route};
use crate::json as own_json;
use crate::stream;
use crate::template::{Segment, Span};
use crate::transcoder::Transcoder;

mod comments;
mod limits;
mod schema;

use comments::first_sentence;
use schema::{Schemas, describe, reference, required};

/// The methods that a document can tell of.
const VERBS: [&str; 8] = [
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
/// How deep messages are looked into for query parameters; a message may hold itself.
const QUERY_DEPTH_MAX: usize = 4;
const PROBLEM: &str = "Problem";
const FIELD_ERROR: &str = "FieldError";

/// What a document says of the API as a whole.
#[derive(Debug, Clone)]
pub struct ApiInfo {
    /// Its name.
    pub title: String,
    /// Its version, of which nothing is assumed.
    pub version: String,
    /// What it is for, in Markdown.
    pub description: String,
    /// Headers that requests may have.
    pub headers: Vec<RequestHeader>,
    /// The routes that want a bearer token (RFC 6750).
    pub wants_token: fn(&Route) -> bool,
}

/// A header of requests: what no proto tells.
#[derive(Debug, Clone)]
pub struct RequestHeader {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// What its value looks like (ECMA 262).
    pub pattern: &'static str,
    /// The routes that take it.
    pub is_of: fn(&Route) -> bool,
}

/// The name of the only security scheme.
const TOKEN: &str = "token";

impl Transcoder {
    /// The OpenAPI 3.1 document of every route whose HTTP method OpenAPI knows. Comments of the
    /// protos are its descriptions, as far as the pool has source info. The order is fixed.
    #[must_use]
    pub fn openapi(&self, info: &ApiInfo) -> Json {
        let mut document = Document {
            headers: info.headers.clone(),
            wants_token: Some(info.wants_token),
            ..Document::default()
        };
        for (binding, _) in &self.inner.routes {
            document.add(binding, self.inner.options.resume_field.as_deref());
        }
        document.finish(info)
    }
}

#[derive(Default)]
struct Document {
    headers: Vec<RequestHeader>,
    wants_token: Option<fn(&Route) -> bool>,
    schemas: Schemas,
    /// By template, names of variables aside.
    paths: BTreeMap<String, Path>,
    /// Name and description, in the order of services.
    tags: Vec<(String, String)>,
    /// How often each method was met.
    bindings: BTreeMap<String, usize>,
}

/// All operations of a path, under the names that the first gave its variables.
struct Path {
    template: String,
    names: Vec<String>,
    operations: Map<String, Json>,
}

impl Document {
    fn add(&mut self, binding: &Binding, resume_field: Option<&str>) {
        let verb = binding.route.verb.as_str().to_ascii_lowercase();
        if !VERBS.contains(&verb.as_str()) {
            return;
        }
        let shape = Shape::of(binding);
        let names = match self.paths.get(&shape.key()) {
            Some(path) => path.names.clone(),
            None => shape.names(),
        };
        let operation = self.operation(binding, &shape, &names, resume_field);
        let path = self.paths.entry(shape.key()).or_insert_with(|| Path {
            template: shape.template(&names),
            names,
            operations: Map::new(),
        });
        path.operations.insert(verb, operation);
    }

    fn operation(
        &mut self,
        binding: &Binding,
        shape: &Shape,
        names: &[String],
        resume_field: Option<&str>,
    ) -> Json {
        let service = binding.method.parent_service();
        let tag = service.name().to_owned();
        if !self.tags.iter().any(|(known, _)| *known == tag) {
            let words = self.schemas.comments.of_service(service);
            self.tags.push((tag.clone(), words));
        }
        let count = self
            .bindings
            .entry(binding.route.method.clone())
            .and_modify(|count| *count += 1)
            .or_insert(1);
        let mut id = format!("{tag}_{}", binding.method.name());
        if *count > 1 {
            id = format!("{id}_{count}");
        }
        let words = self.schemas.comments.of_method(&binding.method);
        let (summary, description) = first_sentence(&words);
        let mut operation = json!({"operationId": id, "tags": [tag]});
        if !summary.is_empty() {
            operation["summary"] = summary.into();
        }
        describe(&mut operation, &description);
        if binding
            .method
            .options()
            .get_field_by_name("deprecated")
            .is_some_and(|value| value.as_bool() == Some(true))
        {
            operation["deprecated"] = true.into();
        }
        if self.wants_token.is_some_and(|wants| wants(&binding.route)) {
            operation["security"] = json!([{TOKEN: []}]);
        }
        let parameters = self.parameters(binding, shape, names, resume_field);
        if !parameters.is_empty() {
            operation["parameters"] = parameters.into();
        }
        if let Some(body) = self.body(binding) {
            operation["requestBody"] = body;
        }
        operation["responses"] = json!({
            "2XX": self.answer(binding),
            "default": {"$ref": "#/components/responses/Problem"},
        });
        operation
    }

    fn parameters(
        &mut self,
        binding: &Binding,
        shape: &Shape,
        names: &[String],
        resume_field: Option<&str>,
    ) -> Vec<Json> {
        let mut parameters = Vec::new();
        for (part, name) in shape.variables().zip(names) {
            let mut schema = match &part.field {
                Some(field) => self.schemas.field(field),
                None => json!({"type": "string"}),
            };
            let says_more = |key: &str| schema.get(key).is_some();
            let is_any_text = schema["type"] == "string"
                && !["minLength", "format", "pattern", "enum", "const"]
                    .into_iter()
                    .any(says_more);
            if is_any_text && !part.is_rest {
                schema["minLength"] = 1.into();
            }
            let mut parameter = json!({"name": name, "in": "path", "required": true});
            let words = part
                .field
                .as_ref()
                .map(|field| self.schemas.comments.of_field(field));
            describe(&mut parameter, &words.unwrap_or_default());
            if part.is_rest {
                describe(&mut parameter, "The rest of the path; it may have slashes.");
            }
            parameter["schema"] = schema;
            parameters.push(parameter);
        }
        if binding.body != BodyRule::Whole {
            let mut query = Query {
                binding,
                schemas: &mut self.schemas,
                parameters: Vec::new(),
            };
            query.walk(&binding.input, &[]);
            parameters.append(&mut query.parameters);
        }
        if binding.answer == Answer::Stream
            && stream::resume_field(&binding.input, resume_field).is_some()
        {
            parameters.push(json!({
                "name": "Last-Event-ID", "in": "header", "required": false,
                "description": "The id of the last event that was seen: the stream goes on behind it.",
                "schema": {"type": "string"},
            }));
        }
        let headers = self.headers.iter();
        parameters.extend(
            headers
                .filter(|header| (header.is_of)(&binding.route))
                .map(|header| {
                    json!({
                        "name": header.name, "in": "header", "required": false,
                        "description": header.description,
                        "schema": {"type": "string", "pattern": header.pattern},
                    })
                }),
        );
        parameters
    }

    fn body(&mut self, binding: &Binding) -> Option<Json> {
        if binding.raw_body().is_some() {
            return Some(json!({"content": {"*/*": {}}}));
        }
        let mut is_needed = true;
        let schema = match &binding.body {
            BodyRule::None => return None,
            BodyRule::Field(field) => self.schemas.field(field),
            BodyRule::Whole => {
                // what is in the path need not be in the body
                let bound = |field: &FieldDescriptor| {
                    let is_it = |name: &str| {
                        own_json::field_of(&binding.input, name).as_ref() == Some(field)
                    };
                    binding
                        .path
                        .iter()
                        .any(|(variable, _)| is_it(&variable.field))
                };
                let without: Vec<_> = binding.input.fields().filter(bound).collect();
                is_needed = !required(&binding.input, &without).is_empty();
                if without.is_empty() {
                    self.schemas.message(&binding.input)
                } else {
                    self.schemas.object(&binding.input, &without)
                }
            }
        };
        Some(json!({
            "required": is_needed, "content": {"application/json": {"schema": schema}},
        }))
    }

    fn answer(&mut self, binding: &Binding) -> Json {
        if binding.answer == Answer::Raw {
            return json!({"description": "The content.", "content": {"*/*": {}}});
        }
        let schema = match &binding.response_body {
            Some(field) => self.schemas.field(field),
            None => self.schemas.message(&binding.output),
        };
        if binding.answer == Answer::Stream {
            let lines =
                "One JSON object a line. The last may be an object with an `error`, a problem.";
            let events =
                "The data of each event is such an object; an event called `error` has a problem.";
            return json!({
                "description": format!("A stream. {lines} As `text/event-stream`: {}{}", events[..1].to_ascii_lowercase(), &events[1..]),
                "content": {stream::LINES: {"schema": schema}, stream::EVENTS: {"schema": {"type": "string"}}},
            });
        }
        json!({"description": "Success.", "content": {"application/json": {"schema": schema}}})
    }

    fn finish(self, info: &ApiInfo) -> Json {
        let paths = self.paths.into_values();
        let paths: Map<_, _> = paths
            .map(|path| (path.template, Json::Object(path.operations)))
            .collect();
        let tags = self.tags.into_iter().map(|(name, words)| {
            let mut tag = json!({"name": name});
            describe(&mut tag, &words);
            tag
        });
        let tags: Vec<_> = tags.collect();
        let mut schemas = self.schemas.into_map();
        schemas.insert(PROBLEM.to_owned(), problem_schema());
        schemas.insert(FIELD_ERROR.to_owned(), field_error_schema());
        let mut document = json!({
            "openapi": "3.1.0",
            "info": {"title": info.title, "version": info.version},
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {TOKEN: {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
                "responses": {"Problem": {
                    "description": "What went wrong (RFC 9457).",
                    "content": {"application/problem+json": {"schema": reference(PROBLEM)}},
                }},
            },
        });
        describe(&mut document["info"], &info.description);
        document
    }
}

/// Collects the query parameters of a message.
struct Query<'d> {
    binding: &'d Binding,
    schemas: &'d mut Schemas,
    parameters: Vec<Json>,
}

impl Query<'_> {
    fn walk(&mut self, message: &MessageDescriptor, parents: &[FieldDescriptor]) {
        for field in message.fields() {
            let mut path = parents.to_vec();
            path.push(field.clone());
            let name: Vec<&str> = path.iter().map(FieldDescriptor::json_name).collect();
            let name = name.join(".");
            let in_body = parents.is_empty()
                && matches!(&self.binding.body, BodyRule::Field(body) if *body == field);
            let in_path = self
                .binding
                .path
                .iter()
                .any(|(_, bound)| bound.name() == name);
            if in_body || in_path || field.is_map() {
                continue;
            }
            match field.kind() {
                Kind::Message(inner) if !own_json::is_text(&inner) => {
                    if !field.is_list() && path.len() < QUERY_DEPTH_MAX {
                        self.walk(&inner, &path);
                    }
                }
                // what stands in a message is needed only if that is there
                _ => self.add(
                    &name,
                    &field,
                    parents.is_empty() && limits::is_required(&field),
                ),
            }
        }
    }

    fn add(&mut self, name: &str, field: &FieldDescriptor, required: bool) {
        let mut parameter = json!({"name": name, "in": "query", "required": required});
        describe(&mut parameter, &self.schemas.comments.of_field(field));
        parameter["schema"] = self.schemas.field(field);
        self.parameters.push(parameter);
    }
}

/// A template in OpenAPI's words, in which a variable is one segment.
struct Shape {
    parts: Vec<Part>,
    verb: Option<String>,
}

enum Part {
    Literal(String),
    Variable(Variable),
}

struct Variable {
    name: String,
    field: Option<FieldDescriptor>,
    is_rest: bool,
}

impl Shape {
    fn of(binding: &Binding) -> Self {
        let template = &binding.template;
        let mut parts = Vec::new();
        let mut known = BTreeMap::<String, usize>::new();
        for (at, segment) in template.segments.iter().enumerate() {
            let is_rest = match segment {
                Segment::Literal(text) => {
                    parts.push(Part::Literal(text.clone()));
                    continue;
                }
                Segment::Any => false,
                Segment::Rest => true,
            };
            let covers = |span: &Span| match span {
                Span::One(own) => *own == at,
                Span::Several(range) => range.contains(&at),
                Span::Tail(from) => *from <= at,
            };
            let over = binding
                .path
                .iter()
                .find(|(variable, _)| covers(&variable.span));
            let mut name = over.map_or_else(|| "segment".to_owned(), |(_, field)| field.name());
            let count = known
                .entry(name.clone())
                .and_modify(|count| *count += 1)
                .or_insert(1);
            if *count > 1 {
                name = format!("{name}{count}");
            }
            // the pattern of a variable of several segments is in the path already
            let whole = over.filter(|(variable, _)| matches!(variable.span, Span::One(_)));
            parts.push(Part::Variable(Variable {
                name,
                field: whole.map(|(_, field)| field.leaf().clone()),
                is_rest,
            }));
        }
        Self {
            parts,
            verb: template.verb.clone(),
        }
    }

    fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Literal(_) => None,
        })
    }

    fn names(&self) -> Vec<String> {
        self.variables()
            .map(|variable| variable.name.clone())
            .collect()
    }

    fn template(&self, names: &[String]) -> String {
        let mut names = names.iter();
        self.write(|| {
            names
                .next()
                .map_or_else(String::new, |name| format!("{{{name}}}"))
        })
    }

    /// The same for all templates that differ in nothing but names.
    fn key(&self) -> String {
        self.write(|| "{}".to_owned())
    }

    fn write(&self, mut variable: impl FnMut() -> String) -> String {
        let mut text = String::new();
        for part in &self.parts {
            text.push('/');
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(_) => text.push_str(&variable()),
            }
        }
        if let Some(verb) = &self.verb {
            text.push(':');
            text.push_str(verb);
        }
        text
    }
}

fn problem_schema() -> Json {
    let text = |words: &str| json!({"type": "string", "description": words});
    json!({
        "type": "object",
        "description": "An error (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": text("`/errors/<reason>`, a page about it; or `about:blank`."),
            "title": text("The HTTP status in words."),
            "status": {"type": "integer", "description": "The HTTP status."},
            "detail": text("What happened this time."),
            "code": text("How to react, one word of a small closed set."),
            "reason": text("What happened, one word of an open set."),
            "instance": text("The path that was asked for."),
            "errors": {
                "type": "array", "items": reference(FIELD_ERROR),
                "description": "The fields that are wrong.",
            },
            "trace_id": text("The trace to look for."),
            "metadata": {
                "type": "object", "additionalProperties": {"type": "string"},
                "description": "The ids and amounts that belong to the reason.",
            },
        },
    })
}

fn field_error_schema() -> Json {
    json!({
        "type": "object",
        "description": "One wrong field of a request.",
        "required": ["field", "detail"],
        "properties": {
            "field": {"type": "string", "description": "Its path, such as `lines[0].unitPrice`."},
            "reason": {"type": "string", "description": "What is wrong, one word."},
            "detail": {"type": "string", "description": "What is wrong, in a sentence that the field's name begins."},
        },
    })
}
