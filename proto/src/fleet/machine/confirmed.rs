//! What the confirmed layers make.

use std::collections::BTreeMap;

use crate::config::{Layer, LayerError, Merged, Site, merge};
use crate::fleet::digest::Digest;
use crate::fleet::durable::{Durable, Pushed};
use crate::fleet::reported::{LayerName, PathError};

/// A merged configuration with its digest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Effective {
    pub merged: Merged,
    pub digest: Digest,
    /// The layers that were merged, as [`crate::config::Origin::layer`] counts them.
    pub layers: Vec<LayerName>,
}

impl Effective {
    fn new(merged: Merged, layers: Vec<LayerName>) -> Self {
        Self { digest: Digest::of(&merged.canonical()), merged, layers }
    }
}

/// Layers that a kiosk with this site file listens to, in the order of the merge.
pub(super) fn layer_names(site: &Site) -> Vec<LayerName> {
    let groups = site.config().fleet.iter().flat_map(|fleet| fleet.groups.iter().cloned().map(LayerName::Group));
    groups.chain([LayerName::Device]).collect()
}

pub(super) fn path_errors(errors: Vec<LayerError>) -> Vec<PathError> {
    /// What fits into a report; the first ones tell enough.
    const MOST: usize = 32;
    let errors = errors.into_iter().take(MOST);
    errors.map(|LayerError { key, problem }| PathError { path: key, message: problem.to_string() }).collect()
}

/// Merges layers, given in the order of the merge.
fn merge_pushed(site: &Site, layers: &[(LayerName, &Pushed)]) -> Result<Effective, Vec<PathError>> {
    let mut read = Vec::new();
    for (_, pushed) in layers {
        read.push(Layer::read(&pushed.payload.config.0).map_err(path_errors)?);
    }
    let merged = merge(site, &read.iter().collect::<Vec<_>>()).map_err(path_errors)?;
    Ok(Effective::new(merged, layers.iter().map(|(name, _)| name.clone()).collect()))
}

/// What the confirmed layers make, with one of them replaced if that is asked for, and which of them are left out and
/// why: those that fit neither together with all others nor with what is below them. The site file alone always fits.
pub(super) fn effective(
    site: &Site,
    durable: &Durable,
    replaced: Option<(&LayerName, &Pushed)>,
) -> (Effective, BTreeMap<LayerName, Vec<PathError>>) {
    let mut left_out = BTreeMap::new();
    let mut layers: Vec<(LayerName, &Pushed)> = Vec::new();
    for name in layer_names(site) {
        let pushed = match replaced {
            Some((layer, pushed)) if *layer == name => Some(pushed),
            _ => durable.layer(&name).and_then(|layer| layer.confirmed.as_ref()),
        };
        layers.extend(pushed.map(|pushed| (name, pushed)));
    }
    if let Ok(effective) = merge_pushed(site, &layers) {
        return (effective, left_out);
    }
    let config = site.config().clone();
    let mut effective = Effective::new(Merged { config, origins: BTreeMap::new() }, Vec::new());
    let mut fitting = Vec::new();
    for layer in std::iter::once(None).chain(layers.into_iter().map(Some)) {
        let candidate: Vec<_> = fitting.iter().cloned().chain(layer.clone()).collect();
        match (merge_pushed(site, &candidate), layer) {
            (Ok(merged), _) => (effective, fitting) = (merged, candidate),
            (Err(errors), Some((name, _))) => drop(left_out.insert(name, errors)),
            // Not reached: what was checked when the site file was read is merged again.
            (Err(_), None) => {}
        }
    }
    (effective, left_out)
}
