//! What the broker refuses is held back for a while, so that the rest of the link stays in use.
//!
//! A broker that refuses a message may say so and go on, or hang up, with a reason or without one. A kiosk that says
//! the same again at once, with each connection, has no link at all.

use std::time::Duration;

use super::clock::Now;

/// The first pause, doubled with each refusal in a row.
const FIRST: Duration = Duration::from_secs(30);
/// The longest pause: so late a kiosk notices at the most that the broker takes it again.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// What a kiosk says and is to arrive, by what matters most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// That it is there.
    Presence,
    /// What became of its layers.
    Report,
    /// Answers to commands.
    Answer,
    /// Events.
    Event,
    /// Events that were not taken before: one at a time, when nothing is known against events as such.
    EventSetAside,
}

const SUBJECTS: [Subject; 5] =
    [Subject::Presence, Subject::Report, Subject::Answer, Subject::Event, Subject::EventSetAside];

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Messages on their way over this connection.
    on_the_way: u32,
    /// Refusals since the last message that was taken.
    refusals: u32,
    /// Connections in a row that ended while this was on its way, and was what mattered least of what was.
    suspicions: u32,
    until: Option<Duration>,
}

/// What is held back, and until when.
#[derive(Debug, Clone, Default)]
pub struct Holds {
    states: [State; SUBJECTS.len()],
    /// The broker has refused something over this connection: when it hangs up, that was why.
    explained: bool,
}

impl Holds {
    /// Whether it may be said now.
    #[must_use]
    pub fn may(&self, subject: Subject, now: Now) -> bool {
        self.of(subject).until.is_none_or(|until| now.monotonic >= until)
    }

    /// Whether the last of it was not taken: then one message at a time shows whether the broker has changed its mind.
    #[must_use]
    pub fn is_doubted(&self, subject: Subject) -> bool {
        self.of(subject).refusals > 0
    }

    /// All of which this is so.
    #[must_use]
    pub fn doubted(&self) -> Vec<Subject> {
        SUBJECTS.into_iter().filter(|subject| self.is_doubted(*subject)).collect()
    }

    /// How many are on their way.
    #[must_use]
    pub fn on_the_way(&self, subject: Subject) -> u32 {
        self.of(subject).on_the_way
    }

    /// A message goes out.
    pub fn sent(&mut self, subject: Subject) {
        self.states[subject as usize].on_the_way += 1;
    }

    /// The broker has a message.
    pub fn taken(&mut self, subject: Subject) {
        // Whatever it has refused before this, it did not hang up for that.
        self.explained = false;
        let state = &mut self.states[subject as usize];
        *state = State { on_the_way: state.on_the_way.saturating_sub(1), ..State::default() };
        if subject == Subject::EventSetAside {
            // It takes events.
            let events = &mut self.states[Subject::Event as usize];
            *events = State { on_the_way: events.on_the_way, ..State::default() };
        }
    }

    /// The broker has refused a message, or the client did not send it. Returns whether it is the first one in a row.
    pub fn refused(&mut self, subject: Subject, now: Now) -> bool {
        let state = &mut self.states[subject as usize];
        // A refusal may be heard of when its connection is gone already: it explains no later one.
        self.explained |= state.on_the_way > 0;
        state.on_the_way = state.on_the_way.saturating_sub(1);
        let first = state.refusals == 0;
        self.hold(subject, now);
        first
    }

    /// The broker has hung up, or the network is gone: what was on its way has not arrived. A loss says little about
    /// the reason. When it comes twice in a row with messages on their way, what matters least of them is held back;
    /// so after some losses it is what the broker does not take. Returns it.
    #[must_use]
    pub fn lost(&mut self, now: Now) -> Option<Subject> {
        let explained = self.explained;
        let least = SUBJECTS.into_iter().rev().find(|subject| self.of(*subject).on_the_way > 0);
        self.closed();
        let subject = least.filter(|_| !explained)?;
        let state = &mut self.states[subject as usize];
        state.suspicions += 1;
        if state.suspicions < 2 && subject != Subject::EventSetAside && state.refusals == 0 {
            return None;
        }
        self.hold(subject, now);
        Some(subject)
    }

    /// The kiosk itself has ended the connection.
    pub fn closed(&mut self) {
        self.explained = false;
        self.states.iter_mut().for_each(|state| state.on_the_way = 0);
    }

    /// What was held back and may be said again: each once.
    #[must_use]
    pub fn due(&mut self, now: Now) -> Vec<Subject> {
        let ended = |holds: &Self, subject| holds.of(subject).until.is_some() && holds.may(subject, now);
        let due: Vec<Subject> = SUBJECTS.into_iter().filter(|subject| ended(self, *subject)).collect();
        due.iter().for_each(|subject| self.states[*subject as usize].until = None);
        due
    }

    fn hold(&mut self, subject: Subject, now: Now) {
        let state = &mut self.states[subject as usize];
        let pause = FIRST.saturating_mul(1 << state.refusals.min(16)).min(LONGEST);
        state.refusals = state.refusals.saturating_add(1);
        let until = Some(now.monotonic.saturating_add(pause));
        state.until = until;
        if subject == Subject::Event {
            // It is set aside, and not tried again at once.
            let aside = &mut self.states[Subject::EventSetAside as usize];
            aside.until = aside.until.max(until);
        }
    }

    fn of(&self, subject: Subject) -> &State {
        &self.states[subject as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: None }
    }

