//! RFC 4571 section 2: on a TCP connection, each packet has its length in front, two bytes in network order.

/// The length in front of each packet.
pub const LENGTH_BYTES: usize = 2;
/// The most that one frame can have, its length included.
pub const MAX_FRAME_BYTES: usize = LENGTH_BYTES + u16::MAX as usize;

/// The whole frames at the beginning of what was read. What remains after the last of them is the beginning of one that
/// has not arrived yet; any bytes are frames, so there is no error.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    bytes: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Looks at what was read.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Bytes that are not a whole frame yet: always less than [`MAX_FRAME_BYTES`] once all frames were taken.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> Iterator for Frames<'a> {
    /// One frame with its length in front.
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let length = self.bytes.first_chunk::<LENGTH_BYTES>()?;
        let (frame, rest) = self.bytes.split_at_checked(LENGTH_BYTES + usize::from(u16::from_be_bytes(*length)))?;
        self.bytes = rest;
        Some(frame)
    }
}
