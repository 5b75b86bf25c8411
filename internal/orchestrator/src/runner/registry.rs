use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use palinode_db::{Db, Error};
use palinode_pb::DESCRIPTORS;
use palinode_saga::{MessageShape, Plan, PlanErrors, Schema};
use prost_reflect::{Cardinality, FieldDescriptor, Kind, Value};

use super::encode::StepCodec;
use crate::store;

/// A plan as it is stored: sagas are pinned to it.
#[derive(Debug)]
pub(crate) struct StoredPlan {
    pub(crate) id: i32,
    pub(crate) hash: String,
    pub(crate) plan: Plan,
    /// Name and version.
    pub(crate) label: String,
    /// What is worked out once of each step.
    pub(crate) steps: Vec<StepCodec>,
}

impl StoredPlan {
    pub(crate) fn new(id: i32, hash: String, plan: Plan) -> Self {
        Self {
            id,
            hash,
            label: plan.label(),
            steps: StepCodec::of(&plan),
            plan,
        }
    }
}

/// The plans of the database, and which version of each new sagas run. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    plans: Arc<RwLock<Plans>>,
}

#[derive(Debug, Default)]
struct Plans {
    by_id: HashMap<i32, Arc<StoredPlan>>,
    newest: BTreeMap<String, Arc<StoredPlan>>,
    /// Versions that new sagas run though there may be newer ones.
    chosen: BTreeMap<String, Arc<StoredPlan>>,
}

impl Plans {
    fn version(&self, name: &str, version: u32) -> Option<Arc<StoredPlan>> {
        let is_it = |p: &&Arc<StoredPlan>| p.plan.name() == name && p.plan.version() == version;
        self.by_id.values().find(is_it).cloned()
    }
}

/// Why the plans of this release cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// A plan does not fit the contracts.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
    /// A released plan was changed.
    #[error(
        "plan {label} was released with another content (hash {stored}, this program has {built}): \
         plans are never edited, raise the version"
    )]
    Edited {
        /// Name and version.
        label: String,
        /// Hash in the database.
        stored: String,
        /// Hash of what this program has.
        built: String,
    },
    /// Somebody chose a version that does not exist.
    #[error("there is no plan {wanted}; there are: {there}")]
    NoSuchVersion {
        /// What was chosen.
        wanted: String,
        /// What could have been.
        there: String,
    },
}

impl Registry {
    /// Resolves and stores the plans of this release, and loads every stored plan.
    pub(crate) async fn open(db: &Db, release: Vec<Plan>) -> Result<Self, RegistryError> {
        for plan in release {
            let plan = plan.resolve(&DescriptorSchema::default())?;
            let stored = store::plan::register(db, &plan).await?;
            if stored != plan.hash() {
                let (label, built) = (plan.label(), plan.hash());
                return Err(RegistryError::Edited {
                    label,
                    stored,
                    built,
                });
            }
        }
        let registry = Self::default();
        for stored in store::plan::load_all(db).await? {
            registry.insert(stored);
        }
        Ok(registry)
    }

    fn insert(&self, stored: StoredPlan) {
        let stored = Arc::new(stored);
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        plans.by_id.insert(stored.id, Arc::clone(&stored));
        let name = stored.plan.name().to_owned();
        let newer = plans
            .newest
            .get(&name)
            .is_none_or(|known| known.plan.version() < stored.plan.version());
        if newer {
            plans.newest.insert(name, stored);
        }
    }

    /// New sagas run these versions of their plans.
    pub(crate) fn choose(&self, versions: &BTreeMap<String, u32>) -> Result<(), RegistryError> {
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        for (name, version) in versions {
            let Some(plan) = plans.version(name, *version) else {
                let there: BTreeSet<String> =
                    plans.by_id.values().map(|p| p.plan.label()).collect();
                let there = there.into_iter().collect::<Vec<_>>().join(", ");
                let wanted = format!("{name}@{version}");
                return Err(RegistryError::NoSuchVersion { wanted, there });
            };
            plans.chosen.insert(name.clone(), plan);
        }
        Ok(())
    }

    /// The version of the plan that new sagas run: the chosen one, or the newest.
    pub(crate) fn current(&self, name: &str) -> Option<Arc<StoredPlan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans
            .chosen
            .get(name)
            .or_else(|| plans.newest.get(name))
            .cloned()
    }

    /// That version of the plan, if it is loaded.
    pub(crate) fn version(&self, name: &str, version: u32) -> Option<Arc<StoredPlan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans.version(name, version)
    }

    /// The versions of the plan of that name that are loaded, in order.
    pub(crate) fn versions(&self, name: &str) -> Vec<u32> {
        let named = |plan: &StoredPlan| (plan.plan.name() == name).then(|| plan.plan.version());
        let mut versions: Vec<u32> = self.all().iter().filter_map(|plan| named(plan)).collect();
        versions.sort_unstable();
        versions
    }

    /// Every plan that is loaded.
    pub(crate) fn all(&self) -> Vec<Arc<StoredPlan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans.by_id.values().cloned().collect()
    }

    /// The plan of that number, if it is loaded.
    pub(crate) fn get(&self, id: i32) -> Option<Arc<StoredPlan>> {
        let plans = self.plans.read().unwrap_or_else(PoisonError::into_inner);
        plans.by_id.get(&id).cloned()
    }

    /// Loads a plan that another orchestrator, of a newer release, has registered.
    pub(crate) async fn refresh(&self, db: &Db) -> Result<(), Error> {
        for stored in store::plan::load_all(db).await? {
            if self.get(stored.id).is_none() {
                self.insert(stored);
            }
        }
        Ok(())
    }
}

/// The messages of the contracts, as plans see them.
#[derive(Debug, Clone, Copy, Default)]
pub struct DescriptorSchema {
    _private: (),
}

/// Full name of the message option that names a command's output.
const OUTPUT_OPTION: &str = "palinode.saga.v1.output";

impl Schema for DescriptorSchema {
    fn message(&self, name: &str) -> Option<MessageShape> {
        let message = DESCRIPTORS.get_message_by_name(name)?;
        let fields = message
            .fields()
            .map(|field| (field.name().to_owned(), type_words(&field)))
            .collect();
        let output = DESCRIPTORS
            .get_extension_by_name(OUTPUT_OPTION)
            .and_then(
                |option| match message.options().get_extension(&option).into_owned() {
                    Value::String(output) if !output.is_empty() => Some(output),
                    _ => None,
                },
            );
        Some(MessageShape { fields, output })
    }
}

fn type_words(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    match field.cardinality() {
        Cardinality::Repeated => format!("repeated {kind}"),
        Cardinality::Optional | Cardinality::Required => kind,
    }
}