    #[test]
    fn what_is_refused_waits_longer_each_time_and_the_rest_goes_on() {
        let mut holds = Holds::default();
        let mut now = 100;
        for (turn, pause) in [30, 60, 120, 240, 300, 300].into_iter().enumerate() {
            assert!(holds.may(Subject::Report, at(now)));
            holds.sent(Subject::Report);
            assert_eq!(holds.refused(Subject::Report, at(now)), turn == 0, "told once");
            assert!(!holds.may(Subject::Report, at(now + pause - 1)) && holds.due(at(now + pause - 1)).is_empty());
            for other in [Subject::Presence, Subject::Answer, Subject::Event] {
                assert!(holds.may(other, at(now)) && !holds.is_doubted(other));
            }
            now += pause;
            assert_eq!(holds.due(at(now)), [Subject::Report]);
            assert!(holds.due(at(now)).is_empty(), "each once");
        }
        // The broker takes it: the next refusal is a first one.
        holds.sent(Subject::Report);
        assert_eq!(holds.doubted(), [Subject::Report]);
        holds.taken(Subject::Report);
        assert_eq!(holds.doubted(), []);
        holds.sent(Subject::Report);
        assert!(holds.refused(Subject::Report, at(now)) && holds.may(Subject::Report, at(now + 30)));
    }

    #[test]
    fn a_broker_that_hangs_up_without_a_word_loses_nothing_but_what_it_does_not_take() {
        // As often as the network may fail without consequence.
        let mut holds = Holds::default();
        for _ in 0..9 {
            holds.sent(Subject::Event);
            assert_eq!(holds.lost(at(0)), None);
            holds.sent(Subject::Event);
            holds.taken(Subject::Event);
        }
        // It hangs up at each of these; which one is found out, and all else is taken.
        for poison in [Subject::Presence, Subject::Report, Subject::Answer, Subject::Event] {
            let mut holds = Holds::default();
            let (mut losses, mut now) = (0, 0);
            while losses < 12 {
                let said: Vec<_> = SUBJECTS[..4].iter().filter(|subject| holds.may(**subject, at(now))).collect();
                said.iter().for_each(|subject| holds.sent(**subject));
                if !said.contains(&&poison) {
                    break;
                }
                // None of its acknowledgements has come through.
                let _ = holds.lost(at(now));
                (losses, now) = (losses + 1, now + 1);
            }
            assert!(losses <= 8, "{poison:?}");
            for other in SUBJECTS {
                if holds.on_the_way(other) > 0 {
                    holds.taken(other);
                }
            }
            // Later they are tried again, with the others out of the way.
            now += 40;
            let others = |subject: &Subject| *subject != poison && *subject != Subject::EventSetAside;
            for subject in holds.due(at(now)).into_iter().filter(others) {
                holds.sent(subject);
                holds.taken(subject);
                assert!(!holds.is_doubted(subject));
            }
            assert!(holds.is_doubted(poison));
            holds.sent(poison);
            assert_eq!(holds.lost(at(now)), Some(poison), "one loss is enough now");
        }
    }

    #[test]
    fn a_loss_that_a_refusal_explains_and_one_that_the_kiosk_made_are_held_against_nothing() {
        let mut holds = Holds::default();
        for _ in 0..3 {
            holds.sent(Subject::Report);
            holds.sent(Subject::Event);
            let _ = holds.refused(Subject::Report, at(0));
            assert_eq!(holds.lost(at(0)), None);
        }
        assert!(holds.may(Subject::Event, at(0)));
        for _ in 0..3 {
            holds.sent(Subject::Event);
            holds.closed();
        }
        assert!(holds.may(Subject::Event, at(0)) && holds.on_the_way(Subject::Event) == 0);
        assert_eq!(holds.lost(at(0)), None, "nothing was on its way");
        // The refusal comes behind the loss that it explains.
        let _ = holds.refused(Subject::Report, at(0));
        holds.sent(Subject::Event);
        assert_eq!(holds.lost(at(0)), None);
        holds.sent(Subject::Event);
        assert_eq!(holds.lost(at(0)), Some(Subject::Event));
    }

    #[test]
    fn an_event_that_is_set_aside_waits_longer_than_the_others() {
        let mut holds = Holds::default();
        holds.sent(Subject::Event);
        let _ = holds.refused(Subject::Event, at(0));
        assert!(!holds.may(Subject::EventSetAside, at(29)) && !holds.is_doubted(Subject::EventSetAside));
        assert_eq!(holds.due(at(30)), [Subject::Event, Subject::EventSetAside]);
        holds.sent(Subject::Event);
        holds.taken(Subject::Event);
        // One loss is enough, and the others are not held back by it.
        for (now, pause) in [(30, 30), (60, 60), (120, 120)] {
            holds.sent(Subject::EventSetAside);
            holds.sent(Subject::Event);
            assert_eq!(holds.lost(at(now)), Some(Subject::EventSetAside));
            assert!(holds.may(Subject::Event, at(now)) && !holds.may(Subject::EventSetAside, at(now + pause - 1)));
        }
        // That it is taken shows that events are.
        holds.sent(Subject::Event);
        let _ = holds.refused(Subject::Event, at(500));
        holds.sent(Subject::EventSetAside);
        holds.taken(Subject::EventSetAside);
        assert!(holds.may(Subject::Event, at(500)) && !holds.is_doubted(Subject::Event));
    }
}
