use proptest::prelude::*;

use super::super::reported::{Attempt, LayerReport};
use super::*;

const TIMEOUT: u64 = 60_000;

fn id(number: usize) -> KioskId {
    KioskId::try_from(format!("k-{number}")).unwrap()
}

fn group() -> Target {
    Target::Group("seoul".to_owned().try_into().unwrap())
}

fn revision(target: &Target, number: u64) -> Revision {
    Revision { epoch: 1, revision: number, digest: Digest::of(format!("{} {number}", key(target)).as_bytes()) }
}

fn message(target: Target, number: u64) -> Addressed {
    Addressed { revision: revision(&target, number), target }
}

/// Ten kiosks in a group: one canary, two more, all, and the canaries' own layers away again.
fn plan(max_failures: u32) -> Plan {
    let mut messages = vec![message(group(), 5)];
    messages.extend((0..3).map(|kiosk| message(Target::Device(id(kiosk)), 1)));
    messages.extend((0..3).map(|kiosk| message(Target::Device(id(kiosk)), 2)));
    let stage = |title: &str, kind, send: Vec<usize>, expect: Vec<(usize, usize)>| Stage {
        title: title.into(),
        kind,
        send,
        expect: expect.into_iter().map(|(kiosk, message)| (id(kiosk), message)).collect(),
    };
    Plan {
        messages,
        stages: vec![
            stage("10 %", StageKind::Canary, vec![1], vec![(0, 1)]),
            stage("30 %", StageKind::Canary, vec![2, 3], vec![(1, 2), (2, 3)]),
            stage("100 %", StageKind::Rest, vec![0], (0..10).map(|kiosk| (kiosk, 0)).collect()),
            stage("tidy", StageKind::Tidy, vec![4, 5, 6], (0..3).map(|kiosk| (kiosk, kiosk + 4)).collect()),
        ],
        undo: vec![4, 5, 6],
        max_failures,
        stage_timeout_ms: TIMEOUT,
    }
}

fn report(layer: LayerName, revision: Revision, phase: Phase) -> Box<Reported> {
    let attempt = Attempt {
        revision,
        author: "a".into(),
        reason: "r".into(),
        phase,
        phases: Vec::new(),
        errors: match phase {
            Phase::RolledBack => vec![PathError { path: String::new(), message: "no broker".into() }],
            _ => Vec::new(),
        },
    };
    let layer = LayerReport {
        layer,
        confirmed: (phase == Phase::Confirmed).then_some(revision),
        attempts: vec![attempt],
        refused: None,
        left_out: Vec::new(),
    };
    let zero = Digest::of(b"");
    Box::new(Reported {
        version: "1".into(),
        effective: zero,
        confirmed: zero,
        layers: vec![layer],
        storage: None,
        omitted: 0,
    })
}

/// A broker and kiosks that do as told. Every effect is a point at which the admin's program may crash.
struct World {
    rollout: Rollout,
    stored: String,
    published: Vec<usize>,
    outcome: Option<Outcome>,
    fails: fn(usize, usize) -> bool,
    silent: fn(usize) -> bool,
    crash_at: Option<usize>,
    effects: usize,
}

impl World {
    fn new(plan: Plan) -> Self {
        let rollout = Rollout::new(plan);
        let stored = serde_json::to_string(&rollout).unwrap();
        let fails: fn(usize, usize) -> bool = |_, _| false;
        let silent: fn(usize) -> bool = |_| false;
        Self { rollout, stored, published: Vec::new(), outcome: None, fails, silent, crash_at: None, effects: 0 }
    }

    fn run(mut self) -> Self {
        let mut events = vec![Event::Connected];
        for _ in 0..1000 {
            if self.outcome.is_some() {
                return self;
            }
            let event = if events.is_empty() { Event::Elapsed(TIMEOUT / 4) } else { events.remove(0) };
            for effect in self.rollout.handle(event) {
                self.effects += 1;
                if self.crash_at == Some(self.effects) {
                    self.rollout = serde_json::from_str(&self.stored).unwrap();
                    events = self.everything_reported();
                    events.push(Event::Connected);
                    self.outcome = self.rollout.outcome.clone();
                    break;
                }
                match effect {
                    Effect::Persist => self.stored = serde_json::to_string(&self.rollout).unwrap(),
                    Effect::Publish(message) => {
                        self.published.push(message);
                        events.push(Event::Published(message));
                        events.extend(self.everything_reported());
                    }
                    Effect::Finished(outcome) => self.outcome = Some(outcome),
                }
            }
        }
        panic!("it does not end: {:?}", self.rollout);
    }

    /// What each kiosk says of the newest message for each of its layers.
    fn everything_reported(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for kiosk in (0..10).filter(|kiosk| !(self.silent)(*kiosk)) {
            let own = |message: &&usize| match &self.rollout.plan.messages[**message].target {
                Target::Device(target) => *target == id(kiosk),
                Target::Group(_) => true,
            };
            for message in self.published.iter().filter(own) {
                let phase = if (self.fails)(kiosk, *message) { Phase::RolledBack } else { Phase::Confirmed };
                let sent = &self.rollout.plan.messages[*message];
                events.push(Event::Reported(id(kiosk), report(LayerName::of(&sent.target), sent.revision, phase)));
            }
        }
        events
    }
}

