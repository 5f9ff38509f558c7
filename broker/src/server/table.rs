//! Every API that this broker serves: versions, what it needs to be allowed, and its handler.
//!
//! Owns the list. What stands here is advertised by ApiVersions; what does not is unknown to clients. Must never list
//! a version that its handler does not serve whole.

use ottla_wire::fetch::FetchRequest;
use ottla_wire::produce::ProduceRequest;
use ottla_wire::{ApiKey, DecodeError, Message, Reader, messages};

use super::dispatch::Cx;
use super::reply::Reply;
use crate::handlers;

/// What is done to a resource, in Kafka's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Nothing that needs permission.
    Open,
    /// Read records or offsets.
    Read,
    /// Write records.
    Write,
    /// Create topics.
    Create,
    /// Delete topics, records or groups.
    Delete,
    /// Change partitions, or what brokers do.
    Alter,
    /// See that something exists and what state it is in.
    Describe,
    /// See configuration.
    DescribeConfigs,
    /// Change configuration.
    AlterConfigs,
    /// Write with an idempotent producer.
    IdempotentWrite,
}

/// What an operation is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The cluster as a whole.
    Cluster,
    /// A topic by name.
    Topic,
    /// A consumer group by id.
    Group,
}

/// One permission that a request needs, on each resource that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is done.
    pub operation: Operation,
    /// To what.
    pub resource: Resource,
}

/// One API.
pub struct Row {
    /// Which.
    pub key: ApiKey,
    /// First version served.
    pub min: i16,
    /// Last version served.
    pub max: i16,
    /// What must be allowed. Everything is, until there are principals to tell apart; the rows stand so that none is
    /// forgotten then.
    pub needs: &'static [Need],
    /// Decodes the body and runs the ordered stage.
    pub serve: fn(Cx, Reader) -> Result<Reply, DecodeError>,
}

const fn need(operation: Operation, resource: Resource) -> Need {
    Need { operation, resource }
}

macro_rules! row {
    ($key:ident, $min:literal..=$max:literal, $request:ty, $handler:path, [$($operation:ident $resource:ident),*]) => {
        Row {
            key: ApiKey::$key,
            min: $min,
            max: $max,
            needs: &[$(need(Operation::$operation, Resource::$resource)),*],
            serve: |cx, mut body| {
                let request = <$request>::decode(&mut body, cx.version)?;
                Ok(Reply {
                    pending: Box::pin(async move {
                        let response = $handler(&cx, request).await;
                        cx.answer(&response).map(Some)
                    }),
                    pipelined: false,
                })
            },
        }
    };
}

