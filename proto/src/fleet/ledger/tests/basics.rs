//! What a command is answered, and when it is executed.

use super::*;

#[test]
fn a_command_is_executed_once_and_answered_as_often_as_it_is_asked() {
    let mut world = World::new();
    let ping = payload(1, Command::Ping {});
    world.send(&ping).unwrap();
    assert_eq!((world.executed.len(), world.answers.len(), world.acked), (1, 0, 1));
    world.send(&ping).unwrap();
    assert_eq!(world.executed.len(), 1, "it comes again while it is executed");
    world.finish(1).unwrap();
    world.send(&ping).unwrap();
    world.restart().unwrap();
    world.send(&ping).unwrap();
    assert_eq!((world.executed.len(), world.answers.len()), (1, 3));
    for answer in &world.answers {
        assert_eq!((answer.outcome, &answer.result), (Outcome::Done, &json!({"n": 1})));
    }
    // Until the broker has the answer, it is sent with each link.
    world.input(LedgerInput::LinkUp).unwrap();
    assert_eq!(world.answers.len(), 4);
    world.input(LedgerInput::Delivered(ping.id)).unwrap();
    world.input(LedgerInput::LinkUp).unwrap();
    assert_eq!(world.answers.len(), 4);
}

#[test]
fn a_result_that_is_too_large_to_be_kept_comes_once_and_this_is_said() {
    for (length, kept) in [(MAX_KEPT_RESULT - 2, true), (MAX_KEPT_RESULT - 1, false)] {
        let mut world = World::new();
        let ping = payload(1, Command::Ping {});
        world.send(&ping).unwrap();
        let result = json!("x".repeat(length));
        let (id, message) = (ping.id.clone(), "two of three".to_owned());
        world.input(LedgerInput::Finished { id, outcome: Outcome::Done, message, result: result.clone() }).unwrap();
        assert_eq!((&world.answers[0].result, world.last().1), (&result, "two of three"));
        // Whoever asks again, and the link that is up again before the broker had the answer.
        world.send(&ping).unwrap();
        world.input(LedgerInput::LinkUp).unwrap();
        for answer in &world.answers[1..] {
            assert_eq!(
                (answer.outcome, answer.result == result, answer.result.is_null()),
                (Outcome::Done, kept, !kept)
            );
            let said = "two of three; its result of 4097 bytes was sent once and is not kept";
            assert_eq!(answer.message.starts_with(said), !kept, "{}", answer.message);
        }
        assert_eq!(world.answers.len(), 3);
    }
}

#[test]
fn a_restart_is_answered_after_it_and_anything_else_was_interrupted() {
    let mut world = World::new();
    world.send(&payload(1, Command::Reboot {})).unwrap();
    world.send(&payload(2, Command::SelfCheck {})).unwrap();
    world.restart().unwrap();
    world.input(LedgerInput::LinkUp).unwrap();
    let outcomes: Vec<Outcome> = world.answers.iter().map(|answer| answer.outcome).collect();
    assert_eq!(outcomes, [Outcome::Done, Outcome::Interrupted]);
    assert_eq!(world.executed.len(), 2);
}

#[test]
fn what_would_end_a_call_waits_is_refused_or_is_forced() {
    let mut world = World::new();
    world.call(true).unwrap();
    world.send(&payload(1, Command::Ping {})).unwrap();
    assert_eq!(world.executed.len(), 1, "harmless");
    world.send(&payload(2, Command::Reboot {})).unwrap();
    assert_eq!(world.last(), (Outcome::Waiting, "a customer is in a call"));
    let refuse = CommandPayload { when_busy: WhenBusy::Refuse, ..payload(3, Command::RestartDaemon {}) };
    world.send(&refuse).unwrap();
    assert_eq!(world.last().0, Outcome::Refused);
    world.send(&payload(4, Command::EndCall {})).unwrap();
    assert_eq!(world.last(), (Outcome::Refused, "a customer is in a call; push with force to end it"));
    assert_eq!(world.executed.len(), 1);
    let forced = CommandPayload { force: true, ..payload(5, Command::EndCall {}) };
    world.send(&forced).unwrap();
    assert_eq!(world.executed.len(), 2);
    world.call(false).unwrap();
    assert_eq!(world.executed.len(), 2, "what ends the call is not cut off by what waited for that");
    world.finish(1).unwrap();
    world.finish(5).unwrap();
    assert_eq!(world.executed[2].2, Command::Reboot {});
    // What was refused stays refused, whoever sends it again.
    world.send(&refuse).unwrap();
    assert_eq!((world.last().0, world.executed.len()), (Outcome::Refused, 3));
    world.send(&payload(6, Command::EndCall {})).unwrap();
    assert_eq!(world.last(), (Outcome::Done, "there is no call"));
}

