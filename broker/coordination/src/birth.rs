//! The documents of a new cluster: created once, by whoever is asked to.
//!
//! Owns the difference between a cluster that never was, one whose creation was interrupted, and one that has lost a
//! part. Must never write where a document is, never create the root before the shards, and never make up again what a
//! controller has written.

use ottla_core::controller::{Document, DocumentId, document};
use ottla_core::types::ClusterId;

use crate::{Coordination, Expected, Put, PutError, Unavailable};

/// What [`create`] has found or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// The cluster is new.
    Created(ClusterId),
    /// It was there already, and stays as it is.
    Existed(ClusterId),
}

impl Birth {
    /// The cluster's id.
    pub fn cluster(self) -> ClusterId {
        match self {
            Self::Created(id) | Self::Existed(id) => id,
        }
    }
}

/// Why there is no cluster after it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BirthError {
    /// The store cannot be read.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The cluster of that name is another one.
    #[error("the cluster has id {found}, not {wanted}")]
    Other {
        /// Its id.
        found: ClusterId,
        /// What was expected.
        wanted: ClusterId,
    },
    /// A document that a controller has written, or that cannot be read, and no root.
    #[error("there is a document {0}, written to or unreadable, and no root: the cluster has lost a part")]
    LostPart(String),
    /// A document could not be written; asking again goes on where it stopped.
    #[error("{0}")]
    NotWritten(String),
}

/// The cluster that a root document speaks of.
///
/// # Errors
/// A sentence, when it cannot be read.
pub fn cluster_in(root: &[u8]) -> Result<ClusterId, String> {
    match ottla_rpc::decode(root).map_err(|error| error.to_string())? {
        Document::Root(root) => Ok(root.header.cluster),
        Document::Shard(_) => Err("it holds a shard of topics".to_owned()),
    }
}

/// The cluster whose metadata `coordination` holds, if it holds a whole one.
///
/// # Errors
/// [`Unavailable`] when its root cannot be read.
pub fn cluster_of(coordination: &dyn Coordination) -> Result<Option<ClusterId>, Unavailable> {
    let root = coordination.get(&DocumentId::Root.to_string())?;
    let read = |content: &[u8]| cluster_in(content).map_err(|why| Unavailable(format!("the root document: {why}")));
    root.map(|root| read(&root.content)).transpose()
}

/// Creates the documents of a new cluster: `wanted` its id, or `fresh` if nobody wants a certain one. A cluster that exists
/// is left alone; one that was interrupted half-way is finished, under the id that it was begun with.
///
/// # Errors
/// [`BirthError`]; asking again goes on where it stopped.
pub fn create(
    coordination: &dyn Coordination,
    wanted: Option<ClusterId>,
    fresh: ClusterId,
) -> Result<Birth, BirthError> {
    let other = |found, wanted| Err(BirthError::Other { found, wanted });
    if let Some(found) = cluster_of(coordination)? {
        return wanted
            .filter(|wanted| *wanted != found)
            .map_or(Ok(Birth::Existed(found)), |wanted| other(found, wanted));
    }
    let cluster = match (begun(coordination)?, wanted) {
        (Some(found), Some(wanted)) if found != wanted => return other(found, wanted),
        (Some(known), _) | (None, Some(known)) => known,
        (None, None) => fresh,
    };
    // The root last: while it is missing, nobody takes the rest for a cluster.
    let (root, shards): (Vec<_>, Vec<_>) =
        document::initial(cluster).into_iter().partition(|document| document.id() == DocumentId::Root);
    for documents in [shards, root] {
        create_documents(coordination, &documents).map_err(BirthError::NotWritten)?;
    }
    // Somebody else may have been faster.
    match cluster_of(coordination)? {
        Some(found) if found == cluster => Ok(Birth::Created(found)),
        Some(found) => Ok(Birth::Existed(found)),
        None => Err(BirthError::NotWritten("the root document is not there after it was created".to_owned())),
    }
}

/// The cluster of an attempt that did not come to its root. Documents that a controller has written are of a cluster that
/// has lost its root: nothing is put in their place.
fn begun(coordination: &dyn Coordination) -> Result<Option<ClusterId>, BirthError> {
    let mut cluster = None;
    for found in coordination.list("")? {
        match ottla_rpc::decode(&found.content) {
            Ok(document) if document.header().version == 0 => cluster = Some(document.header().cluster),
            Ok(_) | Err(_) => return Err(BirthError::LostPart(found.name)),
        }
    }
    Ok(cluster)
}

/// Creates each of `documents` that is not there yet.
///
/// # Errors
/// Why one of them may be missing.
pub fn create_documents(coordination: &dyn Coordination, documents: &[Document]) -> Result<(), String> {
    let put = |document: &Document| Put {
        name: document.id().to_string(),
        content: ottla_rpc::encode(document),
        expected: Expected::Absent,
    };
    let results = coordination.put(documents.iter().map(put).collect());
    results.into_iter().try_for_each(|result| match result {
        Ok(_) | Err(PutError::Conflict) => Ok(()),
        Err(PutError::NotDone(reason) | PutError::Unknown(reason)) => Err(reason),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ottla_core::controller::document::Shard;

    use super::*;
    use crate::Embedded;
    use ottla_core::table::MemoryTable;

    fn id(byte: u8) -> ClusterId {
        ClusterId::from_bytes([byte; 16])
    }

    fn store() -> impl Coordination {
        Embedded::new(MemoryTable::default()).unwrap()
    }

    #[test]
    fn a_cluster_is_created_once() {
        let store = store();
        assert_eq!(create(&store, None, id(1)), Ok(Birth::Created(id(1))));
        assert_eq!(create(&store, None, id(2)), Ok(Birth::Existed(id(1))));
        assert_eq!(create(&store, Some(id(1)), id(2)), Ok(Birth::Existed(id(1))));
        assert_eq!(create(&store, Some(id(3)), id(2)), Err(BirthError::Other { found: id(1), wanted: id(3) }));
        assert_eq!(store.list("").unwrap().len(), document::initial(id(1)).len());
    }

    #[test]
    fn what_was_begun_is_finished_under_its_own_id() {
        let store = store();
        create_documents(&store, &document::initial(id(1))[..3]).unwrap();
        assert_eq!(cluster_of(&store), Ok(None), "no root yet");
        assert_eq!(create(&store, None, id(2)), Ok(Birth::Created(id(1))));
    }

    #[test]
    fn a_lost_root_is_not_made_up() {
        let store = store();
        let mut shard = Shard { index: 2, ..Shard::default() };
        shard.header.version = 7;
        create_documents(&store, &[Document::Shard(Arc::new(shard))]).unwrap();
        assert_eq!(create(&store, None, id(2)), Err(BirthError::LostPart("topics-0002".to_owned())));
        assert_eq!(store.list("").unwrap().len(), 1, "nothing is written");
    }

    #[test]
    fn a_root_says_whose_it_is() {
        let of_a_new_cluster = document::initial(id(9));
        let root = of_a_new_cluster.iter().find(|document| document.id() == DocumentId::Root).unwrap();
        assert_eq!(cluster_in(&ottla_rpc::encode(root)), Ok(id(9)));
        assert!(cluster_in(&ottla_rpc::encode(&Document::Shard(Arc::default()))).is_err());
        assert!(cluster_in(b"garbage").is_err());
    }
}
