//! What is reported: retained, so that an admin who comes later reads it too.

use super::{DesiredState, Effect};
use crate::fleet::reported::{LayerReport, Reported};

impl DesiredState {
    /// What is to be reported now.
    #[must_use]
    pub fn reported(&self) -> Reported {
        let layers = self.layer_names().into_iter().map(|layer| {
            let state = self.durable.layer(&layer);
            LayerReport {
                confirmed: state.and_then(|state| state.confirmed.as_ref()).map(|pushed| pushed.revision),
                attempts: state.map(|state| state.attempts.clone()).unwrap_or_default(),
                refused: self.refused.get(&layer).cloned(),
                left_out: self.left_out.get(&layer).cloned().unwrap_or_default(),
                layer,
            }
        });
        Reported {
            version: self.version.clone(),
            effective: self.in_force.digest,
            confirmed: self.confirmed.digest,
            layers: layers.collect(),
            storage: self.storage.as_ref().map(|storage| storage.message.clone()),
            omitted: 0,
        }
    }

    pub(super) fn report(&self) -> Effect {
        Effect::Report(Box::new(self.reported()))
    }
}
