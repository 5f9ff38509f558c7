//! What one broker process runs with: its file, flags and variables, checked and read.
//!
//! Owns the keys that only a process needs (listeners, addresses, the data directory). The tables of keys, their
//! defaults and checks stand in `ottla_core::config`. Must never let a value pass that it does not understand.

mod listeners;
mod properties;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_coordination::Access;
use ottla_core::config::{BrokerConfig, InvalidValue, UnknownKey, broker};
use ottla_core::metadata::ExplicitConfig;
use ottla_core::replica::Settings;
use ottla_core::types::BrokerId;

pub use listeners::{ListenerConfig, ListenerError, advertised};
pub use properties::{PropertiesError, parse as parse_properties};

/// Why a broker cannot run with what it was given.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Values that their keys do not take.
    #[error("{}", list(.0))]
    Values(Vec<InvalidValue>),
    /// `listeners` or `advertised.listeners` cannot be used.
    #[error(transparent)]
    Listeners(#[from] ListenerError),
    /// More than one data directory.
    #[error("log.dirs names {0} directories; Ottla keeps one data directory per broker: name one")]
    SeveralDirectories(usize),
    /// An address for other brokers cannot be read.
    #[error("{key} is {text:?}; it must be host:port")]
    Grpc {
        /// `ottla.grpc.listener` or `ottla.grpc.advertised`.
        key: &'static str,
        /// What it holds.
        text: String,
    },
    /// The HTTP listener's address cannot be read.
    #[error("ottla.http.listener is {0:?}; it must be host:port, :port, or empty for none")]
    Http(String),
}

fn list(values: &[InvalidValue]) -> String {
    let lines: Vec<String> = values.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// A broker's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    values: BrokerConfig,
    id: BrokerId,
    listeners: Vec<ListenerConfig>,
    log_dir: PathBuf,
    http: Option<(String, u16)>,
    grpc: Option<(String, u16)>,
    grpc_advertised: Option<(String, u16)>,
}

impl Config {
    /// Reads `values`; the unknown keys among them are for the caller to warn about.
    ///
    /// # Errors
    /// [`ConfigError`], naming each key, its value and what it may hold.
    pub fn new(values: ExplicitConfig) -> Result<(Self, Vec<UnknownKey>), ConfigError> {
        let (values, unknown) = BrokerConfig::from_file(values).map_err(ConfigError::Values)?;
        let named = values.file().contains_key(broker::NODE_ID.name);
        let older = values.int(&broker::BROKER_ID);
        let id = if !named && older >= 0 { older } else { values.int(&broker::NODE_ID) };
        let text = |key| values.text(key).unwrap_or_default();
        let listeners = listeners::read(
            text(&broker::LISTENERS),
            values.text(&broker::ADVERTISED_LISTENERS),
            text(&broker::LISTENER_SECURITY_PROTOCOL_MAP),
        )?;
        let log_dir = data_directory(&values)?;
        let http = http_address(text(&broker::OTTLA_HTTP_LISTENER))?;
        let grpc = grpc_address(&broker::OTTLA_GRPC_LISTENER, &values)?;
        let grpc_advertised = grpc_address(&broker::OTTLA_GRPC_ADVERTISED, &values)?;
        let id = BrokerId::new(id);
        Ok((Self { id, listeners, log_dir, http, grpc, grpc_advertised, values }, unknown))
    }

    /// Every key of the file, for what changes at run time to be laid over.
    pub fn values(&self) -> &BrokerConfig {
        &self.values
    }

    /// `node.id`
    pub fn id(&self) -> BrokerId {
        self.id
    }

    /// Where clients connect.
    pub fn listeners(&self) -> &[ListenerConfig] {
        &self.listeners
    }

    /// `ottla.advertised.listeners.file`: a file that says what `advertised.listeners` does not, if there is one.
    pub fn advertised_file(&self) -> Option<&Path> {
        let path = self.values.text(&broker::OTTLA_ADVERTISED_LISTENERS_FILE).map(Path::new);
        path.filter(|path| !path.as_os_str().is_empty())
    }

    /// `ottla.dynamic.config.file`: a file that says what of the configuration may change, if there is one.
    pub fn dynamic_file(&self) -> Option<&Path> {
        let path = self.values.text(&broker::OTTLA_DYNAMIC_CONFIG_FILE).map(Path::new);
        path.filter(|path| !path.as_os_str().is_empty())
    }

    /// The same with other values of keys that change while a broker runs; of none of those anything else here is made.
    #[must_use]
    pub fn with_values(self, values: BrokerConfig) -> Self {
        Self { values, ..self }
    }

    /// The data directory.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Host (empty for all addresses) and port of the HTTP listener, if there is one.
    pub fn http(&self) -> Option<(&str, u16)> {
        self.http.as_ref().map(|(host, port)| (host.as_str(), *port))
    }

    /// `ottla.grpc.listener`: host (empty for all addresses) and port for other brokers, if there are any.
    pub fn grpc(&self) -> Option<(&str, u16)> {
        let set = self.grpc.as_ref().map(|(host, port)| (host.as_str(), *port));
        set.or_else(|| self.kubernetes().map(|_| ("", GRPC_PORT)))
    }

