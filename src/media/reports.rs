//! When packets arrived, as the server reports it (draft-holmer-rmcat-transport-wide-cc-extensions-01). `rtpsession` reads
//! the reports and tells them upstream as an event for a congestion control.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use kiosk_proto::rate::Arrival;

/// How GStreamer calls the event (gst-plugins-good, `rtpsession`).
const EVENT: &str = "RTPTWCCPackets";
/// The header extension that asks for the reports.
pub const EXTENSION: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// What a packet has on the way and `rtpsession` does not count: header with this extension, SRTP's tag, RFC 4571's length.
const OVERHEAD: u64 = 20 + 10 + 2;
/// Packets that are kept until somebody asks: some seconds of a call.
const KEPT: usize = 2000;

/// What was reported and not taken yet.
#[derive(Debug, Clone, Default)]
pub struct Reports(Arc<Mutex<Vec<Arrival>>>);

impl Reports {
    /// Listens at the RTP session that `webrtcbin` makes when a description is set.
    pub fn listen(webrtc: &gst::Element) -> Self {
        let reports = Self::default();
        let heard = reports.clone();
        webrtc.connect("deep-element-added", false, move |values| {
            let element = values.get(2)?.get::<gst::Element>().ok()?;
            if element.factory().is_some_and(|factory| factory.name() == "rtpsession") {
                let heard = heard.clone();
                element.connect_pad_added(move |_, pad| heard.watch(pad));
            }
            None
        });
        reports
    }

    fn watch(&self, pad: &gst::Pad) {
        if pad.name() != "send_rtp_sink" {
            return;
        }
        let heard = self.clone();
        pad.add_probe(gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
            if let Some(report) =
                info.event().and_then(|event| event.structure()).filter(|report| report.name() == EVENT)
            {
                heard.add(arrivals(report));
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn add(&self, arrivals: impl Iterator<Item = Arrival>) {
        let mut kept = self.kept();
        kept.extend(arrivals);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }

    /// What was reported since this was asked last.
    pub fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.kept())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The packets that a report tells of.
fn arrivals(report: &gst::StructureRef) -> impl Iterator<Item = Arrival> {
    let packets = report.get::<glib::ValueArray>("packets").ok();
    packets.into_iter().flat_map(|packets| packets.iter().filter_map(arrival).collect::<Vec<_>>())
}

fn arrival(value: &glib::Value) -> Option<Arrival> {
    let packet = value.get::<gst::Structure>().ok()?;
    let time = |field| packet.get::<u64>(field).ok().filter(|time| *time != u64::MAX).map(Duration::from_nanos);
    let lost = packet.get::<bool>("lost").ok()?;
    let bytes = u64::from(packet.get::<u32>("size").ok()?) + OVERHEAD;
    Some(Arrival { sent: time("local-ts")?, bytes, arrived: time("remote-ts").filter(|_| !lost) })
}
