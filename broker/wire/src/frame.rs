//! Frames: an int32 length, then that many bytes.
//!
//! Owns the length prefix and whole frames made of a header and a message. Reads no socket; a reader hands in the four
//! bytes and asks how many to read next.

use bytes::Bytes;

use crate::header::{RequestHeader, ResponseHeader};
use crate::{ApiKey, DecodeError, EncodeError, Message, Reader, Request, Writer};

/// How many bytes the length takes.
pub const LENGTH_BYTES: usize = 4;

/// A frame that nobody may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {length} bytes; at most {max} are read")]
pub struct BadFrameLength {
    /// The length that it claims.
    pub length: i32,
    /// The largest that is read.
    pub max: usize,
}

/// How many bytes follow the prefix.
pub fn frame_length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, BadFrameLength> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(length),
        Ok(_) | Err(_) => Err(BadFrameLength { length, max }),
    }
}

/// Puts the length in front of what `write` writes. The first piece holds the length and all bytes before the first
/// shared one.
pub fn framed(
    mut w: Writer,
    write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>,
) -> Result<Vec<Bytes>, EncodeError> {
    let start = w.reserve_length();
    write(&mut w)?;
    w.fill_length(start)?;
    Ok(w.into_chunks())
}

/// A request with its header and length, in one piece.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Bytes, EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.code(),
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    let chunks = framed(Writer::with_capacity(256), |w| {
        header.encode(w)?;
        request.encode(w, version)
    })?;
    Ok(one_piece(chunks))
}

/// A response with its header and length, in pieces that share long byte strings.
pub fn response_frame<M: Message>(
    response: &M,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Vec<Bytes>, EncodeError> {
    framed(Writer::sharing(256), |w| {
        ResponseHeader { correlation_id }.encode(w, api, version);
        response.encode(w, version)
    })
}

/// Reads a response frame without its length: which request it answers, and the message.
pub fn read_response<R: Request>(frame: Bytes, version: i16) -> Result<(i32, R::Response), DecodeError> {
    let mut r = Reader::new(frame);
    let header = ResponseHeader::decode(&mut r, R::KEY, version)?;
    let response = R::Response::decode(&mut r, version)?;
    r.finish()?;
    Ok((header.correlation_id, response))
}

fn one_piece(mut chunks: Vec<Bytes>) -> Bytes {
    match chunks.len() {
        1 => chunks.remove(0),
        _ => chunks.concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{ApiVersionsRequest, ApiVersionsResponse};

    #[test]
    fn lengths_that_nobody_may_send_are_refused() {
        assert_eq!(frame_length([0, 0, 1, 0], 256), Ok(256));
        assert_eq!(frame_length([0, 0, 1, 1], 256), Err(BadFrameLength { length: 257, max: 256 }));
        assert_eq!(frame_length([0xff; 4], 256), Err(BadFrameLength { length: -1, max: 256 }));
    }

    #[test]
    fn a_request_frame_is_what_a_client_sends() {
        let request = ApiVersionsRequest {
            client_software_name: "a".to_owned(),
            client_software_version: "1".to_owned(),
            ..ApiVersionsRequest::default()
        };
        let frame = request_frame(&request, 3, 1, Some("x")).unwrap();
        let expected = [
            0, 0, 0, 17, 0, 18, 0, 3, 0, 0, 0, 1, 0, 1, b'x', 0, // length, header
            2, b'a', 2, b'1', 0,
        ];
        assert_eq!(frame[..], expected);
    }

    #[test]
    fn a_response_frame_is_read_as_written() {
        let response = ApiVersionsResponse { error_code: 35, ..ApiVersionsResponse::default() };
        let frame = response_frame(&response, ApiKey::ApiVersions, 4, 9).unwrap().concat();
        let length = frame_length(*frame.first_chunk().unwrap(), 1000).unwrap();
        assert_eq!(length, frame.len() - LENGTH_BYTES);
        let body = Bytes::from(frame).slice(LENGTH_BYTES..);
        assert_eq!(read_response::<ApiVersionsRequest>(body, 4).unwrap(), (9, response));
    }
}