    /// `ottla.grpc.advertised`
    pub fn grpc_advertised(&self) -> Option<(&str, u16)> {
        self.grpc_advertised.as_ref().map(|(host, port)| (host.as_str(), *port))
    }

    /// `ottla.grpc.tls.directory`: where the certificate for other brokers lies, if there is one.
    pub fn grpc_tls_directory(&self) -> Option<&Path> {
        self.values.text(&broker::OTTLA_GRPC_TLS_DIRECTORY).filter(|text| !text.is_empty()).map(Path::new)
    }

    /// `replica.lag.time.max.ms` and what else replicas are judged by.
    pub fn replica_settings(&self) -> Settings {
        let ms = self.values.long(&broker::REPLICA_LAG_TIME_MAX_MS).and_then(|ms| u64::try_from(ms).ok());
        let defaults = Settings::default();
        Settings { lag_max: ms.map_or(defaults.lag_max, Duration::from_millis), ..defaults }
    }

    /// `controlled.shutdown.enable`
    pub fn controlled_shutdown(&self) -> bool {
        self.values.boolean(&broker::CONTROLLED_SHUTDOWN_ENABLE)
    }

    /// `ottla.kubernetes.cluster`: where in Kubernetes the metadata lies, if it lies there.
    pub fn kubernetes(&self) -> Option<Access> {
        let text = |key| self.values.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Some(Access {
            cluster: text(&broker::OTTLA_KUBERNETES_CLUSTER)?,
            namespace: text(&broker::OTTLA_KUBERNETES_NAMESPACE),
            kubeconfig: text(&broker::OTTLA_KUBERNETES_KUBECONFIG).map(PathBuf::from),
        })
    }

    /// `broker.rack`
    pub fn rack(&self) -> Option<&str> {
        self.values.text(&broker::BROKER_RACK).filter(|rack| !rack.is_empty())
    }

    /// `auto.create.topics.enable`
    pub fn auto_create_topics(&self) -> bool {
        self.values.boolean(&broker::AUTO_CREATE_TOPICS_ENABLE)
    }

    /// `socket.request.max.bytes`
    pub fn request_bytes_max(&self) -> usize {
        usize::try_from(self.values.int(&broker::SOCKET_REQUEST_MAX_BYTES)).unwrap_or(0)
    }

    /// `connections.max.idle.ms`; about a century where it says never.
    pub fn idle_max(&self) -> Duration {
        let never = Duration::from_secs(100 * 365 * 24 * 3600);
        let ms = self.values.long(&broker::CONNECTIONS_MAX_IDLE_MS).and_then(|ms| u64::try_from(ms).ok());
        ms.map_or(never, |ms| Duration::from_millis(ms).min(never))
    }

    /// `max.incremental.fetch.session.cache.slots`
    pub fn fetch_sessions_max(&self) -> usize {
        usize::try_from(self.values.int(&broker::MAX_INCREMENTAL_FETCH_SESSION_CACHE_SLOTS)).unwrap_or(0)
    }

    /// `fetch.max.bytes`
    pub fn fetch_bytes_max(&self) -> usize {
        usize::try_from(self.values.int(&broker::FETCH_MAX_BYTES)).unwrap_or(0)
    }

    /// Whether `replica.selector.class` sends consumers to a replica of their own rack.
    pub fn reads_by_rack(&self) -> bool {
        self.values.text(&broker::REPLICA_SELECTOR_CLASS).is_some_and(|class| class.trim() == RACK_AWARE)
    }

    /// `log.retention.check.interval.ms`
    pub fn retention_check_interval(&self) -> Duration {
        let ms = self.values.long(&broker::LOG_RETENTION_CHECK_INTERVAL_MS).and_then(|ms| u64::try_from(ms).ok());
        Duration::from_millis(ms.unwrap_or(300_000))
    }
}

/// The one selector of replicas that is understood, by the name of Kafka's class.
const RACK_AWARE: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

fn data_directory(values: &BrokerConfig) -> Result<PathBuf, ConfigError> {
    let several = values.text(&broker::LOG_DIRS).filter(|dirs| !dirs.trim().is_empty());
    let text = several.or_else(|| values.text(&broker::LOG_DIR)).unwrap_or_default();
    let dirs: Vec<&str> = text.split(',').map(str::trim).filter(|dir| !dir.is_empty()).collect();
    match dirs.as_slice() {
        [one] => Ok(PathBuf::from(one)),
        several => Err(ConfigError::SeveralDirectories(several.len())),
    }
}

/// Where brokers that are pods listen for each other.
const GRPC_PORT: u16 = 9090;

fn grpc_address(
    key: &'static ottla_core::config::Key,
    values: &BrokerConfig,
) -> Result<Option<(String, u16)>, ConfigError> {
    let Some(text) = values.text(key).filter(|text| !text.is_empty()) else { return Ok(None) };
    http_address(text).map_err(|_| ConfigError::Grpc { key: key.name, text: text.to_owned() })
}

fn http_address(text: &str) -> Result<Option<(String, u16)>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || ConfigError::Http(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let port = port.parse().map_err(|_| invalid())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(Some((host.to_owned(), port)))
}
