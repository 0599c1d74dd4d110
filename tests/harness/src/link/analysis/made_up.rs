//! Records that no run made, for the tests.

use crate::link::record::{Capacity, Frame, Line, Run};

pub const S: u64 = 1_000_000;

pub fn run(link: &[(u64, u32)], seconds: u64) -> Run {
    Run {
        scenario: "made-up".into(),
        peer: "kioskd".into(),
        tcp: true,
        begin_us: 0,
        end_us: seconds * S,
        link: link.iter().map(|(at, kbps)| Capacity { at_us: at * S, kbps: *kbps }).collect(),
        crossed: Vec::new(),
        publishers: vec!["kiosk".into()],
        recording: "film".into(),
    }
}

pub fn frame(captured_us: u64, delay_us: u64) -> Line {
    Line::Frame(Frame {
        publisher: "kiosk".into(),
        shown_us: captured_us + delay_us,
        captured_us,
        index: None,
        width: 1280,
        height: 720,
        ssim: Some(0.9),
        psnr: None,
    })
}
