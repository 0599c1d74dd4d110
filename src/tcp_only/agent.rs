//! The ICE agent of `webrtcbin`, told to gather no UDP and to ask no router for a port.

use std::net::IpAddr;

use gstreamer as gst;
use gstreamer::prelude::*;
use thiserror::Error;

/// Why the ICE agent can't be made TCP only. The peer connection is not used then.
#[derive(Debug, Error)]
pub enum AgentError {
    /// An element of the chain lacks what is set.
    #[error("{object} has no {name}: GStreamer 1.22 with libnice is the oldest that works")]
    Lacks {
        /// `webrtcbin`, its ICE agent, or libnice's agent.
        object: &'static str,
        /// Property or signal.
        name: &'static str,
    },
    /// The address is not one of this machine.
    #[error("ice.local_address = {0} is not an address of this machine; see `ip address`")]
    LocalAddress(IpAddr),
}

fn object(parent: &gst::glib::Object, of: &'static str, name: &'static str) -> Result<gst::glib::Object, AgentError> {
    let lacks = AgentError::Lacks { object: of, name };
    if parent.find_property(name).is_none() {
        return Err(lacks);
    }
    parent.property::<Option<gst::glib::Object>>(name).ok_or(lacks)
}

fn set(target: &gst::glib::Object, of: &'static str, name: &'static str, value: bool) -> Result<(), AgentError> {
    if target.find_property(name).is_none() {
        return Err(AgentError::Lacks { object: of, name });
    }
    target.set_property(name, value);
    Ok(())
}

/// Sets up the agent. To be called before the bin leaves READY: gathering begins after it.
///
/// # Errors
/// When something of it can't be set; then UDP could be used and the bin must not be.
pub fn make_tcp_only(webrtcbin: &gst::Element, local_address: Option<IpAddr>) -> Result<(), AgentError> {
    let agent = object(webrtcbin.upcast_ref(), "webrtcbin", "ice-agent")?;
    set(&agent, "ice-agent", "ice-udp", false)?;
    set(&agent, "ice-agent", "ice-tcp", true)?;
    let nice = object(&agent, "ice-agent", "agent")?;
    // On by default; its discovery is a UDP multicast.
    set(&nice, "NiceAgent", "upnp", false)?;
    if let Some(address) = local_address {
        if gst::glib::subclass::signal::SignalId::lookup("add-local-ip-address", agent.type_()).is_none() {
            return Err(AgentError::Lacks { object: "ice-agent", name: "add-local-ip-address" });
        }
        if !agent.emit_by_name::<bool>("add-local-ip-address", &[&address.to_string()]) {
            return Err(AgentError::LocalAddress(address));
        }
    }
    Ok(())
}
