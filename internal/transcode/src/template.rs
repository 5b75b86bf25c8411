//! Path templates of `google.api.http`: `/v1/{name=orders/*}/lines/**:cancel`.

use std::ops::Range;

/// One segment of a template, variables flattened away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `*`: one segment that is not empty.
    Any,
    /// `**`: all that remains, possibly nothing; always the last.
    Rest,
}

/// A field of the request that takes a part of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// The field's path in the request message, dots between names.
    pub(crate) field: String,
    pub(crate) span: Span,
}

/// The path segments a variable covers, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Span {
    /// Exactly one: its text is decoded fully.
    One(usize),
    /// Several: a `%2F` stays, so that it differs from a slash between segments.
    Several(Range<usize>),
    /// From here to the end, possibly nothing; `%2F` stays too.
    Tail(usize),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    /// The `:verb` at the end, without the colon.
    pub(crate) verb: Option<String>,
}

/// Why a path template cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at offset {offset}")]
pub struct TemplateError {
    /// Bytes from the start of the template.
    pub offset: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parser = Parser {
            text,
            offset: 0,
            segments: Vec::new(),
            variables: Vec::new(),
        };
        parser.expect('/', "a template starts with '/'")?;
        parser.segments_until(&[':'], Variables::Allowed)?;
        let verb = if parser.take(':') {
            Some(parser.literal()?)
        } else {
            None
        };
        if parser.offset < text.len() {
            return Err(parser.error("unexpected character"));
        }
        Ok(Self {
            segments: parser.segments,
            variables: parser.variables,
            verb,
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Variables {
    Allowed,
    Refused,
}

struct Parser<'t> {
    text: &'t str,
    offset: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    /// Segments with a slash between them; stops before one of `ends` or at the end of the text.
    fn segments_until(&mut self, ends: &[char], variables: Variables) -> Result<(), TemplateError> {
        loop {
            if self.segments.last() == Some(&Segment::Rest) {
                return Err(self.error("'**' is the last segment"));
            }
            self.segment(variables)?;
            match self.peek() {
                Some('/') => self.offset += 1,
                Some(end) if ends.contains(&end) => return Ok(()),
                None => return Ok(()),
                Some(_) => return Err(self.error("unexpected character")),
            }
        }
    }

    fn segment(&mut self, variables: Variables) -> Result<(), TemplateError> {
        if self.take('{') {
            if variables == Variables::Refused {
                return Err(self.error("a variable inside a variable"));
            }
            return self.variable();
        }
        let segment = if self.take('*') {
            if self.take('*') {
                Segment::Rest
            } else {
                Segment::Any
            }
        } else {
            Segment::Literal(self.literal()?)
        };
        self.segments.push(segment);
        Ok(())
    }

    fn variable(&mut self) -> Result<(), TemplateError> {
        let field = self.field_path()?;
        if self.variables.iter().any(|known| known.field == field) {
            return Err(self.error("a field is bound twice"));
        }
        let start = self.segments.len();
        if self.take('=') {
            self.segments_until(&['}'], Variables::Refused)?;
        } else {
            self.segments.push(Segment::Any);
        }
        self.expect('}', "a variable ends with '}'")?;
        let end = self.segments.len();
        let span = match self.segments[end - 1] {
            Segment::Rest => Span::Tail(start),
            _ if end - start == 1 => Span::One(start),
            _ => Span::Several(start..end),
        };
        self.variables.push(Variable { field, span });
        Ok(())
    }

    fn field_path(&mut self) -> Result<String, TemplateError> {
        let path = self.run(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        let well_formed = path
            .split('.')
            .all(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'));
        if well_formed {
            Ok(path)
        } else {
            Err(self.error("a field path is names with dots between them"))
        }
    }

    fn literal(&mut self) -> Result<String, TemplateError> {
        let text = self.run(|c| c.is_ascii_alphanumeric() || "-._~!$&'()+,;@".contains(c));
        if text.is_empty() {
            return Err(self.error("a segment is empty or has a character that must be encoded"));
        }
        Ok(text)
    }

    fn run(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let rest = &self.text[self.offset..];
        let len = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.offset += len;
        rest[..len].to_owned()
    }

    fn peek(&self) -> Option<char> {
        self.text[self.offset..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.offset += wanted.len_utf8();
        }
        found
    }

    fn expect(&mut self, wanted: char, problem: &'static str) -> Result<(), TemplateError> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.error(problem))
        }
    }

    fn error(&self, problem: &'static str) -> TemplateError {
        TemplateError {
            offset: self.offset,
            problem,
        }
    }
}

#[cfg(test)]
mod tests;
