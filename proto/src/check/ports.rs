//! Whether a server's firewall opens what Janus needs, whatever tool tells which ports are open.

/// Where browsers and kiosks come in when a reverse proxy stands before Janus.
const HTTPS: u16 = 443;

/// First and last port.
pub type Range = (u16, u16);

/// What of the needed ports is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Needed {
    /// All.
    Open,
    /// The port of signalling is shut and 443 is open: right where a reverse proxy on the server takes connections.
    BehindProxy,
    /// These are shut, or not all of them are open.
    Shut(Vec<Range>),
}

/// `443`, or a range as `40000-40099` (nftables) or `40000:40099` (ufw).
#[must_use]
pub fn range(text: &str) -> Option<Range> {
    let (first, last) = text.split_once(['-', ':']).unwrap_or((text, text));
    let range: Range = first.trim().parse().ok().zip(last.trim().parse().ok())?;
    (range.0 <= range.1).then_some(range)
}

/// Ranges in order, those that touch or overlap as one.
fn joined(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut joined: Vec<Range> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// Compares what is open with the port of signalling and the range of media.
#[must_use]
pub fn needed(opened: Vec<Range>, signalling: u16, media: Range) -> Needed {
    let opened = joined(opened);
    let open = |(first, last): &Range| opened.iter().any(|(from, to)| from <= first && last <= to);
    let signalling = (signalling, signalling);
    match (open(&signalling), open(&media)) {
        (true, true) => Needed::Open,
        (true, false) => Needed::Shut(vec![media]),
        (false, true) if open(&(HTTPS, HTTPS)) => Needed::BehindProxy,
        (false, true) => Needed::Shut(vec![signalling]),
        (false, false) => Needed::Shut(vec![signalling, media]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: Range = (40000, 40099);

    fn judged(opened: &[&str]) -> Needed {
        needed(opened.iter().filter_map(|text| range(text)).collect(), 8989, MEDIA)
    }

    #[test]
    fn neighbours_are_one_range_and_a_gap_is_none() {
        assert_eq!(judged(&["8989", "40050-40099", "40000:40049"]), Needed::Open);
        assert_eq!(judged(&["8989", "40000-40060", "40050-40099"]), Needed::Open);
        assert_eq!(judged(&["8000-41000"]), Needed::Open);
        assert_eq!(judged(&["8989", "40000-40049", "40051-40099"]), Needed::Shut(vec![MEDIA]));
        assert_eq!(judged(&["8989", "40000-40009"]), Needed::Shut(vec![MEDIA]));
        assert_eq!(judged(&["8989", "1-65535"]), Needed::Open);
    }

    #[test]
    fn signalling_may_come_in_by_443_and_by_nothing_else() {
        assert_eq!(judged(&["443", "40000-40099"]), Needed::BehindProxy);
        assert_eq!(judged(&["80", "40000-40099"]), Needed::Shut(vec![(8989, 8989)]));
        assert_eq!(judged(&["443"]), Needed::Shut(vec![(8989, 8989), MEDIA]));
        assert_eq!(needed(vec![(443, 443), MEDIA], 443, MEDIA), Needed::Open);
    }

    #[test]
    fn what_is_no_range_opens_nothing() {
        for text in ["", "ssh", "70000", "40099-40000", "1-2-3", "-"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
