//! The headers in front of every request and response.
//!
//! Owns which header version goes with which API and version. A request header carries the API's number as it came, so
//! that a broker can say which number it does not know.

use crate::{ApiKey, DecodeError, EncodeError, Reader, Writer};

/// In front of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// The number of the API; it may be one that does not exist.
    pub api_key: i16,
    /// The version of the API.
    pub api_version: i16,
    /// What the response repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads the header whose version the API and its version tell. An API that no client can call is an error; a version
    /// that does not exist is not, because a broker answers that of ApiVersions: its header is read as the nearest one.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let api_key = r.i16()?;
        let api_version = r.i16()?;
        let correlation_id = r.i32()?;
        let api = ApiKey::try_from(api_key)?;
        // The client id keeps its old form in the flexible header, so that every broker can read as far as that.
        let client_id = r.string_or_null(false)?;
        if api.request_header_version(api_version) >= 2 {
            r.skip_tags()?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Writes the header in the version that the API and its version tell.
    pub fn encode(&self, w: &mut Writer) -> Result<(), EncodeError> {
        w.i16(self.api_key);
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        w.string_or_null(false, true, "RequestHeader.client_id", self.client_id.as_deref())?;
        if ApiKey::from_code(self.api_key).is_some_and(|api| api.request_header_version(self.api_version) >= 2) {
            w.uvarint(0);
        }
        Ok(())
    }
}

/// In front of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to this version of the API.
    pub fn decode(r: &mut Reader, api: ApiKey, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = r.i32()?;
        if api.response_header_version(version) >= 1 {
            r.skip_tags()?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header of a response to this version of the API.
    pub fn encode(self, w: &mut Writer, api: ApiKey, version: i16) {
        w.i32(self.correlation_id);
        if api.response_header_version(version) >= 1 {
            w.uvarint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_request_header_is_read_as_written_in_both_forms() {
        for (api, version, length) in [(ApiKey::Metadata, 8, 15), (ApiKey::Metadata, 9, 16)] {
            let header = RequestHeader {
                api_key: api.code(),
                api_version: version,
                correlation_id: 7,
                client_id: Some("kcat!".to_owned()),
            };
            let mut w = Writer::new();
            header.encode(&mut w).unwrap();
            assert_eq!(w.len(), length);
            let mut r = Reader::new(w.into_bytes());
            assert_eq!(RequestHeader::decode(&mut r).unwrap(), header);
            r.finish().unwrap();
        }
    }

    #[test]
    fn the_response_header_of_api_versions_never_has_tags() {
        for (api, version, length) in
            [(ApiKey::ApiVersions, 3, 4), (ApiKey::ApiVersions, 0, 4), (ApiKey::Fetch, 12, 5), (ApiKey::Fetch, 11, 4)]
        {
            let mut w = Writer::new();
            ResponseHeader { correlation_id: 1 }.encode(&mut w, api, version);
            assert_eq!(w.len(), length, "{api} {version}");
            let mut r = Reader::new(w.into_bytes());
            assert_eq!(ResponseHeader::decode(&mut r, api, version).unwrap().correlation_id, 1);
        }
    }

    #[test]
    fn an_unknown_api_is_named() {
        let bytes = Bytes::from_static(&[0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff]);
        assert_eq!(RequestHeader::decode(&mut Reader::new(bytes)), Err(DecodeError::UnknownApi { key: 0x7f00 }));
    }
}
