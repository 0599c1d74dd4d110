//! What kiosks say, as an admin reads it from a broker that is not trusted: whatever it is, it is read or left out, and
//! a rollout takes for confirmed only what was sent.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use kiosk_proto::config::KioskId;
use kiosk_proto::fleet::machine::{DryRun, Explained};
use kiosk_proto::fleet::rollout::{Addressed, Event, Outcome, Plan, Progress, Rollout, Stage, StageKind};
use kiosk_proto::fleet::{
    Digest, Event as Happened, GroupName, Metrics, Presence, Reported, Response, Revision, Target,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads it; what was read can be written and read again.
fn said<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Option<(T, T)> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_vec(&read).expect("it can be written");
    Some((read, serde_json::from_slice(&written).expect("it can be read again")))
}

/// The same, where there are no fractions: those are read to the nearest, not to the last digit.
fn exactly<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> Option<T> {
    let (read, again) = said::<T>(bytes)?;
    assert_eq!(read, again);
    Some(read)
}

/// A rollout of one message to a group with one kiosk.
fn rollout(kiosk: &KioskId, revision: Revision) -> Rollout {
    let target = Target::Group(GroupName::try_from("north".to_owned()).expect("a name"));
    let expect = BTreeMap::from([(kiosk.clone(), 0)]);
    Rollout::new(Plan {
        messages: vec![Addressed { target, revision }],
        stages: vec![Stage { title: "all".into(), kind: StageKind::Rest, send: vec![0], expect }],
        undo: Vec::new(),
        max_failures: 0,
        stage_timeout_ms: 60_000,
    })
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(presence) = exactly::<Presence>(bytes) {
        for now in [0, 1_800_000_000, u64::MAX] {
            let _ = presence.trouble(now);
        }
    }
    if let Some(reported) = exactly::<Reported>(bytes) {
        let text = serde_json::to_string(&reported).expect("it can be written");
        let kiosk = KioskId::try_from("a-1".to_owned()).expect("a name");
        let revision = Revision { epoch: 1, revision: 5, digest: Digest::of(b"a-1") };
        let mut rollout = rollout(&kiosk, revision);
        for event in [Event::Connected, Event::Reported(kiosk.clone(), Box::new(reported)), Event::Published(0)] {
            let _ = rollout.handle(event);
        }
        let speaks_of_it = text.contains(&revision.digest.to_string());
        let became = rollout.current.get(&kiosk).or(rollout.kiosks.get(&kiosk));
        assert!(speaks_of_it || became == Some(&Progress::Waiting), "{became:?}");
        let _ = rollout.handle(Event::Elapsed(u64::MAX));
        assert!(matches!(rollout.outcome, Some(Outcome::Confirmed | Outcome::Partly)), "{:?}", rollout.outcome);
    }
    if let Some((response, _)) = said::<Response>(bytes) {
        let result = response.result.to_string();
        let _ = (said::<DryRun>(result.as_bytes()).is_some(), said::<Vec<Explained>>(result.as_bytes()).is_some());
    }
    let _ = (exactly::<Happened>(bytes).is_some(), said::<Metrics>(bytes).is_some());
});
