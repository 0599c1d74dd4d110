//! Power-line frequency, exposure and focus, from the configuration.

use std::io;

use kiosk_proto::config::{Adjustment, Camera, PowerLine};
use nix::errno::Errno;
use v4l::control::{Control, Value};
use v4l::v4l_sys;

use super::device::{CameraInfo, Opened};

/// A control that the camera did not take. The call goes on; the picture may flicker or be blurred.
#[derive(Debug, thiserror::Error)]
#[error("{camera}: {key} = {wanted}: {why}")]
pub(super) struct ControlRefused {
    /// The camera.
    camera: CameraInfo,
    /// The key of the configuration.
    key: &'static str,
    /// Its value.
    wanted: String,
    /// Why it is not in force.
    why: Why,
}

/// Why a control has not the wanted value.
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    /// It is not there.
    #[error("it has no such control or choice; take the key out of the configuration")]
    NotThere,
    /// The camera took the nearest value that it can have.
    #[error("that is outside of its range; it took {0}")]
    Adjusted(i64),
    /// The driver said no.
    #[error("{0}")]
    Failed(io::Error),
}

/// One control and its value.
type Step = (u32, Value);

/// Sets what the configuration asks for. `auto` where a camera has nothing to switch is no error.
pub(super) fn apply(camera: &Opened, config: &Camera) -> Vec<ControlRefused> {
    let mut refused = Vec::new();
    let mut set = |key: &'static str, wanted: String, optional: bool, alternatives: &[Step]| {
        let why = match set_first(camera, alternatives) {
            Ok(()) => return,
            Err(Why::NotThere) if optional => return,
            Err(why) => why,
        };
        refused.push(ControlRefused { camera: camera.info.clone(), key, wanted, why });
    };

    let (menu, word) = match config.power_line {
        PowerLine::Disabled => (v4l_sys::v4l2_power_line_frequency_V4L2_CID_POWER_LINE_FREQUENCY_DISABLED, "disabled"),
        PowerLine::Hz50 => (v4l_sys::v4l2_power_line_frequency_V4L2_CID_POWER_LINE_FREQUENCY_50HZ, "50hz"),
        PowerLine::Hz60 => (v4l_sys::v4l2_power_line_frequency_V4L2_CID_POWER_LINE_FREQUENCY_60HZ, "60hz"),
        PowerLine::Auto => (v4l_sys::v4l2_power_line_frequency_V4L2_CID_POWER_LINE_FREQUENCY_AUTO, "auto"),
    };
    let optional = config.power_line == PowerLine::Auto;
    let power_line = [(v4l_sys::V4L2_CID_POWER_LINE_FREQUENCY, Value::Integer(menu.into()))];
    set("camera.power_line", format!("\"{word}\""), optional, &power_line);

    let exposure = |mode: u32| (v4l_sys::V4L2_CID_EXPOSURE_AUTO, Value::Integer(mode.into()));
    let manual = exposure(v4l_sys::v4l2_exposure_auto_type_V4L2_EXPOSURE_MANUAL);
    match config.exposure {
        Adjustment::Auto => {
            // What USB cameras call automatic is "aperture priority".
            let automatic = [
                exposure(v4l_sys::v4l2_exposure_auto_type_V4L2_EXPOSURE_AUTO),
                exposure(v4l_sys::v4l2_exposure_auto_type_V4L2_EXPOSURE_APERTURE_PRIORITY),
            ];
            set("camera.exposure", "\"auto\"".into(), true, &automatic);
        }
        Adjustment::Fixed(time) => {
            set("camera.exposure", time.to_string(), true, &[manual]);
            let time_step = [(v4l_sys::V4L2_CID_EXPOSURE_ABSOLUTE, Value::Integer(time.into()))];
            set("camera.exposure", time.to_string(), false, &time_step);
        }
    }

    let auto_focus = |on| [(v4l_sys::V4L2_CID_FOCUS_AUTO, Value::Boolean(on))];
    match config.focus {
        Adjustment::Auto => set("camera.focus", "\"auto\"".into(), true, &auto_focus(true)),
        Adjustment::Fixed(distance) => {
            set("camera.focus", distance.to_string(), true, &auto_focus(false));
            let step = [(v4l_sys::V4L2_CID_FOCUS_ABSOLUTE, Value::Integer(distance.into()))];
            set("camera.focus", distance.to_string(), false, &step);
        }
    }
    refused
}

/// Takes the first of the alternatives that the camera knows, and looks whether it has it.
fn set_first(camera: &Opened, alternatives: &[Step]) -> Result<(), Why> {
    for (id, value) in alternatives {
        let control = Control { id: *id, value: copy(value) };
        match camera.handle.set_control(control) {
            Ok(()) => {
                // Drivers pull numbers into their range without a word.
                return match camera.handle.control(*id).map(|control| control.value) {
                    Ok(Value::Integer(taken)) if *value != Value::Integer(taken) => Err(Why::Adjusted(taken)),
                    _ => Ok(()),
                };
            }
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(Why::Failed(error)),
        }
    }
    Err(Why::NotThere)
}

/// No such control, no such entry in its menu, or no controls at all.
fn is_unknown(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EINVAL | Errno::ERANGE | Errno::ENOTTY))
}

fn copy(value: &Value) -> Value {
    match value {
        Value::Boolean(on) => Value::Boolean(*on),
        Value::Integer(number) => Value::Integer(*number),
        _ => Value::None,
    }
}