#[test]
fn what_waits_for_too_long_expires_by_the_clock_or_by_its_age() {
    for clock_is_right in [true, false] {
        let mut world = World::new();
        world.clock_is_right = clock_is_right;
        world.call(true).unwrap();
        world.send(&payload(1, Command::Reboot {})).unwrap();
        world.wait(59).unwrap();
        assert_eq!(world.last().0, Outcome::Waiting);
        world.wait(1).unwrap();
        assert_eq!(world.last(), (Outcome::Expired, "the call did not end in time"), "clock {clock_is_right}");
        world.call(false).unwrap();
        assert_eq!(world.executed, []);
    }
}

#[test]
fn what_is_not_a_command_for_this_kiosk_now_is_refused_with_a_reason() {
    let mut world = World::new();
    let good = payload(1, Command::Ping {});
    let other = Target::Device(KioskId::try_from("a-2".to_owned()).unwrap());
    let group = Target::Group(crate::fleet::GroupName::try_from("north".to_owned()).unwrap());
    let level = Command::SetLogLevel { level: LogLevel::Debug, minutes: 0 };
    let upload = Upload::Https { url: "http://10.0.0.1/".into() };
    let unknown = String::from_utf8(serde_json::to_vec(&good).unwrap()).unwrap().replace("ping", "format-disk");
    let raw = |bytes: &[u8]| sign(PayloadType::Command, bytes, &[&key(1)]).unwrap().to_bytes().unwrap();
    world.send(&payload(9, Command::Ping {})).unwrap();
    for (name, bytes) in [
        ("unknown key", signed(&good, 2)),
        ("another kiosk's", signed(&CommandPayload { target: other, ..good.clone() }, 1)),
        ("a group's", signed(&CommandPayload { target: group, ..good.clone() }, 1)),
        ("late", signed(&CommandPayload { created: START - 9, expires: START, ..good.clone() }, 1)),
        ("for two days", signed(&CommandPayload { expires: START + 172_800, ..good.clone() }, 1)),
        ("backwards", signed(&CommandPayload { expires: START - 1, ..good.clone() }, 1)),
        ("no author", signed(&CommandPayload { author: "\u{1b}[2J".into(), ..good.clone() }, 1)),
        ("no minutes", signed(&CommandPayload { command: level, ..good.clone() }, 1)),
        (
            "not encrypted",
            signed(
                &CommandPayload { command: Command::CollectDiagnostics { journal_minutes: 5, upload }, ..good.clone() },
                1,
            ),
        ),
        ("another with the same id", signed(&payload(9, Command::Reboot {}), 1)),
        ("a layer", sign(PayloadType::Desired, b"{}", &[&key(1)]).unwrap().to_bytes().unwrap()),
        ("unknown command", raw(unknown.as_bytes())),
        ("noise", b"\xff\xfe".to_vec()),
    ] {
        world.send_bytes(bytes).unwrap();
        let answer = world.answers.pop().unwrap();
        world.answers.push(Response { message: format!("{name}: {}", answer.message), ..answer });
    }
    let told: Vec<String> =
        world.answers.iter().map(|answer| format!("{:?} {}", answer.outcome, answer.message)).collect();
    insta::assert_snapshot!(told.join("\n"));
    assert_eq!((world.executed.len(), world.acked), (1, 14));
}

#[test]
fn what_is_forgotten_can_not_come_again_also_when_the_clock_is_lost() {
    let mut world = World::new();
    let ping = payload(1, Command::Ping {});
    world.send(&ping).unwrap();
    world.finish(1).unwrap();
    world.wait(120).unwrap();
    world.send(&CommandPayload { created: START + 100, expires: START + 160, ..payload(2, Command::Ping {}) }).unwrap();
    world.finish(2).unwrap();
    assert_eq!(world.ledger.file.entries.len(), 1, "the first is forgotten");
    world.restart().unwrap();
    world.clock_is_right = false;
    world.send(&ping).unwrap();
    assert_eq!((world.last().0, world.executed.len()), (Outcome::Refused, 2));
}

#[test]
fn what_can_not_be_stored_is_not_executed() {
    let mut world = World::new();
    world.disk_full = true;
    world.send(&payload(1, Command::Reboot {})).unwrap();
    assert_eq!(world.executed, []);
    assert_eq!(world.last(), (Outcome::Failed, "not done: the kiosk could not store it: no space left on device"));
    world.disk_full = false;
    world.send(&payload(2, Command::Ping {})).unwrap();
    world.disk_full = true;
    world.finish(2).unwrap();
    assert_eq!(world.last().0, Outcome::Done, "what was done is answered");
}