/// The table, ordered by key.
pub static TABLE: &[Row] = &[
    Row {
        key: ApiKey::Produce,
        // Versions 0 to 2 are refused; librdkafka needs to see them (KAFKA-18659).
        min: 0,
        max: 13,
        needs: &[need(Operation::Write, Resource::Topic)],
        serve: |cx, mut body| {
            let request = ProduceRequest::decode(&mut body, cx.version)?;
            Ok(handlers::produce::stage(cx, request))
        },
    },
    Row {
        key: ApiKey::Fetch,
        min: 4,
        max: 18,
        needs: &[need(Operation::Read, Resource::Topic)],
        serve: |cx, mut body| {
            let request = FetchRequest::decode(&mut body, cx.version)?;
            let pending = Box::pin(async move { handlers::fetch::handle(&cx, request).await.map(Some) });
            Ok(Reply { pending, pipelined: false })
        },
    },
    row!(ListOffsets, 1..=11, messages::ListOffsetsRequest, handlers::list_offsets::handle, [Describe Topic]),
    row!(Metadata, 0..=13, messages::MetadataRequest, handlers::metadata::handle, [Describe Topic]),
    row!(
        OffsetCommit,
        2..=10,
        messages::OffsetCommitRequest,
        handlers::offset_commit::handle,
        [Read Group, Read Topic]
    ),
    row!(
        OffsetFetch,
        1..=10,
        messages::OffsetFetchRequest,
        handlers::offset_fetch::handle,
        [Describe Group, Describe Topic]
    ),
    row!(
        FindCoordinator,
        0..=6,
        messages::FindCoordinatorRequest,
        handlers::find_coordinator::handle,
        [Describe Group]
    ),
    row!(JoinGroup, 0..=9, messages::JoinGroupRequest, handlers::join_group::handle, [Read Group]),
    row!(Heartbeat, 0..=4, messages::HeartbeatRequest, handlers::heartbeat::handle, [Read Group]),
    row!(LeaveGroup, 0..=5, messages::LeaveGroupRequest, handlers::leave_group::handle, [Read Group]),
    row!(SyncGroup, 0..=5, messages::SyncGroupRequest, handlers::sync_group::handle, [Read Group]),
    row!(DescribeGroups, 0..=6, messages::DescribeGroupsRequest, handlers::describe_groups::handle, [Describe Group]),
    row!(ListGroups, 0..=5, messages::ListGroupsRequest, handlers::list_groups::handle, [Describe Group]),
    row!(ApiVersions, 0..=5, messages::ApiVersionsRequest, handlers::api_versions::handle, [Open Cluster]),
    row!(CreateTopics, 2..=7, messages::CreateTopicsRequest, handlers::create_topics::handle, [Create Topic]),
    row!(DeleteTopics, 1..=6, messages::DeleteTopicsRequest, handlers::delete_topics::handle, [Delete Topic]),
    row!(DeleteRecords, 0..=2, messages::DeleteRecordsRequest, handlers::delete_records::handle, [Delete Topic]),
    row!(
        InitProducerId,
        0..=5,
        messages::InitProducerIdRequest,
        handlers::init_producer_id::handle,
        [IdempotentWrite Cluster]
    ),
    row!(
        OffsetForLeaderEpoch,
        2..=4,
        messages::OffsetForLeaderEpochRequest,
        handlers::offset_for_leader_epoch::handle,
        [Describe Topic]
    ),
    row!(
        DescribeConfigs,
        1..=4,
        messages::DescribeConfigsRequest,
        handlers::describe_configs::handle,
        [DescribeConfigs Topic, DescribeConfigs Cluster]
    ),
    row!(
        AlterConfigs,
        0..=2,
        messages::AlterConfigsRequest,
        handlers::alter_configs::handle,
        [AlterConfigs Topic, AlterConfigs Cluster]
    ),
    row!(
        DescribeLogDirs,
        1..=5,
        messages::DescribeLogDirsRequest,
        handlers::describe_log_dirs::handle,
        [Describe Cluster]
    ),
    row!(
        CreatePartitions,
        0..=3,
        messages::CreatePartitionsRequest,
        handlers::create_partitions::handle,
        [Alter Topic]
    ),
    row!(DeleteGroups, 0..=3, messages::DeleteGroupsRequest, handlers::delete_groups::handle, [Delete Group]),
    row!(ElectLeaders, 0..=2, messages::ElectLeadersRequest, handlers::elect_leaders::handle, [Alter Cluster]),
    row!(
        IncrementalAlterConfigs,
        0..=1,
        messages::IncrementalAlterConfigsRequest,
        handlers::incremental_alter_configs::handle,
        [AlterConfigs Topic, AlterConfigs Cluster]
    ),
    row!(
        AlterPartitionReassignments,
        0..=1,
        messages::AlterPartitionReassignmentsRequest,
        handlers::alter_partition_reassignments::handle,
        [Alter Cluster]
    ),
    row!(
        ListPartitionReassignments,
        0..=0,
        messages::ListPartitionReassignmentsRequest,
        handlers::list_partition_reassignments::handle,
        [Describe Cluster]
    ),
    row!(
        OffsetDelete,
        0..=0,
        messages::OffsetDeleteRequest,
        handlers::offset_delete::handle,
        [Delete Group, Read Topic]
    ),
    row!(
        DescribeQuorum,
        0..=2,
        messages::DescribeQuorumRequest,
        handlers::describe_quorum::handle,
        [Describe Cluster]
    ),
    row!(
        DescribeCluster,
        0..=2,
        messages::DescribeClusterRequest,
        handlers::describe_cluster::handle,
        [Describe Cluster]
    ),
    row!(
        DescribeProducers,
        0..=0,
        messages::DescribeProducersRequest,
        handlers::describe_producers::handle,
        [Read Topic]
    ),
    row!(
        UnregisterBroker,
        0..=0,
        messages::UnregisterBrokerRequest,
        handlers::unregister_broker::handle,
        [Alter Cluster]
    ),
    row!(
        ListConfigResources,
        0..=1,
        messages::ListConfigResourcesRequest,
        handlers::list_config_resources::handle,
        [DescribeConfigs Cluster]
    ),
    row!(
        DescribeTopicPartitions,
        0..=0,
        messages::DescribeTopicPartitionsRequest,
        handlers::describe_topic_partitions::handle,
        [Describe Topic]
    ),
];

/// The row of API `key` and its index in [`TABLE`].
pub fn find(key: i16) -> Option<(usize, &'static Row)> {
    let index = TABLE.binary_search_by_key(&key, |row| row.key.code()).ok()?;
    Some((index, &TABLE[index]))
}
