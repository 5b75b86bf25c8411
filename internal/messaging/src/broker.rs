use std::fmt;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::kafka::{BrokerKind, Error, Kafka};
use crate::topics::TOPICS;

type Cluster = MockCluster<'static, DefaultProducerContext>;
type Order = Box<dyn FnOnce(&Cluster) + Send>;

/// A broker inside this process, on a loopback port, so that other processes may connect. It
/// forgets everything when it is dropped, and keeps 5 MiB a partition before that.
///
/// Source: librdkafka's mock cluster.
pub struct InProcessBroker {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl InProcessBroker {
    /// Starts it, within milliseconds, with every topic under `prefix` in `partitions` partitions
    /// (a divisor of 64; 1 or 2 keep the memory small).
    ///
    /// # Errors
    /// `Client`: librdkafka refused. `Thread`: the system did.
    pub fn start(prefix: &str, partitions: i32) -> Result<(Self, Kafka), Error> {
        let names: Vec<String> = TOPICS.iter().map(|spec| spec.topic.name(prefix)).collect();
        let (orders, inbox) = mpsc::channel::<Order>();
        let (started, start) = mpsc::channel();
        // the cluster may not change threads: it stays on one of its own and takes orders
        let thread = thread::Builder::new()
            .name("in-process-broker".to_owned())
            .spawn(move || match create(&names, partitions) {
                Ok(cluster) => {
                    // nobody hears it when the starter has gone: then the orders end at once
                    started.send(Ok(cluster.bootstrap_servers())).ok();
                    for order in inbox {
                        order(&cluster);
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })
            .map_err(Error::Thread)?;
        let bootstrap = start.recv().expect("the thread answers before it ends")?;
        let kafka = Kafka {
            bootstrap,
            prefix: prefix.to_owned(),
            broker: BrokerKind::InProcess,
        };
        let broker = Self {
            orders: Some(orders),
            thread: Some(thread),
        };
        Ok((broker, kafka))
    }

    /// Breaks every connection and accepts none until [`InProcessBroker::up`].
    ///
    /// # Errors
    /// `Client`.
    pub fn down(&self) -> Result<(), Error> {
        self.order(|cluster| cluster.broker_down(-1))
    }

    /// Accepts connections again; what was stored is still there.
    ///
    /// # Errors
    /// `Client`.
    pub fn up(&self) -> Result<(), Error> {
        self.order(|cluster| cluster.broker_up(-1))
    }

    /// Delays each answer.
    ///
    /// # Errors
    /// `Client`.
    pub fn delay(&self, round_trip: Duration) -> Result<(), Error> {
        self.order(move |cluster| cluster.broker_round_trip_time(-1, round_trip))
    }

    fn order(
        &self,
        work: impl FnOnce(&Cluster) -> Result<(), KafkaError> + Send + 'static,
    ) -> Result<(), Error> {
        let (reply, answer) = mpsc::channel();
        let order: Order = Box::new(move |cluster| {
            reply.send(work(cluster)).ok(); // we wait for it below
        });
        self.orders
            .as_ref()
            .expect("there until the drop")
            .send(order)
            .expect("the thread lives until the drop");
        Ok(answer.recv().expect("every order is answered")?)
    }
}

fn create(names: &[String], partitions: i32) -> Result<Cluster, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for name in names {
        cluster.create_topic(name, partitions, 1)?;
    }
    Ok(cluster)
}

impl Drop for InProcessBroker {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            thread.join().ok(); // a panic in there was reported by its own thread
        }
    }
}

impl fmt::Debug for InProcessBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessBroker").finish_non_exhaustive()
    }
}