#[test]
fn stage_after_stage_until_all_have_confirmed_and_canaries_are_as_before() {
    let world = World::new(plan(0)).run();
    assert_eq!(world.outcome, Some(Outcome::Confirmed));
    assert_eq!(world.published, [1, 2, 3, 0, 4, 5, 6]);
    assert_eq!(world.rollout.kiosks.len(), 10);
}

#[test]
fn a_canary_that_fails_keeps_the_rest_from_getting_it_and_gets_back_what_it_had() {
    let world = World { fails: |kiosk, message| kiosk == 1 && message == 2, ..World::new(plan(0)) }.run();
    let why = "1 kiosks did not confirm, and 0 may fail".into();
    assert_eq!(world.outcome, Some(Outcome::Stopped { why }));
    assert_eq!(world.published, [1, 2, 3, 4, 5, 6]);
    assert!(matches!(&world.rollout.kiosks[&id(1)], Progress::Failed { errors } if errors[0].message == "no broker"));
}

#[test]
fn failures_within_the_limit_are_borne_and_told() {
    let world = World { fails: |kiosk, message| kiosk == 1 && message < 4, ..World::new(plan(1)) }.run();
    assert_eq!(world.outcome, Some(Outcome::Partly));
    assert_eq!(world.published, [1, 2, 3, 0, 4, 5, 6]);
    assert_eq!(world.rollout.failures(), 1);
}

#[test]
fn a_stage_of_which_nobody_confirmed_is_the_last_whatever_may_fail() {
    let world = World { fails: |kiosk, _| kiosk == 0, ..World::new(plan(5)) }.run();
    assert_eq!(world.outcome, Some(Outcome::Stopped { why: "no kiosk of the stage \"10 %\" confirmed".into() }));
    // Only the canary that got something has something to be taken back.
    assert_eq!(world.published, [1, 4]);
}

#[test]
fn a_silent_canary_is_a_failure_and_a_silent_kiosk_of_the_rest_is_not_waited_for_for_ever() {
    let world = World { silent: |kiosk| kiosk == 0, ..World::new(plan(0)) }.run();
    assert!(matches!(world.outcome, Some(Outcome::Stopped { .. })), "{:?}", world.outcome);
    let world = World { silent: |kiosk| kiosk == 7, ..World::new(plan(0)) }.run();
    assert_eq!(world.outcome, Some(Outcome::Partly));
    assert_eq!(world.rollout.kiosks[&id(7)], Progress::Silent);
}

#[test]
fn who_is_overtaken_stops_and_leaves_that_target_alone() {
    let mut rollout = Rollout::new(plan(0));
    rollout.handle(Event::Connected);
    rollout.handle(Event::Published(1));
    let device = Target::Device(id(0));
    // Its own message, what it will send later, and what was there before: all of no concern.
    for number in [0, 1, 2] {
        assert!(rollout.handle(Event::Retained(device.clone(), revision(&device, number))).is_empty(), "{number}");
    }
    assert!(rollout.handle(Event::Retained(group(), revision(&group(), 4))).is_empty());
    let foreign = Revision { digest: Digest::of(b"ben"), ..revision(&device, 2) };
    let mut to_the_group = rollout.clone();
    let effects = to_the_group.handle(Event::Retained(group(), revision(&group(), 9)));
    // What the canary was given is taken back.
    assert_eq!(effects, [Effect::Persist, Effect::Publish(4)]);
    let effects = rollout.handle(Event::Retained(device.clone(), foreign));
    assert_eq!(effects, [Effect::Persist, Effect::Finished(Outcome::Overtaken { target: device })]);
}

