//! `webrtcsink` and `rtpgccbwe`, its congestion control, as they come, in one plugin that can be loaded by its path.

use gst::glib;

fn init(_: &gst::Plugin) -> Result<(), glib::BoolError> {
    gstrsrtp::plugin_register_static()?;
    gstrswebrtc::plugin_register_static()
}

gst::plugin_define!(
    link_webrtcsink,
    env!("CARGO_PKG_DESCRIPTION"),
    init,
    env!("CARGO_PKG_VERSION"),
    "MPL",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "https://gitlab.freedesktop.org/gstreamer/gst-plugins-rs"
);
