//! Files that must survive a power cut: content behind a line with the format's number and the content's SHA-256.

use super::digest::Digest;

/// What a file begins with; the number is that of the format.
const MAGIC: &str = "branch-kiosk-fleet 1 sha256:";
/// Length of the first line, with its end.
const HEADER: usize = MAGIC.len() + 64 + 1;

/// Why a file is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It has another first line, or none.
    #[error("the file does not begin as one of this version does")]
    NotSealed,
    /// Its content is not what was written.
    #[error("the file is damaged: its content does not fit its checksum")]
    Damaged,
}

/// A file with this content.
#[must_use]
pub fn seal(content: &[u8]) -> Vec<u8> {
    let mut file = format!("{MAGIC}{}\n", Digest::of(content)).into_bytes();
    file.extend_from_slice(content);
    file
}

/// The content of a file, exactly as it was sealed.
///
/// # Errors
/// When a single bit of it is another one, or something is missing at its end.
pub fn unseal(file: &[u8]) -> Result<&[u8], SealError> {
    if !file.starts_with(MAGIC.as_bytes()) || file.get(HEADER - 1) != Some(&b'\n') {
        return Err(SealError::NotSealed);
    }
    let (header, content) = file.split_at(HEADER);
    let digest = &header[MAGIC.len()..HEADER - 1];
    if digest == Digest::of(content).to_string().as_bytes() { Ok(content) } else { Err(SealError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_survives() {
        for content in [&b""[..], b"{}", b"\n\0\xff"] {
            assert_eq!(unseal(&seal(content)), Ok(content));
        }
    }

    #[test]
    fn no_bit_can_flip_and_no_end_can_be_missing_at_any_offset() {
        let file = seal(br#"{"format":1,"layers":[]}"#);
        for length in 0..file.len() {
            assert!(unseal(&file[..length]).is_err(), "the first {length} bytes");
        }
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(&damaged).is_err(), "bit {bit}");
        }
        let longer = [file.as_slice(), b" "].concat();
        assert_eq!(unseal(&longer), Err(SealError::Damaged));
        assert_eq!(unseal(&vec![0; file.len()]), Err(SealError::NotSealed));
    }
}
