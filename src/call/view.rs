//! What the rest of the world sees of the call.

use kiosk_proto::call::CallState;
use kiosk_proto::figures::CallFigures;

use super::Engine;

/// A consistent picture of the call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// What it is doing.
    pub state: CallState,
    /// Its identifier; empty without a call.
    pub call_id: String,
    /// What is wrong: code and message.
    pub faults: Vec<(String, String)>,
    /// Its figures; those of the last call while there is none.
    pub figures: CallFigures,
    /// Why the last call ended.
    pub ended: Option<&'static str>,
}

impl Engine {
    /// Shows the present state, if it differs from what is shown.
    pub(super) fn show(&self) {
        let view = View {
            state: self.call.state(),
            call_id: self.call.call_id().to_owned(),
            faults: self.call.faults().iter().map(|(code, text)| (code.to_string(), text.clone())).collect(),
            figures: self.figures.clone(),
            ended: self.ended_for,
        };
        self.view.send_if_modified(|shown| {
            let changed = **shown != view;
            if changed {
                *shown = view.into();
            }
            changed
        });
    }
}
