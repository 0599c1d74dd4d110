//! One change of the outbox, as it stands in its file: a mark, the length, a check, the change.

use crate::fleet::digest::Digest;
use crate::fleet::event::Class;

/// What every record begins with: from here, reading goes on behind damage.
const MARK: [u8; 4] = *b"BKO1";
const CHECK: usize = 8;
const HEADER: usize = MARK.len() + 4 + CHECK;
/// The largest body, bytes: an event is far smaller.
const MAX_BODY: usize = 64 * 1024;

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// An event waits.
    Append { sequence: u64, class: Class, payload: &'a [u8] },
    /// It was acknowledged, or dropped.
    Done { sequence: u64 },
    /// The next event has this number.
    Next { sequence: u64 },
    /// So many of a class were dropped and not told.
    Dropped { class: Class, count: u64 },
}

impl<'a> Record<'a> {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let (kind, number, class, payload) = match self {
            Self::Append { sequence, class, payload } => (1, sequence, Some(class), payload),
            Self::Done { sequence } => (2, sequence, None, &[][..]),
            Self::Next { sequence } => (3, sequence, None, &[][..]),
            Self::Dropped { class, count } => (4, count, Some(class), &[][..]),
        };
        let class = class.and_then(|class| Class::ALL.iter().position(|known| *known == class));
        let mut body = vec![kind, class.and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)];
        body.extend_from_slice(&number.to_le_bytes());
        body.extend_from_slice(payload);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&length);
        out.extend_from_slice(&check(length, &body));
        out.extend_from_slice(&body);
    }

    fn parse(body: &'a [u8]) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        let (class, rest) = rest.split_first()?;
        let (number, payload) = rest.split_first_chunk::<8>()?;
        let (number, class) = (u64::from_le_bytes(*number), Class::ALL.get(usize::from(*class)).copied());
        match (kind, class, payload.is_empty()) {
            (1, Some(class), false) => Some(Self::Append { sequence: number, class, payload }),
            (2, None, true) => Some(Self::Done { sequence: number }),
            (3, None, true) => Some(Self::Next { sequence: number }),
            (4, Some(class), true) => Some(Self::Dropped { class, count: number }),
            _ => None,
        }
    }
}

fn check(length: [u8; 4], body: &[u8]) -> [u8; CHECK] {
    let digest = Digest::of(&[&length[..], body].concat());
    let mut check = [0; CHECK];
    check.copy_from_slice(&digest.as_bytes()[..CHECK]);
    check
}

/// The record at the beginning, and how long it is.
fn first(file: &[u8]) -> Option<(Record<'_>, usize)> {
    let rest = file.strip_prefix(&MARK)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (expected, rest) = rest.split_first_chunk::<CHECK>()?;
    let bytes = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|bytes| *bytes <= MAX_BODY)?;
    let body = rest.get(..bytes)?;
    let record = (check(*length, body) == *expected).then(|| Record::parse(body))??;
    Some((record, HEADER + bytes))
}

/// Gives every whole record to `each`, in order; how many bytes belong to none.
pub(super) fn read<'a>(file: &'a [u8], mut each: impl FnMut(Record<'a>)) -> usize {
    let (mut at, mut damaged) = (0, 0);
    while at < file.len() {
        match first(&file[at..]) {
            Some((record, length)) => {
                each(record);
                at += length;
            }
            None => {
                // On to where a record may begin.
                let next = file[at + 1..].windows(MARK.len()).position(|window| window == MARK);
                let skipped = next.map_or(file.len() - at, |next| next + 1);
                damaged += skipped;
                at += skipped;
            }
        }
    }
    damaged
}
