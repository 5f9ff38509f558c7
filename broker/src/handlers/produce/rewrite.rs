//! The topics that ask a broker to open a batch: those with a compression of their own, and compacted ones.
//!
//! Owns the two checks that Kafka makes there. Every other topic's batches stay as they came. Must never decompress
//! more than a bound, whatever a batch claims.

use ottla_core::config::{CompressionType, TopicConfig};
use ottla_wire::ErrorCode;
use ottla_wire::record::{BatchBuilder, BatchView, Compression, Record, RecordIter};

use super::Refused;

/// The most that one batch may hold decompressed: a larger one is a decompression bomb, or belongs into several.
const DECOMPRESSED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Returns the batch as the topic wants it.
pub(super) fn where_asked_for(config: &TopicConfig, batch: BatchView) -> Result<BatchView, Refused> {
    let codec = codec(config.compression_type);
    let same = codec.is_none() || batch.header().compression().ok() == codec;
    if same && !config.cleanup_policy.compact {
        return Ok(batch);
    }
    let unreadable = |error: &dyn std::fmt::Display| Refused::new(ErrorCode::INVALID_RECORD, error.to_string());
    let records = RecordIter::new(&batch, DECOMPRESSED_BYTES_MAX).map_err(|error| unreadable(&error))?;
    let mut rebuilt = (!same).then(|| builder(config, codec.unwrap_or(Compression::None), &batch));
    for record in records {
        let record = record.map_err(|error| unreadable(&error))?;
        if config.cleanup_policy.compact && record.key.is_none() {
            return Err(Refused::new(ErrorCode::INVALID_RECORD, "a record without a key in a compacted topic"));
        }
        if let Some(rebuilt) = &mut rebuilt {
            append(rebuilt, &record);
        }
    }
    match rebuilt {
        None => Ok(batch),
        Some(rebuilt) => rebuilt.build_view().map_err(|error| unreadable(&error)),
    }
}

fn codec(compression: CompressionType) -> Option<Compression> {
    match compression {
        CompressionType::Producer => None,
        CompressionType::Uncompressed => Some(Compression::None),
        CompressionType::Gzip => Some(Compression::Gzip),
        CompressionType::Snappy => Some(Compression::Snappy),
        CompressionType::Lz4 => Some(Compression::Lz4),
        CompressionType::Zstd => Some(Compression::Zstd),
    }
}

fn builder(config: &TopicConfig, codec: Compression, batch: &BatchView) -> BatchBuilder {
    let header = batch.header();
    let builder = BatchBuilder::new(codec);
    let builder = match codec {
        Compression::Gzip if config.compression_gzip_level >= 0 => builder.level(config.compression_gzip_level),
        Compression::Zstd => builder.level(config.compression_zstd_level),
        // lz4_flex and snap have one level.
        Compression::Gzip | Compression::None | Compression::Snappy | Compression::Lz4 => builder,
    };
    if header.has_producer() {
        builder.producer(header.producer_id, header.producer_epoch, header.base_sequence)
    } else {
        builder
    }
}

fn append(builder: &mut BatchBuilder, record: &Record) {
    builder.append(record.timestamp, record.key.as_deref(), record.value.as_deref(), &record.headers);
}

#[cfg(test)]
mod tests {
    use ottla_core::config::BrokerConfig;
    use ottla_core::metadata::ExplicitConfig;

    use super::*;

    fn config(pairs: &[(&str, &str)]) -> TopicConfig {
        let explicit: ExplicitConfig =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        TopicConfig::resolve(&explicit, &BrokerConfig::default(), false)
    }

    fn batch(codec: Compression, keys: &[Option<&[u8]>]) -> BatchView {
        let mut builder = BatchBuilder::new(codec).producer(7, 1, 3);
        for key in keys {
            builder.append(1_000, *key, Some(b"value value value value"), &[]);
        }
        builder.build_view().unwrap()
    }

    #[test]
    fn an_ordinary_topic_keeps_the_producers_bytes() {
        let sent = batch(Compression::Gzip, &[None]);
        let kept = where_asked_for(&config(&[]), sent.clone()).ok().unwrap();
        assert_eq!(kept.bytes().as_ptr(), sent.bytes().as_ptr());
    }

    #[test]
    fn a_topic_with_a_codec_stores_in_it() {
        for codec in [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let sent = batch(Compression::Gzip, &[None, Some(b"k")]);
            let name = if codec == Compression::None { "uncompressed" } else { codec.name() };
            let kept = where_asked_for(&config(&[("compression.type", name)]), sent.clone()).ok().unwrap();
            assert_eq!(kept.header().compression(), Ok(codec));
            assert_eq!((kept.header().producer_id, kept.header().base_sequence), (7, 3));
            let read =
                |batch: &BatchView| RecordIter::new(batch, 1 << 20).unwrap().map(Result::unwrap).collect::<Vec<_>>();
            assert_eq!(read(&kept), read(&sent));
        }
    }

    #[test]
    fn a_compacted_topic_refuses_records_without_a_key() {
        let compacted = config(&[("cleanup.policy", "compact")]);
        assert!(where_asked_for(&compacted, batch(Compression::Lz4, &[Some(b"a")])).is_ok());
        let refused = where_asked_for(&compacted, batch(Compression::Lz4, &[Some(b"a"), None])).err().unwrap();
        assert_eq!(refused.error, ErrorCode::INVALID_RECORD);
    }
}