/// Rollouts of several admins with one message each to the group, all with the same revision; the broker's order of what
/// they publish, and what each of them saw of it.
#[test]
fn of_two_who_push_at_once_the_first_one_wins_and_stands_there_in_the_end() {
    let rollouts = [b"ann", b"ben"].map(|digest| {
        let revision = Revision { epoch: 1, revision: 5, digest: Digest::of(digest) };
        let expect = (0..2).map(|kiosk| (id(kiosk), 0)).collect();
        let stage = Stage { title: "all".into(), kind: StageKind::Rest, send: vec![0], expect };
        let messages = vec![Addressed { target: group(), revision }];
        Rollout::new(Plan { messages, stages: vec![stage], undo: vec![], max_failures: 0, stage_timeout_ms: TIMEOUT })
    });
    // Who sends when, and who has read how far of what stands there: every order of both.
    for order in 0..1_u32 << 12 {
        let mut admins = rollouts.clone();
        let (mut log, mut read, mut to_send) = (Vec::new(), [0, 0], [0, 0]);
        for (admin, rollout) in admins.iter_mut().enumerate() {
            to_send[admin] = rollout.handle(Event::Connected).len();
        }
        // What the bits leave undone is done after them.
        let ends = (0..40).map(|step| step % 2 == 0);
        for (step, admin) in (0..12).map(|bit| order >> bit & 1 == 1).chain(ends).map(usize::from).enumerate() {
            if to_send[admin] > 0 && (step % 3 == 0 || read[admin] == log.len()) {
                to_send[admin] -= 1;
                log.push(rollouts[admin].plan.messages[0].revision);
            } else if let Some(revision) = log.get(read[admin]) {
                read[admin] += 1;
                let effects = admins[admin].handle(Event::Retained(group(), *revision));
                to_send[admin] += effects.iter().filter(|effect| matches!(effect, Effect::Publish(_))).count();
            }
        }
        assert_eq!((to_send, read), ([0, 0], [log.len(); 2]), "{order:b}: {log:?}");
        let overtaken = Some(Outcome::Overtaken { target: group() });
        let first = usize::from(log[0] != rollouts[0].plan.messages[0].revision);
        assert_eq!((&admins[first].outcome, &admins[1 - first].outcome), (&None, &overtaken), "{order:b}: {log:?}");
        assert_eq!(log.last(), Some(&log[0]), "{order:b}: {log:?}");
    }
}

#[test]
fn two_who_differ_about_the_order_do_not_go_on_for_ever() {
    let mut rollout = Rollout::new(plan(0));
    rollout.handle(Event::Connected);
    let device = Target::Device(id(0));
    let own = Event::Retained(device.clone(), revision(&device, 1));
    let foreign = Event::Retained(device.clone(), Revision { digest: Digest::of(b"ben"), ..revision(&device, 1) });
    assert_eq!(rollout.handle(own.clone()), []);
    assert_eq!(rollout.handle(foreign.clone()), [Effect::Publish(1)]);
    assert_eq!(rollout.handle(own), []);
    let effects = rollout.handle(foreign);
    assert_eq!(effects, [Effect::Persist, Effect::Finished(Outcome::Overtaken { target: device })]);
}

#[test]
fn after_a_crash_at_any_effect_it_ends_as_without() {
    let effects = World::new(plan(0)).run().effects;
    for crash_at in 1..=effects {
        let world = World { crash_at: Some(crash_at), ..World::new(plan(0)) }.run();
        assert_eq!(world.outcome, Some(Outcome::Confirmed), "crash at {crash_at}");
    }
    let failing = || World { fails: |kiosk, message| kiosk == 1 && message == 2, ..World::new(plan(0)) };
    for crash_at in 1..=failing().run().effects {
        let world = World { crash_at: Some(crash_at), ..failing() }.run();
        assert!(matches!(world.outcome, Some(Outcome::Stopped { .. })), "crash at {crash_at}");
        assert!(!world.published.contains(&0), "crash at {crash_at}");
    }
}

#[test]
fn a_share_is_at_least_one_kiosk() {
    assert_eq!(
        [(100, 5), (10, 5), (1, 5), (0, 5), (30, 25), (7, 100), (7, 200)].map(|(n, p)| share(n, p)),
        [5, 1, 1, 0, 8, 7, 7]
    );
}

proptest! {
    /// Whatever is reported, in whatever order: the group gets its message only after each stage of canaries had one
    /// that confirmed, with no more failures than allowed, and nothing is sent after the end.
    #[test]
    fn the_rest_gets_nothing_before_the_canaries_confirmed(
        max_failures in 0..3_u32,
        steps in proptest::collection::vec((0..10_usize, 0..7_usize, 0..4_u8), 0..60),
    ) {
        let mut rollout = Rollout::new(plan(max_failures));
        let mut effects = rollout.handle(Event::Connected);
        let mut ended = false;
        for (kiosk, number, what) in steps {
            let mut next = Vec::new();
            for effect in effects.drain(..) {
                prop_assert!(!ended);
                match effect {
                    Effect::Publish(message) => {
                        if message == 0 {
                            let confirmed =
                                (0..3).filter(|kiosk| rollout.kiosks.get(&id(*kiosk)) == Some(&Progress::Confirmed));
                            let confirmed: Vec<usize> = confirmed.collect();
                            prop_assert!(confirmed.contains(&0) && confirmed.len() > 1);
                            prop_assert!(3 - confirmed.len() <= max_failures as usize);
                        }
                        next.extend(rollout.handle(Event::Published(message)));
                    }
                    Effect::Finished(_) => ended = true,
                    Effect::Persist => {}
                }
            }
            let sent = rollout.plan.messages[number].clone();
            let phase = [Phase::Trial, Phase::Confirmed, Phase::RolledBack, Phase::Rejected][usize::from(what)];
            next.extend(if kiosk == 9 {
                rollout.handle(Event::Elapsed(TIMEOUT / 2))
            } else {
                rollout.handle(Event::Reported(id(kiosk), report(LayerName::of(&sent.target), sent.revision, phase)))
            });
            effects = next;
        }
    }
}
