//! Answers that name brokers, with the addresses that a client on this machine can reach.
//!
//! Owns which answers name them, and where. An answer that names none stays as it came, byte by byte; of one that does, only
//! addresses change. Pure: where a broker is reached is asked of the caller. Addresses that no client connects to are left alone:
//! DescribeQuorum's listeners of voters, hosts of clients in descriptions of groups, endpoints of Streams applications.

use bytes::Bytes;
use ottla_wire::header::ResponseHeader;
use ottla_wire::messages::{
    DescribeClusterResponse, FetchResponse, FindCoordinatorResponse, MetadataResponse, ProduceResponse,
    ShareAcknowledgeResponse, ShareFetchResponse,
};
use ottla_wire::{ApiKey, DecodeError, EncodeError, Message, Reader, frame};

/// Where clients on this machine reach everything.
pub(super) const LOCAL: &str = "127.0.0.1";

/// The local port of a broker, if it can have one.
pub(super) type Local<'a> = &'a mut dyn FnMut(i32) -> Option<u16>;

/// Why an answer could not be rewritten.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the answer to {api} {version} cannot be read: {error}")]
    Garbled { api: ApiKey, version: i16, error: DecodeError },
    #[error("the answer to {api} {version} cannot be written: {error}")]
    Unwritable { api: ApiKey, version: i16, error: EncodeError },
    #[error("this kubectl-ottla does not know version {version} of {api}: a newer one does")]
    TooNew { api: ApiKey, version: i16 },
}

/// What was rewritten, in pieces that begin with the length; `None`: it stays as it came.
type Rewritten = Result<Option<Vec<Bytes>>, Unreadable>;

/// An API whose answers name brokers.
struct Row {
    api: ApiKey,
    /// The first version that does.
    from: i16,
    /// They only hint: a client that cannot follow asks for metadata.
    is_hint: bool,
    change: fn(&Answer<'_>, Local<'_>) -> Rewritten,
}

const fn row<M: NamesBrokers>(api: ApiKey, from: i16, is_hint: bool) -> Row {
    Row { api, from, is_hint, change: change::<M> }
}

/// All of them. What KIP-951 added says who leads now, and where.
const ROWS: [Row; 7] = [
    row::<MetadataResponse>(ApiKey::Metadata, 0, false),
    row::<FindCoordinatorResponse>(ApiKey::FindCoordinator, 0, false),
    row::<DescribeClusterResponse>(ApiKey::DescribeCluster, 0, false),
    row::<ProduceResponse>(ApiKey::Produce, 10, true),
    row::<FetchResponse>(ApiKey::Fetch, 16, true),
    row::<ShareFetchResponse>(ApiKey::ShareFetch, 0, true),
    row::<ShareAcknowledgeResponse>(ApiKey::ShareAcknowledge, 0, true),
];

fn row_of(api: ApiKey) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.api == api)
}

/// Whether answers to this API, in this version, can name brokers.
pub(super) fn names_brokers(api: i16, version: i16) -> Option<ApiKey> {
    let row = row_of(ApiKey::from_code(api)?)?;
    (version >= row.from).then_some(row.api)
}

/// Whether a client does without what this answer says of brokers.
pub(super) fn is_hint(api: ApiKey) -> bool {
    row_of(api).is_some_and(|row| row.is_hint)
}

/// The answer, a frame without its length, as the client is to have it.
pub(super) fn rewrite(api: ApiKey, version: i16, answer: &Bytes, local: Local<'_>) -> Rewritten {
    let Some(row) = row_of(api) else { return Ok(None) };
    if !api.known_versions().contains(&version) {
        return Err(Unreadable::TooNew { api, version });
    }
    (row.change)(&Answer { api, version, frame: answer }, local)
}

struct Answer<'a> {
    api: ApiKey,
    version: i16,
    frame: &'a Bytes,
}

fn change<M: NamesBrokers>(answer: &Answer<'_>, local: Local<'_>) -> Rewritten {
    let Answer { api, version, frame } = *answer;
    let read = || {
        let mut reader = Reader::new(frame.clone());
        let header = ResponseHeader::decode(&mut reader, api, version)?;
        let message = M::decode(&mut reader, version)?;
        reader.finish()?;
        Ok((header, message))
    };
    let (header, mut message) = read().map_err(|error| Unreadable::Garbled { api, version, error })?;
    let mut any = false;
    for address in message.addresses() {
        // Nobody is at −1, and a broker that is away has no address.
        if address.broker < 0 || address.host.is_empty() {
            continue;
        }
        if let Some(port) = local(address.broker) {
            LOCAL.clone_into(address.host);
            *address.port = i32::from(port);
            any = true;
        }
    }
    if !any {
        return Ok(None);
    }
    let pieces = frame::response_frame(&message, api, version, header.correlation_id);
    pieces.map(Some).map_err(|error| Unreadable::Unwritable { api, version, error })
}

/// An address that stands in an answer.
struct Address<'a> {
    broker: i32,
    host: &'a mut String,
    port: &'a mut i32,
}

/// An answer in which brokers are named.
trait NamesBrokers: Message {
    /// Every address in it.
    fn addresses(&mut self) -> Vec<Address<'_>>;
}

/// Those of a list whose elements have an id of this name.
macro_rules! addresses {
    ($list:expr, $id:ident) => {
        $list.iter_mut().map(|one| Address { broker: one.$id, host: &mut one.host, port: &mut one.port }).collect()
    };
}

impl NamesBrokers for MetadataResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        addresses!(self.brokers, node_id)
    }
}

impl NamesBrokers for DescribeClusterResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        addresses!(self.brokers, broker_id)
    }
}

impl NamesBrokers for FindCoordinatorResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        let mut all: Vec<Address<'_>> = addresses!(self.coordinators, node_id);
        // Before version 4 there is one, and it stands alone.
        all.push(Address { broker: self.node_id, host: &mut self.host, port: &mut self.port });
        all
    }
}

impl NamesBrokers for ProduceResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        addresses!(self.node_endpoints, node_id)
    }
}

impl NamesBrokers for FetchResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        addresses!(self.node_endpoints, node_id)
    }
}

impl NamesBrokers for ShareFetchResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        addresses!(self.node_endpoints, node_id)
    }
}

impl NamesBrokers for ShareAcknowledgeResponse {
    fn addresses(&mut self) -> Vec<Address<'_>> {
        addresses!(self.node_endpoints, node_id)
    }
}

#[cfg(test)]
mod tests;
