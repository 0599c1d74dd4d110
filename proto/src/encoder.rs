//! The H.264 encoders that a kiosk may meet: what they are called, in which unit they take a bitrate, how they are set up.

/// Unit in which an element takes its target bitrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitrateUnit {
    /// bit/s
    Bits,
    /// kbit/s
    Kilobits,
}

/// How the bitrate of a running encoder is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitrateControl {
    /// An integer property of the element.
    Property(&'static str, BitrateUnit),
    /// The V4L2 control `video_bitrate` (bit/s) in the element's `extra-controls` structure.
    ExtraControls,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSpec {
    /// GStreamer element.
    pub element: &'static str,
    /// Platform, for people.
    pub platform: &'static str,
    /// How to set the bitrate.
    pub bitrate: BitrateControl,
    /// Fixed properties: no B-frames, constant rate, low delay, key frames on request (the longest interval that the element takes).
    pub properties: &'static [(&'static str, &'static str)],
    /// Controls that go into `extra-controls` beside the bitrate.
    pub extra_controls: &'static [(&'static str, i32)],
    /// What its source pad is asked for besides `video/x-h264`: V4L2 encoders need a level, others take the profile alone.
    pub output_caps: &'static str,
}

/// Seconds times 30: the key frame interval where an encoder must have one. Key frames come when they are asked for.
const LONG_GOP: &str = "1800";
const BASELINE: &str = "profile=(string)constrained-baseline";

/// Hardware first, then software; within each the order in which they are tried.
pub const ENCODERS: &[EncoderSpec] = &[
    EncoderSpec {
        element: "v4l2h264enc",
        platform: "Raspberry Pi 4, CM4 and other V4L2 M2M",
        bitrate: BitrateControl::ExtraControls,
        properties: &[],
        extra_controls: &[("repeat_sequence_header", 1), ("h264_i_frame_period", 1800), ("video_b_frames", 0)],
        output_caps: "profile=(string)constrained-baseline,level=(string)4",
    },
    EncoderSpec {
        element: "vpuenc_h264",
        platform: "NXP i.MX8M Plus",
        bitrate: BitrateControl::Property("bitrate", BitrateUnit::Kilobits),
        properties: &[("gop-size", LONG_GOP)],
        extra_controls: &[],
        output_caps: BASELINE,
    },
    EncoderSpec {
        element: "mpph264enc",
        platform: "Rockchip",
        bitrate: BitrateControl::Property("bps", BitrateUnit::Bits),
        properties: &[("gop", LONG_GOP), ("header-mode", "each-idr"), ("rc-mode", "cbr")],
        extra_controls: &[],
        output_caps: BASELINE,
    },
    EncoderSpec {
        element: "nvv4l2h264enc",
        platform: "NVIDIA Jetson",
        bitrate: BitrateControl::Property("bitrate", BitrateUnit::Bits),
        properties: &[
            ("iframeinterval", LONG_GOP),
            ("insert-sps-pps", "true"),
            ("control-rate", "1"),
            ("num-B-Frames", "0"),
        ],
        extra_controls: &[],
        output_caps: BASELINE,
    },
    EncoderSpec {
        element: "vah264lpenc",
        platform: "Intel, low power",
        bitrate: BitrateControl::Property("bitrate", BitrateUnit::Kilobits),
        properties: &[("rate-control", "cbr"), ("b-frames", "0"), ("key-int-max", "1024")],
        extra_controls: &[],
        output_caps: BASELINE,
    },
    EncoderSpec {
        element: "vah264enc",
        platform: "Intel, AMD",
        bitrate: BitrateControl::Property("bitrate", BitrateUnit::Kilobits),
        properties: &[("rate-control", "cbr"), ("b-frames", "0"), ("key-int-max", "1024")],
        extra_controls: &[],
        output_caps: BASELINE,
    },
    EncoderSpec {
        element: "x264enc",
        platform: "software",
        bitrate: BitrateControl::Property("bitrate", BitrateUnit::Kilobits),
        properties: &[
            ("tune", "zerolatency"),
            // The preset turns off what costs little and makes the picture that of "superfast": deblocking, and more bits
            // for what the eye sees most. A face is soft: small differences are kept (docs/decisions/0027 and 0034).
            ("speed-preset", "ultrafast"),
            ("option-string", "no-deblock=0:aq-mode=2:deadzone-inter=8:deadzone-intra=6"),
            ("bframes", "0"),
            ("key-int-max", LONG_GOP),
            // The buffer is also what the rate control remembers: with 300 ms it follows a step down seconds later where half
            // of the frames are left out (docs/decisions/0038).
            ("vbv-buf-capacity", "100"),
            ("aud", "false"),
            // Slices side by side cost a third more processor time; one thread makes 720p at 200 frames/s and more here.
            ("threads", "1"),
        ],
        extra_controls: &[],
        output_caps: BASELINE,
    },
    EncoderSpec {
        element: "openh264enc",
        platform: "software",
        bitrate: BitrateControl::Property("bitrate", BitrateUnit::Bits),
        properties: &[
            ("rate-control", "bitrate"),
            ("gop-size", LONG_GOP),
            ("complexity", "low"),
            ("usage-type", "camera"),
        ],
        extra_controls: &[],
        output_caps: BASELINE,
    },
];

impl BitrateUnit {
    /// A bitrate in this unit.
    #[must_use]
    pub fn from_bits_per_second(self, bits_per_second: u64) -> u64 {
        match self {
            Self::Bits => bits_per_second,
            Self::Kilobits => bits_per_second.div_ceil(1000),
        }
    }
}

/// The encoders to try, in order, for what the configuration asks.
///
/// # Errors
/// The names that may be asked for, when it is none of them.
pub fn to_try(wanted: Option<&str>) -> Result<Vec<&'static EncoderSpec>, String> {
    let Some(wanted) = wanted else {
        return Ok(ENCODERS.iter().collect());
    };
    match ENCODERS.iter().find(|spec| spec.element == wanted) {
        Some(spec) => Ok(vec![spec]),
        None => Err(ENCODERS.iter().map(|spec| spec.element).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_is_tried_before_software() {
        let first_software = ENCODERS.iter().position(|spec| spec.platform == "software").unwrap();
        assert!(ENCODERS[first_software..].iter().all(|spec| spec.platform == "software"));
    }

    #[test]
    fn a_name_limits_the_choice_and_a_wrong_one_lists_the_right_ones() {
        assert_eq!(to_try(Some("openh264enc")).unwrap().len(), 1);
        assert!(to_try(Some("x265enc")).unwrap_err().contains("x264enc"));
        assert_eq!(to_try(None).unwrap().len(), ENCODERS.len());
    }

    #[test]
    fn a_bitrate_is_never_rounded_to_nothing() {
        assert_eq!(BitrateUnit::Kilobits.from_bits_per_second(999), 1);
        assert_eq!(BitrateUnit::Bits.from_bits_per_second(999), 999);
    }
}
