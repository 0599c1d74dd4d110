//! A report for a broker that takes only small packets: what matters most of it, and how much was left out.

use super::reported::{LayerReport, PathError, Reported};

/// What is left of a text, characters.
const TEXT: usize = 80;

impl Reported {
    /// The same, with as much left out as it takes to fit: first the attempts before the newest one of each layer, the
    /// oldest first, then errors, each list from its end, and then the ends of long texts. What is in force, and the
    /// phase of each layer's newest attempt, always stay. `fits` gets the bytes of its JSON.
    #[must_use]
    pub fn shortened(&self, fits: impl Fn(usize) -> bool) -> Self {
        let mut short = self.clone();
        while !fits(serde_json::to_vec(&short).map_or(usize::MAX, |json| json.len())) {
            if !(short.drop_attempt() || short.drop_error() || short.cut_text()) {
                break;
            }
            short.omitted = short.omitted.saturating_add(1);
        }
        short
    }

    fn drop_attempt(&mut self) -> bool {
        let longest = self.layers.iter_mut().filter(|layer| layer.attempts.len() > 1);
        longest.max_by_key(|layer| layer.attempts.len()).and_then(|layer| layer.attempts.pop()).is_some()
    }

    /// The first error of each list stays.
    fn drop_error(&mut self) -> bool {
        let lists = self.layers.iter_mut().flat_map(|LayerReport { attempts, left_out, .. }| {
            attempts.iter_mut().map(|attempt| &mut attempt.errors).chain([left_out])
        });
        let longest = lists.filter(|errors| errors.len() > 1).max_by_key(|errors| errors.len());
        longest.and_then(Vec::pop).is_some()
    }

    fn cut_text(&mut self) -> bool {
        let texts = self.layers.iter_mut().flat_map(|LayerReport { attempts, left_out, refused, .. }| {
            let attempts = attempts.iter_mut().flat_map(|attempt| {
                let errors = attempt.errors.iter_mut().map(|PathError { message, .. }| message);
                errors.chain([&mut attempt.reason, &mut attempt.author])
            });
            let left_out = left_out.iter_mut().map(|PathError { message, .. }| message);
            attempts.chain(left_out).chain(refused.as_mut().map(|refused| &mut refused.message))
        });
        let longest = texts.chain(self.storage.as_mut()).max_by_key(|text| text.chars().count());
        let Some(text) = longest else { return false };
        // The mark counts: a text that was cut is not cut again.
        let Some((end, _)) = text.char_indices().nth(TEXT - 1) else { return false };
        if text[end..].chars().nth(1).is_none() {
            return false;
        }
        text.truncate(end);
        text.push('…');
        true
    }

    /// What an admin should know of what was left out, if anything was.
    #[must_use]
    pub fn omission(&self) -> Option<String> {
        let told = |count| {
            format!("{count} parts of its report were left out, since the broker takes no more: raise max_packet_size")
        };
        (self.omitted > 0).then(|| told(self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{Attempt, Digest, LayerName, Phase, Refusal, Revision};

    fn report(reason: &str) -> Reported {
        let digest = Digest::of(b"a");
        let errors: Vec<PathError> =
            (0..20).map(|n| PathError { path: format!("video.key_{n}"), message: reason.to_owned() }).collect();
        let attempt = |revision: u64| Attempt {
            revision: Revision { epoch: 1, revision, digest },
            author: "Ada".into(),
            reason: reason.to_owned(),
            phase: Phase::RolledBack,
            phases: Vec::new(),
            errors: errors.clone(),
        };
        let layer = |layer: LayerName| LayerReport {
            layer,
            confirmed: Some(Revision { epoch: 1, revision: 1, digest }),
            attempts: [4, 3, 2, 1].map(attempt).into(),
            refused: Some(Refusal { digest, code: "stale".into(), message: reason.to_owned(), count: 1 }),
            left_out: errors.clone(),
        };
        let group = LayerName::Group("east".to_owned().try_into().unwrap());
        let storage = Some(reason.to_owned());
        let layers = vec![layer(group), layer(LayerName::Device)];
        Reported { version: "1".into(), effective: digest, confirmed: digest, layers, storage, omitted: 0 }
    }

    #[test]
    fn a_report_is_as_long_as_it_may_be_and_keeps_what_matters_most() {
        let whole = report(&"why \u{1f3e6} ".repeat(60));
        let size = |report: &Reported| serde_json::to_vec(report).unwrap().len();
        assert_eq!(whole.shortened(|_| true), whole);
        assert_eq!(whole.omission(), None);
        let mut before = u32::MAX;
        let limits = [3_500, 5_000, 10_000, 50_000, size(&whole) - 1];
        for limit in limits {
            let short = whole.shortened(|bytes| bytes <= limit);
            assert!(size(&short) <= limit, "{limit}: {}", size(&short));
            assert!(short.omitted > 0 && short.omitted < before, "{limit}: {}", short.omitted);
            before = short.omitted;
            assert!(short.omission().unwrap().starts_with(&short.omitted.to_string()));
            for (layer, all) in short.layers.iter().zip(&whole.layers) {
                assert_eq!((&layer.layer, layer.confirmed), (&all.layer, all.confirmed));
                let (newest, full) = (&layer.attempts[0], &all.attempts[0]);
                assert_eq!((newest.revision, newest.phase), (full.revision, full.phase));
                assert_eq!(newest.errors[0].path, full.errors[0].path);
                assert_eq!(layer.refused.as_ref().unwrap().code, "stale");
            }
        }
        assert_eq!(before, 1, "one byte too much costs one attempt");
        // Less than the least: it ends, and is what is left.
        let least = whole.shortened(|_| false);
        assert!(size(&least) < 3_500, "{}", size(&least));
    }
}
