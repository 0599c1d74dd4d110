//! Any course of events.

use proptest::prelude::*;
use serde_json::json;

use super::world::*;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Push {
        device: bool,
        revision: u64,
        config: usize,
        now: bool,
        force: bool,
        expires: bool,
    },
    Withdraw(bool),
    Call(bool),
    Link(bool),
    Wait(u64),
    Tick,
    Probe(usize, bool),
    ApplyFailed,
    Disk(bool),
    Clock(bool),
    Site(bool),
    Restart,
    /// The power is lost at this effect.
    Crash(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<bool>(), 1..8_u64, 0..8_usize, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
            |(device, revision, config, now, force, expires)| Step::Push { device, revision, config, now, force, expires }
        ),
        1 => any::<bool>().prop_map(Step::Withdraw),
        2 => any::<bool>().prop_map(Step::Call),
        2 => any::<bool>().prop_map(Step::Link),
        3 => (1..150_u64).prop_map(Step::Wait),
        2 => Just(Step::Tick),
        2 => (0..3_usize, any::<bool>()).prop_map(|(probe, passed)| Step::Probe(probe, passed)),
        1 => Just(Step::ApplyFailed),
        1 => any::<bool>().prop_map(Step::Disk),
        1 => any::<bool>().prop_map(Step::Clock),
        1 => any::<bool>().prop_map(Step::Site),
        1 => Just(Step::Restart),
        2 => (0..8_usize).prop_map(Step::Crash),
    ]
}

fn config(index: usize) -> serde_json::Value {
    match index {
        0 => bitrate(700),
        1 => bitrate(800),
        // The size of the picture takes effect with the next call only.
        2 => json!({"video": {"bitrate_kbps": 3_000}, "camera": {"width": 640}}),
        3 => json!({"video": {"min_bitrate_kbps": 900}}),
        4 => json!({"control": {"bus": "session"}}),
        5 => json!({"fleet": {"metrics_interval_s": 7}}),
        6 => json!({"vidoe": {}}),
        _ => json!({}),
    }
}

/// Janus can't be reached with a bit rate above 2000.
fn at_most_2000(probe: Probe, config: &Config) -> bool {
    probe != Probe::Janus || config.video.bitrate_kbps.0 <= 2_000
}

fn step(world: &mut World, step: Step) -> Result<(), Crash> {
    let layer = |device: bool| if device { LayerName::Device } else { north() };
    match step {
        Step::Push { device, revision, config: index, now, force, expires } => {
            let mut payload = payload(&layer(device), revision, config(index));
            payload.force = force;
            if now {
                payload.apply = crate::fleet::Apply::Now;
            }
            if expires {
                payload.expires = Some(START + 120);
            }
            world.publish(&layer(device), signed(&payload, &[1]))
        }
        Step::Withdraw(device) => world.publish(&layer(device), Vec::new()),
        Step::Call(on) => world.call(on),
        Step::Link(true) => world.link(),
        Step::Link(false) => {
            world.linked = false;
            world.input(Input::LinkDown)
        }
        Step::Wait(seconds) => world.wait(seconds),
        Step::Tick => world.input(Input::Tick),
        // News of a probe that nobody waits for any more.
        Step::Probe(index, false) => {
            let probe = [Probe::Broker, Probe::Janus, Probe::Camera][index];
            world.input(Input::ProbeFailed(probe, "late".into()))
        }
        Step::Probe(index, true) => {
            let probe = [Probe::Broker, Probe::Janus, Probe::Camera][index];
            match world.probing.contains(&probe) {
                true => Ok(()),
                false if world.state.on_trial() => Ok(()),
                false => world.input(Input::ProbePassed(probe)),
            }
        }
        Step::ApplyFailed => world.input(Input::ApplyFailed("no such device".into())),
        Step::Disk(full) => {
            world.disk_full = full;
            Ok(())
        }
        Step::Clock(right) => {
            world.clock_is_right = right;
            Ok(())
        }
        Step::Site(more) => {
            let text = site_text(false) + if more { "[video]\nbitrate_kbps = 850\n" } else { "" };
            world.site = Site::parse(&text).unwrap();
            let site = world.site.clone();
            world.input(Input::SiteChanged(Box::new(site)))
        }
        Step::Restart => world.restart(),
        Step::Crash(fuel) => {
            world.fuel = Some(fuel);
            Ok(())
        }
    }
}

proptest! {
    #[test]
    fn any_course_of_events_ends_on_a_configuration_that_proved_itself(
        steps in proptest::collection::vec(any_step(), 1..40),
    ) {
        let mut world = World::new(false);
        world.passes = at_most_2000;
        for each in steps {
            if step(&mut world, each).is_err() {
                world.fuel = None;
                prop_assert!(world.restart().is_ok());
                for (layer, revision) in &world.written {
                    let confirmed = world.layer(layer).confirmed;
                    let kept = confirmed.is_some_and(|confirmed| (confirmed.epoch, confirmed.revision) == *revision);
                    prop_assert!(kept, "what was confirmed is lost: {layer} {confirmed:?}");
                }
            }
            prop_assert_eq!(&world.in_force, world.state.config());
            let reported = world.state.reported();
            prop_assert!(world.state.on_trial() || reported.effective == reported.confirmed);
            // In a call nothing is on trial that takes effect with the next one.
            if world.in_call && world.state.on_trial() {
                let changed = world.state.in_force.merged.difference(&world.state.confirmed.merged);
                prop_assert!(takes_effect(&changed) != TakesEffect::NextCall, "{changed:?}");
            }
        }
        (world.fuel, world.disk_full, world.clock_is_right) = (None, false, true);
        for _ in 0..6 {
            prop_assert!(world.call(false).is_ok() && world.link().is_ok() && world.wait(DEADLINE * 3).is_ok());
        }
        prop_assert!(!world.state.on_trial());
        prop_assert!(world.state.config().video.bitrate_kbps.0 <= 2_000);
        prop_assert_eq!(world.disk.clone().unwrap_or_default(), world.state.durable.clone());
        for report in world.state.reported().layers {
            for attempt in &report.attempts {
                prop_assert!(attempt.phase.is_final(), "{report:?}");
            }
        }
    }
}
