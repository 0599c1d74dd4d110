//! Layers together: what they make, what does not fit, and what one more would change.

use serde_json::json;

use super::tests::{DEVICE, world};
use super::world::*;
use super::*;
use crate::fleet::Phase;

#[test]
fn layers_merge_in_their_order_and_every_value_knows_who_set_it() {
    let mut world = world();
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    let group = json!({"video": {"bitrate_kbps": 800, "min_bitrate_kbps": 200}});
    world.publish(&north(), push(&north(), 1, group)).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.in_force.video.min_bitrate_kbps.0), (700, 200));
    let keys = ["video.bitrate_kbps", "video.min_bitrate_kbps", "video.encoder", "janus.room"].map(String::from);
    insta::assert_json_snapshot!(world.state.explain(&keys));
    assert!(world.state.explain(&[]).len() > 30);

    // The layer is taken away by a signed payload, and what is below it shows.
    world.publish(&DEVICE, push(&DEVICE, 2, json!({}))).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.phase(&DEVICE)), (800, Phase::Confirmed));
}

#[test]
fn a_layer_that_the_site_file_left_out_does_not_keep_others_from_being_confirmed() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, json!({"video": {"min_bitrate_kbps": 900}}))).unwrap();
    world.wait(1).unwrap();
    world.site = Site::parse(&(site_text(false) + "[video]\nbitrate_kbps = 850\n")).unwrap();
    world.input(Input::SiteChanged(Box::new(world.site.clone()))).unwrap();
    assert_eq!((world.kbps(), world.layer(&north()).left_out.len()), (850, 1));
    world.publish(&DEVICE, push(&DEVICE, 1, bitrate(700))).unwrap();
    world.wait(1).unwrap();
    assert_eq!((world.kbps(), world.layer(&north()).left_out.len(), world.phase(&DEVICE)), (700, 1, Phase::Confirmed));
    world.restart().unwrap();
    assert_eq!(world.kbps(), 700);
    // With this one it fits again.
    world.link().unwrap();
    world.publish(&DEVICE, push(&DEVICE, 2, bitrate(1_200))).unwrap();
    world.wait(1).unwrap();
    let video = &world.in_force.video;
    assert_eq!((video.bitrate_kbps.0, video.min_bitrate_kbps.0), (1_200, 900));
    assert!(world.layer(&north()).left_out.is_empty());
}

#[test]
fn a_site_file_that_the_layers_do_not_fit_leaves_them_out_and_says_so() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, json!({"audio": {"gain_db": 3}}))).unwrap();
    world.publish(&DEVICE, push(&DEVICE, 1, json!({"video": {"min_bitrate_kbps": 900}}))).unwrap();
    world.wait(1).unwrap();
    let site = Site::parse(&(site_text(false) + "[video]\nbitrate_kbps = 500\n")).unwrap();
    world.site = site.clone();
    world.input(Input::SiteChanged(Box::new(site))).unwrap();
    let left_out = |world: &World| (world.kbps(), world.in_force.audio.gain_db, world.layer(&DEVICE).left_out.len());
    assert_eq!(left_out(&world), (500, 3.0, 1));
    world.restart().unwrap();
    assert_eq!(left_out(&world), (500, 3.0, 1));
    // The layer is kept: with the old site file it is in force again.
    world.site = Site::parse(&site_text(false)).unwrap();
    world.restart().unwrap();
    assert_eq!((world.kbps(), world.in_force.video.min_bitrate_kbps.0), (1000, 900));
}

#[test]
fn a_dry_run_says_what_would_change_and_keeps_nothing() {
    let mut world = world();
    world.publish(&north(), push(&north(), 1, bitrate(800))).unwrap();
    world.wait(1).unwrap();
    let disk = world.disk.clone();
    let object = |value: serde_json::Value| crate::fleet::Object(value.as_object().unwrap().clone());
    let run = |layer: &LayerName, value| world.state.dry_run(layer, object(value));
    insta::assert_json_snapshot!(
        "dry_run",
        [
            run(&DEVICE, json!({"video": {"bitrate_kbps": 700}, "ice": {"local_address": "10.1.2.3"}})),
            run(&north(), json!({"control": {"bus": "session"}})),
            run(&DEVICE, json!({"video": {"min_bitrate_kbps": 900}})),
            run(&DEVICE, json!({"vidoe": {}})),
            run(&DEVICE, json!({"fleet": {"metrics_interval_s": 5}})),
        ]
    );
    assert_eq!(world.disk, disk);
}
