//! Spans of a batch: collected while it runs, written after its commit.

use std::collections::HashMap;
use std::sync::Arc;

use palinode_messaging::{Record, Topic, creation_span};
use palinode_saga::{Effect, Note};
use palinode_telemetry::{Finished, Kind, SpanId, TraceContext, Tracer, names};
use palinode_values::{Clock, SagaId, Timestamp};

use super::batch::{Reply, Start};
use super::registry::StoredPlan;
use crate::store::saga::Head;

/// What happened in a batch, to be told once it is committed.
pub(crate) struct Spans {
    tracer: Tracer,
    prefix: Arc<str>,
    began: Timestamp,
    noted: Vec<Noted>,
    ended: Vec<Ending>,
    created: Vec<Finished>,
    /// Anchor of each saga, by message key.
    anchors: HashMap<Vec<u8>, SpanId>,
}

/// An input that was handled.
enum Noted {
    Start {
        id: SagaId,
        plan: String,
        process: TraceContext,
        anchor: TraceContext,
        start: Start,
    },
    Reply {
        reply: Reply,
        note: Option<Note>,
    },
}

struct Ending {
    id: SagaId,
    plan: String,
    anchor: TraceContext,
    started_at: Timestamp,
    outcome: &'static str,
}

impl Spans {
    pub(crate) fn new(tracer: &Tracer, prefix: &Arc<str>) -> Self {
        Self {
            tracer: tracer.clone(),
            prefix: Arc::clone(prefix),
            began: Timestamp::default(),
            noted: Vec::new(),
            ended: Vec::new(),
            created: Vec::new(),
            anchors: HashMap::new(),
        }
    }

    /// Contexts of a new saga: of the span that handles its start, and of its anchor, below which
    /// everything hangs that ever happens to it.
    pub(crate) fn started(&self, creation: Option<&TraceContext>) -> (TraceContext, TraceContext) {
        let process = creation.map_or_else(TraceContext::root, TraceContext::child);
        let anchor = process.child();
        (process, anchor)
    }

    /// When the batch began, database time.
    pub(crate) fn began(&mut self, now: Timestamp) {
        self.began = now;
    }

    /// A saga was started; `process` handles its start.
    pub(crate) fn start(
        &mut self,
        head: &Head,
        plan: &StoredPlan,
        process: TraceContext,
        start: &Start,
    ) {
        let Some(anchor) = head.trace.as_ref().filter(|_| self.tracer.is_enabled()) else {
            return;
        };
        self.noted.push(Noted::Start {
            id: head.id,
            plan: plan.label.clone(),
            process,
            anchor: anchor.clone(),
            start: start.clone(),
        });
    }

    /// A reply was handled.
    pub(crate) fn reply(&mut self, reply: &Reply, note: Option<Note>) {
        if self.tracer.is_enabled() {
            let reply = reply.clone();
            self.noted.push(Noted::Reply { reply, note });
        }
    }

    pub(crate) fn effects(&mut self, head: &Head, plan: &StoredPlan, effects: &[(i64, Effect)]) {
        let Some(anchor) = head.trace.as_ref().filter(|_| self.tracer.is_enabled()) else {
            return;
        };
        for (_, effect) in effects {
            if let Effect::Emit(ended) = effect {
                self.ended.push(Ending {
                    id: head.id,
                    plan: plan.label.clone(),
                    anchor: anchor.clone(),
                    started_at: head.started_at,
                    outcome: crate::store::saga::state_word(ended.status),
                });
            }
        }
        // records are made under the anchor of their saga, which only the head knows
        self.anchors.insert(head.id.key(), anchor.span_id);
    }

    pub(crate) fn created(&mut self, records: &[Record]) {
        if !self.tracer.is_enabled() {
            return;
        }
        self.created.extend(records.iter().filter_map(|record| {
            let anchor = *self.anchors.get(&record.key)?;
            Some(creation_span(record, &self.prefix, anchor, self.began))
        }));
    }

    /// Writes the spans. Call it after the commit, never before.
    pub(crate) fn emit(self, clock: &Clock) {
        if !self.tracer.is_enabled() {
            return;
        }
        let end = clock.now();
        for noted in &self.noted {
            match noted {
                Noted::Start {
                    id,
                    plan,
                    process,
                    anchor,
                    start,
                } => {
                    self.emit_start(*id, plan, process, anchor, start, end);
                }
                Noted::Reply { reply, note } => self.emit_reply(reply, *note, end),
            }
        }
        for ending in &self.ended {
            self.emit_ending(ending, end);
        }
        for created in self.created {
            self.tracer.emit(created);
        }
    }

    fn span(&self, name: String, kind: Kind, context: TraceContext, end: Timestamp) -> Finished {
        Finished {
            name,
            kind,
            context,
            parent: None,
            start: self.began,
            end,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    fn emit_start(
        &self,
        id: SagaId,
        plan: &str,
        process: &TraceContext,
        anchor: &TraceContext,
        start: &Start,
        end: Timestamp,
    ) {
        let attributes = vec![
            (names::SAGA_ID, id.to_string()),
            (names::SAGA_PLAN, plan.to_owned()),
        ];
        let name = format!(
            "process {}",
            Topic::ORCHESTRATOR_COMMANDS.name(&self.prefix)
        );
        self.tracer.emit(Finished {
            parent: start.trace.as_ref().map(|t| t.span_id),
            attributes: attributes.clone(),
            ..self.span(name, Kind::Consumer, process.clone(), end)
        });
        // zero length: it has children that outlive it
        let name = format!("saga.start {plan}");
        self.tracer.emit(Finished {
            parent: Some(process.span_id),
            attributes,
            ..self.span(name, Kind::Internal, anchor.clone(), self.began)
        });
    }

    fn emit_reply(&self, reply: &Reply, note: Option<Note>, end: Timestamp) {
        let Some(creation) = &reply.trace else { return };
        let mut attributes = vec![
            (names::SAGA_ID, reply.saga_id.to_string()),
            (names::SAGA_STEP, reply.step.clone()),
            (names::SAGA_DIRECTION, reply.direction.to_string()),
        ];
        attributes.extend(note.map(|note| (names::SAGA_REPLY_IGNORED, format!("{note:?}"))));
        let name = format!("process {}", Topic::ORCHESTRATOR_REPLIES.name(&self.prefix));
        self.tracer.emit(Finished {
            parent: Some(creation.span_id),
            attributes,
            ..self.span(name, Kind::Consumer, creation.child(), end)
        });
    }

    fn emit_ending(&self, ending: &Ending, end: Timestamp) {
        let name = format!("saga.end {}", ending.plan);
        self.tracer.emit(Finished {
            parent: Some(ending.anchor.span_id),
            start: ending.started_at,
            attributes: vec![
                (names::SAGA_ID, ending.id.to_string()),
                (names::SAGA_PLAN, ending.plan.clone()),
                (names::SAGA_OUTCOME, ending.outcome.to_owned()),
            ],
            ..self.span(name, Kind::Internal, ending.anchor.child(), end)
        });
    }
}
