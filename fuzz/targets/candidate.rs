//! A candidate that Janus trickles: whatever is understood is written as it was understood, and only what may pass does.
#![no_main]

use kiosk_fuzz::policy;
use kiosk_proto::ice::{Candidate, CandidateKind, Direction, TcpType, Transport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &str| {
    let parsed = line.parse::<Candidate>();
    if let Ok(candidate) = &parsed {
        assert_eq!(candidate.to_string().parse().as_ref(), Ok(candidate));
    }
    for direction in [Direction::Incoming, Direction::Outgoing] {
        let Ok(passed) = policy().judge(direction, 1, line) else { continue };
        let candidate = passed.candidate();
        assert_eq!(parsed.as_ref(), Ok(candidate));
        assert_eq!((candidate.transport, candidate.component, passed.mline()), (Transport::Tcp, 1, 1));
        assert!(candidate.ip().is_some());
        match direction {
            Direction::Outgoing => assert_eq!(candidate.tcp_type, Some(TcpType::Active)),
            Direction::Incoming => {
                assert_eq!((candidate.tcp_type, candidate.kind), (Some(TcpType::Passive), CandidateKind::Host));
                assert!((40000..=40099).contains(&candidate.port));
            }
        }
        assert!(!passed.line().contains(['\r', '\n', '\0']));
    }
});
