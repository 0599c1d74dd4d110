use super::*;
use crate::fleet::link::Message;
use crate::fleet::view::desired_topic;
use ed25519_dalek::SigningKey;
use kiosk_proto::fleet::{PayloadType, sign};
use serde_json::json;

fn terms(canaries: &[u8]) -> Terms {
    Terms {
        author: "anna".into(),
        reason: "less bandwidth".into(),
        created: 1_800_000_000,
        expires: None,
        apply: Apply::Idle,
        force: false,
        canaries: canaries.into(),
        max_failures: 0,
        stage_timeout_ms: 60_000,
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn group(name: &str) -> GroupName {
    name.to_owned().try_into().unwrap()
}

fn id(number: usize) -> KioskId {
    format!("k-{number:02}").try_into().unwrap()
}

/// Twenty kiosks of the groups `seoul` and `night`; the last two are away.
fn view() -> View {
    let mut view = View::default();
    for number in 0..20 {
        let payload = json!({ "online": number < 18, "version": "0.1.0", "groups": ["seoul", "night"] });
        let topic = format!("bk/v1/device/{}/presence", id(number));
        view.take(&Message {
            topic,
            payload: payload.to_string().into_bytes(),
            correlation: None,
            properties: Vec::new(),
        });
    }
    view
}

fn push(view: &mut View, target: Target, revision: u64, config: Value) {
    let payload = DesiredPayload {
        target: target.clone(),
        epoch: 1,
        revision,
        author: "a".into(),
        reason: "r".into(),
        created: 0,
        expires: None,
        apply: Apply::Idle,
        force: false,
        config: object(map(config)),
    };
    let bytes = serde_json::to_vec(&payload).unwrap();
    let key = SigningKey::from_bytes(&[1; 32]);
    let payload = sign(PayloadType::Desired, &bytes, &[&key]).unwrap().to_bytes().unwrap();
    view.take(&Message {
        topic: desired_topic(&target).to_string(),
        payload,
        correlation: None,
        properties: Vec::new(),
    });
}

/// A kiosk of the group `seoul` says what it has confirmed of a layer.
fn report(view: &mut View, number: usize, layer: Value, epoch: u32, revision: u64) {
    let revision = json!({ "epoch": epoch, "revision": revision, "digest": Digest::of(b"what") });
    let mut layers = vec![json!({ "layer": layer, "confirmed": revision })];
    if layer == "device" {
        layers.insert(0, json!({ "layer": { "group": "seoul" } }));
    }
    let all = Digest::of(b"all");
    let payload = json!({ "version": "0.1.0", "effective": all, "confirmed": all, "layers": layers });
    let payload = payload.to_string().into_bytes();
    let topic = format!("bk/v1/device/{}/reported", id(number));
    view.take(&Message { topic, payload, correlation: None, properties: Vec::new() });
    assert!(view.kiosks[&id(number)].reported.is_some());
}

#[test]
fn one_kiosk_can_neither_block_nor_move_what_its_group_is_pushed() {
    let seoul = Target::Group(group("seoul"));
    let layer = json!({ "group": "seoul" });
    for rogue in [u64::MAX, u64::MAX - 1, 1 << 60, 1000] {
        let mut view = view();
        push(&mut view, seoul.clone(), 4, json!({ "video": { "bitrate_kbps": 1000 } }));
        report(&mut view, 3, layer.clone(), 1, rogue);
        assert_eq!(next_revision(&view, &seoul, 0), Ok((1, 5)), "{rogue}");
        let draft = Draft::for_group(&view, &group("seoul"), &Map::new(), &terms(&[])).unwrap();
        let revision = Revision { epoch: 1, revision: draft.payloads[0].revision, digest: Digest::of(b"new") };
        assert_eq!(ahead(&view, &seoul, revision), [id(3)]);
    }
    // A crash of the broker set it back: most kiosks have what it has lost.
    let mut view = view();
    push(&mut view, seoul.clone(), 4, json!({}));
    (0..10).for_each(|number| report(&mut view, number, layer.clone(), 1, 6));
    assert_eq!(next_revision(&view, &seoul, 0), Ok((1, 5)), "ten of twenty are not most");
    report(&mut view, 10, layer, 1, 7);
    assert_eq!(next_revision(&view, &seoul, 0), Ok((1, 7)));
}

#[test]
fn a_broker_that_lost_everything_goes_on_behind_what_kiosks_report() {
    let seoul = Target::Group(group("seoul"));
    let mut view = view();
    assert_eq!(next_revision(&view, &seoul, 0), Ok((1, 1)));
    report(&mut view, 1, json!({ "group": "seoul" }), 1, 9);
    report(&mut view, 2, json!({ "group": "seoul" }), 1, 8);
    report(&mut view, 3, json!({ "group": "seoul" }), 1, u64::MAX);
    assert_eq!(next_revision(&view, &seoul, 0), Ok((1, 10)), "what nobody can have pushed does not count");
    let own = Target::Device(id(4));
    report(&mut view, 4, json!("device"), 2, 7);
    assert_eq!((next_revision(&view, &own, 0), next_revision(&view, &own, 1)), (Ok((2, 8)), Ok((2, 9))));
}

#[test]
fn behind_the_last_revision_comes_the_next_epoch_and_behind_that_an_error() {
    let own = Target::Device(id(4));
    let mut view = view();
    push(&mut view, own.clone(), u64::MAX, json!({}));
    assert_eq!((next_revision(&view, &own, 0), next_revision(&view, &own, 1)), (Ok((2, 1)), Ok((2, 2))));
    view.devices.get_mut(&id(4)).unwrap().revision.epoch = u32::MAX;
    let refused = next_revision(&view, &own, 0).unwrap_err();
    assert_eq!(refused, DraftError::NoRevision(u32::MAX, u64::MAX, "device/k-04".into()));
}

#[test]
fn canaries_of_a_group_get_it_as_their_own_layer_and_are_tidied_up() {
    let mut view = view();
    push(&mut view, Target::Group(group("seoul")), 4, json!({ "video": { "bitrate_kbps": 1000 } }));
    // A group above sets one of the keys, and each kiosk another one for itself.
    push(&mut view, Target::Group(group("night")), 1, json!({ "audio": { "gain_db": 1.0 } }));
    for number in 0..20 {
        push(&mut view, Target::Device(id(number)), 7, json!({ "camera": { "width": 640 } }));
    }
    let layer =
        map(json!({ "video": { "bitrate_kbps": 800 }, "audio": { "gain_db": 2.0 }, "camera": { "width": 1280 } }));
    let draft = Draft::for_group(&view, &group("seoul"), &layer, &terms(&[5, 25])).unwrap();
    let titles: Vec<(&str, usize, usize)> =
        draft.stages.iter().map(|stage| (stage.title.as_str(), stage.send.len(), stage.expect.len())).collect();
    assert_eq!(titles, [("5 %", 1, 1), ("25 %", 4, 4), ("100 %", 1, 20), ("tidy up", 5, 5)]);

    let whole = &draft.payloads[draft.stages[2].send[0]];
    assert_eq!((whole.revision, &whole.config.0), (5, &layer));
    let (canary, message) = draft.stages[0].expect.first_key_value().unwrap();
    let first = &draft.payloads[*message];
    assert_eq!((first.revision, &first.target), (8, &Target::Device(canary.clone())));
    // Its own key and that of the group above stay what they are.
    assert_eq!(first.config.0, map(json!({ "video": { "bitrate_kbps": 800 }, "camera": { "width": 640 } })));
    let restored = &draft.payloads[draft.stages[3].expect[canary]];
    assert_eq!((restored.revision, &restored.config.0), (9, &map(json!({ "camera": { "width": 640 } }))));
    assert_eq!(draft.undo.len(), 5);
    // Whoever is away is no canary.
    let canaries = draft.stages[..2].iter().flat_map(|stage| stage.expect.keys());
    assert!(canaries.into_iter().all(|canary| view.is_online(canary)));
}

#[test]
fn canaries_cannot_show_a_key_that_is_taken_out() {
    let mut view = view();
    push(&mut view, Target::Group(group("seoul")), 4, json!({ "video": { "bitrate_kbps": 1000 } }));
    let refused = Draft::for_group(&view, &group("seoul"), &Map::new(), &terms(&[5])).unwrap_err();
    assert_eq!(refused, DraftError::TakenOut("video.bitrate_kbps".into()));
    let all = Draft::for_group(&view, &group("seoul"), &Map::new(), &terms(&[])).unwrap();
    assert_eq!((all.stages.len(), all.payloads.len()), (1, 1));
}

#[test]
fn some_kiosks_get_it_each_for_itself_stage_by_stage() {
    let view = view();
    let some: Vec<KioskId> = (0..8).map(id).collect();
    let layer = |_: &KioskId| map(json!({ "video": { "bitrate_kbps": 800 } }));
    let draft = Draft::for_kiosks(&view, &some, &layer, &terms(&[5, 50, 100])).unwrap();
    let sizes: Vec<usize> = draft.stages.iter().map(|stage| stage.send.len()).collect();
    assert_eq!(sizes, [1, 3, 4]);
    let mut seen: Vec<&KioskId> = draft.stages.iter().flat_map(|stage| stage.expect.keys()).collect();
    seen.sort();
    assert_eq!(seen, some.iter().collect::<Vec<_>>());
    assert!(draft.payloads.iter().all(|payload| payload.revision == 1 && payload.epoch == 1));
    assert_eq!(Draft::for_kiosks(&view, &[], &layer, &terms(&[])).unwrap_err(), DraftError::NoKiosk);
}
