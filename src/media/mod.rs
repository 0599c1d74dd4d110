//! Camera, microphone, loudspeaker and screen, each in a pipeline of its own, and the two peer connections between them.
//!
//! A device that fails takes its own pipeline down and no other: the peer connections are fed through [`port`]s and never notice.

pub mod camera;
pub mod capture;
pub mod decoder;
pub mod device;
pub mod encoder;
pub mod keyframes;
pub mod last_rate;
pub mod link;
pub mod meter;
pub mod microphone;
pub mod peer;
pub mod playback;
pub mod port;
pub mod publish;
pub mod receive;
mod recording;
pub mod rehearsal;
mod reports;
pub mod slate;
pub mod timecode;
pub mod v4l2;

use gstreamer as gst;
use thiserror::Error;

/// Why a pipeline could not be made or started.
#[derive(Debug, Error)]
pub enum MediaError {
    /// An element is not installed.
    #[error("GStreamer says: {0}; install the plugin that has it")]
    NoElement(String),
    /// GStreamer refused the description or the state.
    #[error("{0}")]
    Refused(String),
    /// No encoder works.
    #[error(transparent)]
    Encoder(#[from] encoder::NoEncoder),
    /// The ICE agent can't be made TCP only.
    #[error(transparent)]
    Agent(#[from] crate::tcp_only::agent::AgentError),
}

impl From<gst::glib::BoolError> for MediaError {
    fn from(error: gst::glib::BoolError) -> Self {
        Self::Refused(error.message.to_string())
    }
}

impl From<gst::glib::Error> for MediaError {
    fn from(error: gst::glib::Error) -> Self {
        Self::Refused(error.message().to_owned())
    }
}

impl From<gst::StateChangeError> for MediaError {
    fn from(_: gst::StateChangeError) -> Self {
        Self::Refused("the pipeline does not start".to_owned())
    }
}

/// Starts GStreamer.
///
/// # Errors
/// When GStreamer does not start.
pub fn init() -> Result<(), gst::glib::Error> {
    gst::init()?;
    decoder::prefer_openh264();
    Ok(())
}

/// The DTLS certificate of this daemon. GStreamer makes one when the first DTLS element needs it and throws it away with
/// the last; making one takes between 50 ms and 1.5 s of looking for primes, which no call should wait for.
#[derive(Debug)]
pub struct Certificate(#[expect(dead_code, reason = "it is held, not used")] gst::Element);

impl Certificate {
    /// Makes the certificate; every peer connection uses it as long as this is held.
    ///
    /// # Errors
    /// When GStreamer's DTLS plugin is not installed.
    pub fn make() -> Result<Self, MediaError> {
        let element = gst::ElementFactory::make("dtlsdec").build();
        element.map(Self).map_err(|_| MediaError::NoElement("no element \"dtlsdec\"".to_owned()))
    }
}

/// Makes a pipeline from GStreamer's launch syntax.
///
/// # Errors
/// When an element is missing or the description is wrong.
pub fn pipeline(description: &str) -> Result<gst::Pipeline, MediaError> {
    use gst::prelude::*;
    let element = gst::parse::launch(description).map_err(|error| {
        if error.matches(gst::ParseError::NoSuchElement) {
            MediaError::NoElement(error.message().to_owned())
        } else {
            MediaError::from(error)
        }
    })?;
    // One element alone is not put into a pipeline by the parser.
    match element.downcast::<gst::Pipeline>() {
        Ok(pipeline) => Ok(pipeline),
        Err(element) => {
            let pipeline = gst::Pipeline::new();
            pipeline.add(&element)?;
            Ok(pipeline)
        }
    }
}

/// An element of a pipeline, by the name that its description gave it.
///
/// # Errors
/// When there is none: a mistake in a description of ours.
pub fn named<T: gst::prelude::IsA<gst::Element>>(pipeline: &gst::Pipeline, name: &str) -> Result<T, MediaError> {
    use gst::prelude::*;
    pipeline
        .by_name(name)
        .and_then(|element| element.downcast().ok())
        .ok_or_else(|| MediaError::Refused(format!("the pipeline has no usable {name}")))
}

/// What an error message on a bus says, with the debugging text that names the cause.
pub fn explain(error: &gst::message::Error) -> String {
    let from = error.src().map(|src| gst::prelude::GstObjectExt::name(src).to_string()).unwrap_or_default();
    match error.debug() {
        Some(debug) => {
            format!("{from}: {} ({})", error.error().message(), debug.lines().last().unwrap_or_default().trim())
        }
        None => format!("{from}: {}", error.error().message()),
    }
}
