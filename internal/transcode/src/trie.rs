//! The routes as a tree of path segments.

use std::collections::{BTreeMap, HashMap};

use http::Method;

use crate::template::{Segment, Span, Template, Variable};
use crate::uri::{self, BadEscape};

/// Finds the route of a verb and a path.
///
/// A literal segment goes before `*`, and `*` before `**`; a branch that has no route for the verb
/// does not hide one that has.
#[derive(Debug, Default)]
pub(crate) struct Trie {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    any: Option<Box<Node>>,
    /// Routes that end here.
    ends: Ends,
    /// Routes that end here with `**`.
    rests: Ends,
}

/// Routes by `:verb` (empty when there is none), then by HTTP method; the numbers are the caller's.
type Ends = BTreeMap<String, Vec<(Method, usize)>>;

/// What a lookup ends with.
#[derive(Debug, PartialEq)]
pub(crate) enum Lookup<'p> {
    /// The number given at insertion, and the path in segments.
    Found(usize, Segments<'p>),
    /// The path exists, with these methods only; sorted, never empty.
    OtherMethods(Vec<Method>),
    /// No such path.
    Nothing,
}

/// A path's raw segments, the `:verb` taken off.
#[derive(Debug, PartialEq)]
pub(crate) struct Segments<'p> {
    raw: Vec<&'p str>,
}

impl Trie {
    /// Adds a route.
    ///
    /// # Errors
    /// The number of the route that has this method and a template of the same shape already.
    pub(crate) fn insert(
        &mut self,
        template: &Template,
        method: &Method,
        number: usize,
    ) -> Result<(), usize> {
        let verb = template.verb.clone().unwrap_or_default();
        let mut node = &mut self.root;
        let mut rest = false;
        for segment in &template.segments {
            match segment {
                Segment::Literal(text) => node = node.literals.entry(text.clone()).or_default(),
                Segment::Any => node = node.any.get_or_insert_default(),
                Segment::Rest => rest = true,
            }
        }
        let ends = if rest {
            &mut node.rests
        } else {
            &mut node.ends
        };
        let methods = ends.entry(verb).or_default();
        if let Some((_, known)) = methods.iter().find(|(known, _)| known == method) {
            return Err(*known);
        }
        methods.push((method.clone(), number));
        Ok(())
    }

    /// Looks a raw path up. The last segment's `:verb` counts as one as soon as any route has it
    /// there; else the colon is part of the segment.
    pub(crate) fn find<'p>(&self, method: &Method, path: &'p str) -> Result<Lookup<'p>, BadEscape> {
        let Some(path) = path.strip_prefix('/') else {
            return Ok(Lookup::Nothing);
        };
        if let Some((before, verb)) = path.rsplit_once(':')
            && !verb.is_empty()
            && !verb.contains('/')
        {
            let found = self.find_with_verb(method, before, verb)?;
            if found != Lookup::Nothing {
                return Ok(found);
            }
        }
        self.find_with_verb(method, path, "")
    }

    fn find_with_verb<'p>(
        &self,
        method: &Method,
        path: &'p str,
        verb: &str,
    ) -> Result<Lookup<'p>, BadEscape> {
        let raw: Vec<&str> = path.split('/').collect();
        let decoded = raw
            .iter()
            .map(|text| uri::segment(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut search = Search {
            method,
            verb,
            others: Vec::new(),
        };
        if let Some(number) = search.walk(&self.root, &decoded) {
            return Ok(Lookup::Found(number, Segments { raw }));
        }
        if search.others.is_empty() {
            return Ok(Lookup::Nothing);
        }
        if search.others.contains(&Method::GET) {
            search.others.push(Method::HEAD);
        }
        search.others.push(Method::OPTIONS);
        search.others.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        search.others.dedup();
        Ok(Lookup::OtherMethods(search.others))
    }
}

impl Segments<'_> {
    /// The text that a variable takes. `**` may stand for no segment at all: then it is empty.
    pub(crate) fn text(&self, variable: &Variable) -> Result<String, BadEscape> {
        let covered = match &variable.span {
            Span::One(at) => return uri::segment(self.raw[*at]),
            Span::Several(range) => &self.raw[range.clone()],
            Span::Tail(from) => &self.raw[*from..],
        };
        let parts = covered.iter().map(|text| uri::one_of_segments(text));
        Ok(parts.collect::<Result<Vec<_>, _>>()?.join("/"))
    }
}

struct Search<'s> {
    method: &'s Method,
    verb: &'s str,
    /// Methods of routes that match but for the method.
    others: Vec<Method>,
}

impl Search<'_> {
    fn walk(&mut self, node: &Node, path: &[String]) -> Option<usize> {
        let Some((first, tail)) = path.split_first() else {
            return self.pick(&node.ends).or_else(|| self.pick(&node.rests));
        };
        if let Some(next) = node.literals.get(first)
            && let Some(number) = self.walk(next, tail)
        {
            return Some(number);
        }
        if let Some(next) = &node.any
            && !first.is_empty()
            && let Some(number) = self.walk(next, tail)
        {
            return Some(number);
        }
        if path.iter().any(String::is_empty) {
            return None;
        }
        self.pick(&node.rests)
    }

    fn pick(&mut self, ends: &Ends) -> Option<usize> {
        let methods = ends.get(self.verb)?;
        // Whoever answers GET answers HEAD; the HTTP server drops the body.
        let wanted = |known: &Method| {
            known == self.method || (*self.method == Method::HEAD && *known == Method::GET)
        };
        if let Some((_, number)) = methods.iter().find(|(known, _)| wanted(known)) {
            return Some(*number);
        }
        self.others
            .extend(methods.iter().map(|(known, _)| known.clone()));
        None
    }
}

#[cfg(test)]
mod tests;
