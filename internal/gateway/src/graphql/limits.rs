//! What a document may cost: looked at before anything else is done with it, in time that grows with its text,
//! however often it names its fragments.

use std::collections::HashMap;

use async_graphql::Error;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

use super::errors;

/// Fields within fields.
pub(crate) const DEPTH_MAX: usize = 8;
/// Weights of all fields.
pub(crate) const COMPLEXITY_MAX: usize = 200;
/// The usual question about the schema has 15 fields within fields.
const SCHEMA_DEPTH_MAX: usize = 16;
/// What the schema tells, where every list counts tenfold: the usual question comes to about half of that.
const SCHEMA_COMPLEXITY_MAX: usize = 100_000;
/// Selections within selections: the stack is finite.
const NESTING_MAX: usize = 40;
/// Selections once fragments are in their places: what checks a document looks at each.
const SELECTIONS_MAX: usize = 5_000;

/// What a field costs: for itself, and for how many entries its own fields are asked for.
fn weight(field: &str) -> (usize, usize) {
    match field {
        // up to five calls, and a thousand entries
        "users" | "products" | "orders" => (10, 10),
        "order_products" => (2, 5),
        // a call each
        "user" | "product" | "order" => (5, 1),
        // a password is hashed
        "login" | "registerUser" => (50, 1),
        // an order is waited for
        "placeOrder" => (40, 1),
        "createProduct" | "updateInventory" => (20, 1),
        _ => (1, 1),
    }
}

/// Lists of the schema's description of itself.
fn is_schema_list(field: &str) -> bool {
    let lists = [
        "args",
        "directives",
        "enumValues",
        "fields",
        "inputFields",
        "interfaces",
        "locations",
        "possibleTypes",
        "types",
    ];
    lists.contains(&field)
}

/// What selections come to, with their fragments in their places.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nesting: usize,
    selections: usize,
    depth: usize,
    complexity: usize,
    /// What they would cost within a `__schema`.
    as_schema: usize,
    schema_depth: usize,
    schema_complexity: usize,
}

impl Cost {
    /// Both, one after the other.
    fn and(self, other: Self) -> Self {
        Self {
            nesting: self.nesting.max(other.nesting),
            selections: self.selections.saturating_add(other.selections),
            depth: self.depth.max(other.depth),
            complexity: self.complexity.saturating_add(other.complexity),
            as_schema: self.as_schema.saturating_add(other.as_schema),
            schema_depth: self.schema_depth.max(other.schema_depth),
            schema_complexity: self
                .schema_complexity
                .saturating_add(other.schema_complexity),
        }
    }

    /// A selection that has these in it.
    fn within(self) -> Self {
        Self {
            nesting: self.nesting + 1,
            selections: self.selections.saturating_add(1),
            ..self
        }
    }

    /// The field of this name that has these in it.
    fn field(self, name: &str) -> Self {
        let within = self.within();
        let times = if is_schema_list(name) { 10 } else { 1 };
        let as_schema = self.as_schema.saturating_mul(times).saturating_add(1);
        if name == "__schema" || name == "__type" {
            return Self {
                depth: 1,
                complexity: 1,
                as_schema,
                schema_depth: self.depth + 1,
                schema_complexity: as_schema,
                ..within
            };
        }
        let (own, entries) = weight(name);
        let complexity = self.complexity.saturating_mul(entries).saturating_add(own);
        Self {
            depth: self.depth + 1,
            complexity,
            as_schema,
            ..within
        }
    }
}

/// A document on the way to its cost.
struct Weighing<'d> {
    document: &'d ExecutableDocument,
    /// Of each fragment that has been looked at.
    fragments: HashMap<&'d str, Cost>,
}

impl<'d> Weighing<'d> {
    /// `above` is how many selections these are within. A fragment within itself ends at the limit of nesting.
    fn selections(&mut self, set: &'d SelectionSet, above: usize) -> Result<Cost, Error> {
        if above > NESTING_MAX {
            return Err(too_deep());
        }
        let mut sum = Cost::default();
        for selection in &set.items {
            let cost = match &selection.node {
                Selection::Field(field) => {
                    let within = self.selections(&field.node.selection_set.node, above + 1)?;
                    within.field(&field.node.name.node)
                }
                Selection::InlineFragment(fragment) => {
                    let within = self.selections(&fragment.node.selection_set.node, above + 1)?;
                    within.within()
                }
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    self.fragment(name, above + 1)?.within()
                }
            };
            sum = sum.and(cost);
        }
        if above + sum.nesting > NESTING_MAX {
            return Err(too_deep());
        }
        Ok(sum)
    }

    fn fragment(&mut self, name: &'d str, above: usize) -> Result<Cost, Error> {
        if let Some(known) = self.fragments.get(name) {
            return Ok(*known);
        }
        // one that is not there is told of later
        let Some(fragment) = self.document.fragments.get(name) else {
            return Ok(Cost::default());
        };
        let cost = self.selections(&fragment.node.selection_set.node, above)?;
        self.fragments.insert(name, cost);
        Ok(cost)
    }
}

fn too_deep() -> Error {
    let words = format!("fields are nested deeper than {DEPTH_MAX}");
    errors::invalid("QUERY_TOO_DEEP", words)
}

fn too_complex(complexity: usize) -> Error {
    let words = format!("the complexity is {complexity}, and may be {COMPLEXITY_MAX}");
    errors::invalid("QUERY_TOO_COMPLEX", words)
}

/// Whether the document stays within the limits, each of its operations for itself.
///
/// # Errors
/// It is too deep, a fragment being within itself included, or too complex.
pub(crate) fn check(document: &ExecutableDocument) -> Result<(), Error> {
    let mut weighing = Weighing {
        document,
        fragments: HashMap::new(),
    };
    let mut all = Cost::default();
    for (_, operation) in document.operations.iter() {
        let cost = weighing.selections(&operation.node.selection_set.node, 0)?;
        if cost.depth > DEPTH_MAX || cost.schema_depth > SCHEMA_DEPTH_MAX {
            return Err(too_deep());
        }
        if cost.complexity > COMPLEXITY_MAX {
            return Err(too_complex(cost.complexity));
        }
        all = all.and(cost);
    }
    // every operation is checked, whichever is asked for; and so is a fragment that nobody names
    for name in document.fragments.keys() {
        all = all.and(weighing.fragment(name, 0)?);
    }
    if all.schema_complexity > SCHEMA_COMPLEXITY_MAX || all.selections > SELECTIONS_MAX {
        let words = "this is more about the schema than is told at once";
        return Err(errors::invalid("QUERY_TOO_COMPLEX", words));
    }
    Ok(())
}
