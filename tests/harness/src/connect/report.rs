//! What the benchmark says, as tables.

use super::run::{Trouble, WayFigures};
use std::fmt::{self, Write as _};

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let became = if self.came_up { "came up" } else { "did not come up" };
        write!(out, "call {} {became}; {}: {}", self.call, self.phase, self.reason)
    }
}

/// All of it. `machine` says where it was measured.
pub fn markdown(ways: &[WayFigures], machine: &str) -> String {
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let mut text = format!(
        "Measured on {machine}, {build}. Janus, the relay, the proxy and the kiosk share the machine.\n\n\
         | way | calls | up at once | up, with trouble | not up | until `webrtcup`: median | p95 | longest | room joined: median | a whole call: median | UDP packets |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for figures in ways {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {:.0} ms | {:.0} ms | {} ms | {:.0} ms | {:.0} ms | {} |",
            figures.way.name(),
            figures.calls,
            figures.up_at_once,
            figures.calls - figures.up_at_once - figures.not_up,
            figures.not_up,
            figures.webrtcup_ms.median,
            figures.webrtcup_ms.p95,
            figures.webrtcup_longest_ms,
            figures.joined_ms.median,
            figures.cycle_ms,
            figures.udp_packets
        );
    }
    let troubles: Vec<String> = ways
        .iter()
        .flat_map(|figures| figures.troubles.iter().map(|trouble| format!("- {}: {trouble}\n", figures.way.name())))
        .collect();
    let _ = writeln!(
        text,
        "\n{}",
        if troubles.is_empty() { "No call had any trouble.\n".into() } else { troubles.concat() }
    );
    text += "| way | in a call, the daemon says | relay or proxy, processor for a set-up | in a call | daemon in a call | sent | the self-check's delay there and back | its throughput |\n\
             |---|---|---|---|---|---|---|---|\n";
    for figures in ways {
        let (held, seen) = (&figures.held, |id: &str| figures.trial.get(id).map_or("none", String::as_str));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {:.2} cores | {:.2} Mb/s | {} | {} |",
            figures.way.name(),
            held.via.as_ref().map_or("the server itself".to_owned(), |via| format!("by way of {via}")),
            figures.between_ms_per_call.map_or("-".into(), |ms| format!("{ms:.1} ms")),
            held.between_cores.map_or("-".into(), |cores| format!("{cores:.3} cores")),
            held.daemon_cores,
            held.bits_per_second / 1e6,
            seen("call.delay"),
            seen("call.throughput")
        );
    }
    text
}
