//! Registration: every message exists, and every field is filled from something that fits.

use super::check::ancestors;
use super::{Binding, Message, Plan, PlanError, PlanErrors, Source, Step, StepKind};
use crate::schema::{MessageShape, Schema};

impl Plan {
    /// Fills in the bindings that follow from names and types, and checks all of them. The result
    /// is what is stored and hashed: it runs without the code that built it.
    ///
    /// # Errors
    /// Every binding that does not fit, with the step.
    pub fn resolve(&self, schema: &impl Schema) -> Result<Self, PlanErrors> {
        let mut errors = Vec::new();
        let mut resolved = self.clone();
        let Some(input) = schema.message(&self.input) else {
            let step = "(input)".to_owned();
            errors.push(PlanError::UnknownMessage {
                step,
                message: self.input.clone(),
            });
            return Err(PlanErrors {
                plan: self.label(),
                errors,
            });
        };
        for position in 0..self.steps.len() {
            let step = &self.steps[position];
            // nearest first: later positions of a topological order are nearer
            let mut sources: Vec<(&Step, MessageShape)> = ancestors(&self.steps, position)
                .into_iter()
                .rev()
                .filter_map(|before| output_shape(&self.steps[before], schema))
                .collect();
            let scope = Scope {
                step,
                input: &input,
                sources: &sources,
            };
            if let Some(action) = &step.action {
                resolved.steps[position].action =
                    scope.message(action, Use::Action, schema, &mut errors);
            }
            if let Some(compensation) = &step.compensation {
                sources.splice(0..0, output_shape(step, schema));
                let scope = Scope {
                    step,
                    input: &input,
                    sources: &sources,
                };
                resolved.steps[position].compensation =
                    scope.message(compensation, Use::Compensation, schema, &mut errors);
            }
        }
        if errors.is_empty() {
            return Ok(resolved);
        }
        Err(PlanErrors {
            plan: self.label(),
            errors,
        })
    }

    /// Whether a participant may answer `Failed` to the step's action.
    #[must_use]
    pub fn may_fail(&self, step: usize) -> bool {
        match self.steps[step].kind {
            StepKind::Compensatable | StepKind::Pivot => true,
            StepKind::Retriable => false,
            StepKind::ReadOnly => !ancestors(&self.steps, step)
                .into_iter()
                .any(|before| self.steps[before].kind == StepKind::Pivot),
        }
    }
}

fn output_shape<'p>(step: &'p Step, schema: &impl Schema) -> Option<(&'p Step, MessageShape)> {
    let output = schema.message(&step.action.as_ref()?.name)?.output?;
    Some((step, schema.message(&output)?))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Action,
    Compensation,
}

struct Scope<'p> {
    step: &'p Step,
    input: &'p MessageShape,
    /// Outputs that may be read, nearest first.
    sources: &'p [(&'p Step, MessageShape)],
}

impl Scope<'_> {
    fn message(
        &self,
        declared: &Message,
        used: Use,
        schema: &impl Schema,
        errors: &mut Vec<PlanError>,
    ) -> Option<Message> {
        let step = || self.step.name.clone();
        let message = || declared.name.clone();
        let Some(shape) = schema.message(&declared.name) else {
            errors.push(PlanError::UnknownMessage {
                step: step(),
                message: message(),
            });
            return None;
        };
        for binding in &declared.bindings {
            let field = || binding.field.clone();
            let Some(field_type) = shape.fields.get(&binding.field) else {
                errors.push(PlanError::UnknownField {
                    step: step(),
                    message: message(),
                    field: field(),
                });
                continue;
            };
            match self.source_type(&binding.source, used) {
                Ok(Some(source_type)) if source_type == field_type => {}
                Ok(Some(source_type)) => errors.push(PlanError::TypeMismatch {
                    step: step(),
                    message: message(),
                    field: field(),
                    field_type: field_type.clone(),
                    source_type: source_type.to_owned(),
                }),
                Ok(None) => errors.push(PlanError::UnknownSource {
                    step: step(),
                    message: message(),
                    field: field(),
                    source_field: words(&binding.source),
                }),
                Err(error) => errors.push(error),
            }
        }
        let unknown = declared
            .empty
            .iter()
            .filter(|field| !shape.fields.contains_key(*field));
        errors.extend(unknown.map(|field| PlanError::UnknownField {
            step: step(),
            message: message(),
            field: field.clone(),
        }));
        let filled = shape
            .fields
            .iter()
            .filter(|(field, _)| !declared.empty.contains(field));
        let bindings = filled.filter_map(|(field, field_type)| {
            let declared_here = declared
                .bindings
                .iter()
                .find(|b| b.field == *field)
                .cloned();
            let found = declared_here.or_else(|| self.by_name(field, field_type));
            if found.is_none() {
                errors.push(PlanError::Unbound {
                    step: step(),
                    message: message(),
                    field: field.clone(),
                });
            }
            found
        });
        let bindings = bindings.collect();
        Some(Message {
            name: declared.name.clone(),
            bindings,
            empty: declared.empty.clone(),
        })
    }

    /// The default: same name and type, from the nearest output or from the input.
    fn by_name(&self, field: &str, field_type: &String) -> Option<Binding> {
        let from_step = self
            .sources
            .iter()
            .find(|(_, shape)| shape.fields.get(field) == Some(field_type))
            .map(|(step, _)| super::output(&step.name, field));
        let from_input =
            || (self.input.fields.get(field) == Some(field_type)).then(|| super::input(field));
        let source = from_step.or_else(from_input)?;
        Some(Binding {
            field: field.to_owned(),
            source,
        })
    }

    fn source_type(&self, source: &Source, used: Use) -> Result<Option<&str>, PlanError> {
        match source {
            Source::Input { field } => Ok(self.input.fields.get(field).map(String::as_str)),
            Source::Output { step, field } => {
                match self.sources.iter().find(|(before, _)| before.name == *step) {
                    Some((_, shape)) => Ok(shape.fields.get(field).map(String::as_str)),
                    None => Err(PlanError::SourceNotBefore {
                        step: self.step.name.clone(),
                        from: step.clone(),
                    }),
                }
            }
            Source::CauseReason | Source::CauseDetail if used == Use::Action => {
                Err(PlanError::CauseInAction(self.step.name.clone()))
            }
            Source::CauseReason | Source::CauseDetail => Ok(Some("string")),
        }
    }
}

fn words(source: &Source) -> String {
    match source {
        Source::Input { field } => format!("input.{field}"),
        Source::Output { step, field } => format!("{step}.{field}"),
        Source::CauseReason => "the cause's reason".to_owned(),
        Source::CauseDetail => "the cause's detail".to_owned(),
    }
}
