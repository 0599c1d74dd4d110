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
pub(super) fn merge_pushed(site: &Site, layers: &[(LayerName, &Pushed)]) -> Result<Effective, Vec<PathError>> {
    let mut read = Vec::new();
    for (_, pushed) in layers {
        read.push(Layer::read(&pushed.payload.config.0).map_err(path_errors)?);
    }
    let merged = merge(site, &read.iter().collect::<Vec<_>>()).map_err(path_errors)?;
    Ok(Effective::new(merged, layers.iter().map(|(name, _)| name.clone()).collect()))
}

/// The confirmed layers in the order of the merge, one of them replaced.
pub(super) fn with<'a>(
    site: &Site,
    durable: &'a Durable,
    replaced: Option<(&LayerName, &'a Pushed)>,
    left_out: &BTreeMap<LayerName, Vec<PathError>>,
) -> Vec<(LayerName, &'a Pushed)> {
    let pushed = |name: &LayerName| match replaced {
        Some((layer, pushed)) if layer == name => Some(pushed),
        _ if left_out.contains_key(name) => None,
        _ => durable.layer(name).and_then(|layer| layer.confirmed.as_ref()),
    };
    layer_names(site).into_iter().filter_map(|name| pushed(&name).map(|pushed| (name, pushed))).collect()
}

/// What is in force for good. A layer that does not fit the site file any more is left out, the highest one first, and
/// it is said why; the site file alone always fits.
pub(super) fn effective(site: &Site, durable: &Durable) -> (Effective, BTreeMap<LayerName, Vec<PathError>>) {
    let mut left_out = BTreeMap::new();
    loop {
        let layers = with(site, durable, None, &left_out);
        match merge_pushed(site, &layers) {
            Ok(effective) => return (effective, left_out),
            Err(errors) => match layers.last() {
                Some((name, _)) => {
                    left_out.insert(name.clone(), errors);
                }
                None => {
                    // Not reached: without a layer, what was checked when the site file was read is merged again.
                    let config = site.config().clone();
                    let merged = Merged { config, origins: BTreeMap::new() };
                    return (Effective::new(merged, Vec::new()), left_out);
                }
            },
        }
    }
}
