//! What brokers and the controller say to each other, and the gRPC service that carries it.
//!
//! Owns the messages over the types of `ottla-core`, their encoding, and the glue to tonic. One stream per broker, opened
//! by the broker: signs of life, requests and their answers, and metadata in the order in which they were sent. Nothing
//! is kept, repeated or acknowledged here; a stream that breaks has lost what was under way.

mod admin;
mod answer;
pub mod client;
mod codec;
mod convert;
mod error;
mod refusal;
mod request;
pub mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla_core::controller::{Answer, Presentation, Request};
use ottla_core::types::{BrokerId, ControllerEpoch, Incarnation, Lsn};

use crate::proto::ottla::controller::v1 as pb;

use codec::Message;

pub use client::Client;
pub use error::{DecodeError, EncodeError, StreamError};
pub use server::{DownStream, Service, UpStream, service};

/// The version of this protocol that a hello names; N is understood with N and N−1.
pub const VERSION: u32 = 1;

/// The largest message of a broker, and of the controller when it holds no documents. A registration with 100,000 suspect
/// partitions has about 2.3 MiB; whoever changes more in-sync sets than fit does so in several requests.
pub const UP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The largest message with documents: all of a large cluster at once.
pub const DOWN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a broker sends to the process that it takes for the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Up {
    /// First on a stream: who this is.
    Hello {
        /// The version of the protocol that the sender speaks.
        version: u32,
        /// Who it is, what it stands on, which metadata it has seen.
        presentation: Presentation,
        /// The admitted run, if there is one already.
        run: Option<Incarnation>,
    },
    /// A sign of life.
    Beat {
        /// Counts them on this stream; given back by [`Down::Beat`].
        sequence: u64,
        /// The run.
        run: Incarnation,
        /// How far it has taken metadata in.
        view: u64,
        /// It is about to stop, and should lead nothing.
        draining: bool,
        /// How far its journal is on disk.
        synced: Lsn,
    },
    /// Sent at once for a [`Down::Beat`]: whoever has followed until that came followed when it left (R13).
    Echo {
        /// Which beat.
        sequence: u64,
    },
    /// A request; answered by [`Down::Answer`] with the same id.
    Ask {
        /// Numbers it on this stream.
        id: u64,
        /// What is asked.
        request: Request,
    },
    /// It stops, in good order.
    Leaving {
        /// The run that ends.
        run: Incarnation,
    },
}

/// What a broker receives from the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// The receiver of the stream does not decide.
    NotController {
        /// Who does, as far as it knows.
        leader: Option<BrokerId>,
    },
    /// Metadata documents that changed.
    Documents {
        /// The controller's term.
        epoch: ControllerEpoch,
        /// Numbers what the controller has published, within its term.
        view: u64,
        /// With these, the receiver has every document.
        complete: bool,
        /// As [`crate::encode`] gives them; not looked into here.
        documents: Vec<Bytes>,
    },
    /// The answer to [`Up::Beat`].
    Beat {
        /// Which beat.
        sequence: u64,
        /// The controller's term.
        epoch: ControllerEpoch,
        /// What it has published.
        view: u64,
        /// How long ago it heard each broker; whole microseconds cross the network.
        ages: BTreeMap<BrokerId, Duration>,
        /// How long before the beat left more than half of the registered brokers, the two ends of the stream included, are
        /// known to have followed: nobody else decided then. `None` if it does not decide, or never knew it of so many.
        /// Whole microseconds cross the network.
        most_heard: Option<Duration>,
    },
    /// The answer to [`Up::Ask`].
    Answer {
        /// Which request.
        id: u64,
        /// What is answered.
        answer: Answer,
    },
}

/// What a broker tells all others when it no longer hears the controller, and when it hears it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Who says so.
    pub broker: BrokerId,
    /// The term of the controller that is meant.
    pub epoch: ControllerEpoch,
    /// How long ago each broker was heard, as the controller had last told; whole microseconds cross the network.
    pub ages: BTreeMap<BrokerId, Duration>,
    /// It is heard again: what was said before no longer counts.
    pub heard_again: bool,
}

/// The bytes of one message, without gRPC's prefix; what streams are made of.
macro_rules! bytes {
    ($($message:ident)*) => {$(
        impl $message {
            /// As it crosses the network.
            ///
            /// # Errors
            /// [`EncodeError`] when this service does not carry it.
            pub fn encode(&self) -> Result<Bytes, EncodeError> {
                let mut out = BytesMut::new();
                self.put(&mut out)?;
                Ok(out.freeze())
            }

            /// Out of what crossed the network.
            ///
            /// # Errors
            /// [`DecodeError`] when it is none.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                Self::take(bytes)
            }
        }
    )*};
}

bytes! { Up Down Silent }
